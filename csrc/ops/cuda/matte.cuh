// The end of every op that writes a matte, on the device: frame in, sinks out, one pass.
//
// Note [Two paths]
// A frame of packed bytes whose rows are aligned, going to packed bytes, is moved sixteen pixels a thread in 16-byte
// accesses, for the sets of outputs that people ask for. Everything else goes pixel by pixel through the strides; both
// call the same op.
#pragma once

#include "base/launch.h"
#include "ops/cuda/pixels.cuh"

namespace trtmatte {

// Clamped foreground and alpha of a pixel.
struct MattePixel {
  float fgr[3];
  float pha;
};

enum SinkSet : int { kFgr = 1, kPha = 2, kRgba = 4, kComposite = 8 };

inline int sink_set(const Sinks& sinks) {
  return (sinks.fgr ? kFgr : 0) | (sinks.pha ? kPha : 0) | (sinks.rgba ? kRgba : 0) |
         (sinks.composite ? kComposite : 0);
}

enum class BackdropKind : int { kNone, kColour, kPacked, kNear, kAny };

struct Backdrop {
  View picture;
  Axis rows;
  Axis columns;
  BackdropKind kind;

  __device__ __forceinline__ int image(int n) const { return picture.size[0] == 1 ? 0 : n; }
  __device__ __forceinline__ float value(int n, int c, int y, int x) const {
    return sample(picture, image(n), c, tap_at(rows, y), tap_at(columns, x));
  }
};

inline Backdrop backdrop_of(const Sinks& sinks, const View& frame) {
  if (!sinks.composite) return Backdrop{};
  const View& picture = sinks.background;
  const bool same_size = picture.size[2] == frame.size[2] && picture.size[3] == frame.size[3];
  BackdropKind kind = BackdropKind::kAny;
  if (picture.size[2] == 1 && picture.size[3] == 1) {
    kind = BackdropKind::kColour;
  } else if (same_size && packed_bytes(picture, 3)) {
    kind = BackdropKind::kPacked;
  } else if (near_maps(picture, frame, DType::kFloat32)) {
    kind = BackdropKind::kNear;
  }
  return Backdrop{picture, make_axis(picture.size[2], frame.size[2]), make_axis(picture.size[3], frame.size[3]), kind};
}

__device__ __forceinline__ float blend(const MattePixel& pixel, int c, float background) {
  return clamp01(over(pixel.fgr[c], pixel.pha, background));
}

// One pixel a thread, any strides.
template <typename Op>
__global__ void __launch_bounds__(kThreads) matte_pixels(Op op, View frame, Sinks sinks, Backdrop backdrop) {
  const int64_t item = thread_number();
  const int height = frame.size[2], width = frame.size[3];
  if (item >= static_cast<int64_t>(frame.size[0]) * height * width) return;
  const int x = static_cast<int>(item % width);
  const int y = static_cast<int>(item / width % height);
  const int n = static_cast<int>(item / width / height);
  float rgb[3];
  for (int c = 0; c < 3; ++c) rgb[c] = load(frame, offset(frame, n, c, y, x));
  typename Op::template Walk<AnyMaps> walk(op, n, y, x);
  const MattePixel pixel = walk.pixel(x, rgb);
  for (int c = 0; c < 3; ++c) {
    if (sinks.fgr) store(sinks.fgr, offset(sinks.fgr, n, c, y, x), pixel.fgr[c]);
    if (sinks.rgba) store(sinks.rgba, offset(sinks.rgba, n, c, y, x), pixel.fgr[c]);
    if (sinks.composite) {
      const float behind = backdrop.value(n, c, y, x);
      store(sinks.composite, offset(sinks.composite, n, c, y, x), blend(pixel, c, behind));
    }
  }
  if (sinks.pha) store(sinks.pha, offset(sinks.pha, n, 0, y, x), pixel.pha);
  if (sinks.rgba) store(sinks.rgba_alpha, offset(sinks.rgba_alpha, n, 0, y, x), pixel.pha);
}

// Where a block of packed pixels begins: at the channel with the lowest address.
__device__ __forceinline__ void* block_start(const View& view, int n, int y, int x) {
  return static_cast<uint8_t*>(view.data) + offset(view, n, view.stride[1] < 0 ? 2 : 0, y, x);
}

__device__ __forceinline__ int place_of(const View& view, int c) { return view.stride[1] < 0 ? 2 - c : c; }

// A packed picture's colours, in red, green, blue.
__device__ __forceinline__ void colours(const PackedBytes<3>& bytes, bool reversed, int pixel, float (&rgb)[3]) {
  const float first = bytes.get(pixel, 0), last = bytes.get(pixel, 2);
  rgb[0] = reversed ? last : first;
  rgb[1] = bytes.get(pixel, 1);
  rgb[2] = reversed ? first : last;
}

template <int C>
__device__ __forceinline__ void set_colours(PackedBytes<C>& bytes, bool reversed, int pixel, const float (&rgb)[3]) {
  bytes.set(pixel, 0, reversed ? rgb[2] : rgb[0]);
  bytes.set(pixel, 1, rgb[1]);
  bytes.set(pixel, 2, reversed ? rgb[0] : rgb[2]);
}

// The backdrop of sixteen pixels, in the three kinds that are quick to read.
struct BackdropBlock {
  PackedBytes<3> bytes;
  NearMaps<float>::Columns<3> near;
  float colour[3];
  BackdropKind kind;
  bool reversed;

  __device__ __forceinline__ BackdropBlock(const Backdrop& backdrop, int n, int y, int x)
      : near(backdrop.kind == BackdropKind::kNear ? NearMaps<float>::Columns<3>(backdrop.picture, backdrop.image(n), y,
                                                                                backdrop.rows, backdrop.columns, x)
                                                  : NearMaps<float>::Columns<3>()),
        kind(backdrop.kind),
        reversed(backdrop.picture.stride[1] < 0) {
    const int image = backdrop.image(n);
    if (kind == BackdropKind::kPacked) bytes.load_from(block_start(backdrop.picture, image, y, x));
    if (kind == BackdropKind::kColour) {
      for (int c = 0; c < 3; ++c) colour[c] = load(backdrop.picture, offset(backdrop.picture, image, c, 0, 0));
    }
  }

  __device__ __forceinline__ void at(int x, int i, float (&rgb)[3]) {
    if (kind == BackdropKind::kPacked) {
      colours(bytes, reversed, i, rgb);
    } else if (kind == BackdropKind::kNear) {
      near.move_to(x + i);
      for (int c = 0; c < 3; ++c) rgb[c] = near.value(c);
    } else {
      for (int c = 0; c < 3; ++c) rgb[c] = colour[c];
    }
  }
};

// Sixteen pixels a thread, packed bytes.
template <typename Op, typename Maps, int kSinks>
__global__ void __launch_bounds__(kThreads) matte_blocks(Op op, View frame, Sinks sinks, Backdrop backdrop) {
  const int64_t item = thread_number();
  const int height = frame.size[2], blocks = frame.size[3] / 16;
  if (item >= static_cast<int64_t>(frame.size[0]) * height * blocks) return;
  const int x = static_cast<int>(item % blocks) * 16;
  const int y = static_cast<int>(item / blocks % height);
  const int n = static_cast<int>(item / blocks / height);
  PackedBytes<3> in;
  in.load_from(block_start(frame, n, y, x));
  PackedBytes<3> fgr, composite;
  PackedBytes<1> pha;
  PackedBytes<4> rgba;
  typename Op::template Walk<Maps> walk(op, n, y, x);
  // Without a composite the compiler drops this one.
  BackdropBlock behind(backdrop, n, y, x);
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    float rgb[3];
    colours(in, frame.stride[1] < 0, i, rgb);
    const MattePixel pixel = walk.pixel(x + i, rgb);
    if constexpr ((kSinks & kFgr) != 0) set_colours(fgr, sinks.fgr.stride[1] < 0, i, pixel.fgr);
    if constexpr ((kSinks & kPha) != 0) pha.set(i, 0, pixel.pha);
    if constexpr ((kSinks & kRgba) != 0) {
      set_colours(rgba, sinks.rgba.stride[1] < 0, i, pixel.fgr);
      rgba.set(i, 3, pixel.pha);
    }
    if constexpr ((kSinks & kComposite) != 0) {
      float mixed[3];
      behind.at(x, i, mixed);
      for (int c = 0; c < 3; ++c) mixed[c] = blend(pixel, c, mixed[c]);
      set_colours(composite, sinks.composite.stride[1] < 0, i, mixed);
    }
  }
  if constexpr ((kSinks & kFgr) != 0) fgr.store_to(block_start(sinks.fgr, n, y, x));
  if constexpr ((kSinks & kPha) != 0) pha.store_to(block_start(sinks.pha, n, y, x));
  if constexpr ((kSinks & kRgba) != 0) rgba.store_to(block_start(sinks.rgba, n, y, x));
  if constexpr ((kSinks & kComposite) != 0) composite.store_to(block_start(sinks.composite, n, y, x));
}

inline bool all_packed(const View& frame, const Sinks& sinks) {
  const auto fits = [](const View& view, int channels) { return !view || packed_bytes(view, channels); };
  const View& rgba = sinks.rgba;
  const auto* lowest = static_cast<const uint8_t*>(rgba.data) - (rgba.stride[1] < 0 ? 2 : 0);
  const bool alpha_last = !rgba || sinks.rgba_alpha.data == lowest + 3;
  return packed_bytes(frame, 3) && fits(sinks.fgr, 3) && fits(sinks.pha, 1) && fits(rgba, 4) && alpha_last &&
         fits(sinks.composite, 3);
}

// What a launch needs besides the op.
struct MatteLaunch {
  const View& frame;
  const Sinks& sinks;
  Backdrop backdrop;
  cudaStream_t stream;
};

// False if these outputs have no block kernel.
template <typename Maps, typename Op>
bool write_blocks(const Op& op, const MatteLaunch& launch) {
  const View& frame = launch.frame;
  const int64_t items = static_cast<int64_t>(frame.size[0]) * frame.size[2] * (frame.size[3] / 16);
  const auto start = [&](auto kernel) {
    kernel<<<blocks_for(items), kThreads, 0, launch.stream>>>(op, frame, launch.sinks, launch.backdrop);
    return true;
  };
  switch (sink_set(launch.sinks)) {
    case kFgr | kPha:
      return start(matte_blocks<Op, Maps, kFgr | kPha>);
    case kPha:
      return start(matte_blocks<Op, Maps, kPha>);
    case kRgba:
      return start(matte_blocks<Op, Maps, kRgba>);
    case kComposite:
      return start(matte_blocks<Op, Maps, kComposite>);
    case kPha | kComposite:
      return start(matte_blocks<Op, Maps, kPha | kComposite>);
    default:
      return false;
  }
}

// `Op` is copied to the device. Its Walk<Maps>(op, n, y, x) goes along a row from x on, and pixel(x, rgb) gives the
// matte there; near(type) tells whether its maps are NearMaps of that type.
template <typename Op>
void write_matte(const Op& op, const View& frame, const Sinks& sinks, CudaStream stream, const char* name) {
  const MatteLaunch launch{frame, sinks, backdrop_of(sinks, frame), native(stream)};
  bool done = false;
  if (all_packed(frame, sinks) && launch.backdrop.kind != BackdropKind::kAny) {
    if (op.near(DType::kFloat32)) done = write_blocks<NearMaps<float>>(op, launch);
    if (op.near(DType::kFloat16)) done = write_blocks<NearMaps<Half>>(op, launch);
  }
  if (!done) {
    const int64_t pixels = static_cast<int64_t>(frame.size[0]) * frame.size[2] * frame.size[3];
    matte_pixels<Op><<<blocks_for(pixels), kThreads, 0, launch.stream>>>(op, frame, sinks, launch.backdrop);
  }
  check_launch(name);
}

}  // namespace trtmatte
