// The end of every op that writes a matte, on the device: frame in, sinks out, one pass.
//
// Note [Two paths]
// A frame of packed bytes whose rows are aligned, going to packed bytes, is moved sixteen pixels a thread in 16-byte
// accesses, for the sets of outputs that people ask for. Everything else goes pixel by pixel through the strides; both
// call the same op.
#pragma once

#include "ops/shared/launch.h"
#include "ops/shared/pixels.cuh"

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

struct Backdrop {
  View picture;
  Axis rows;
  Axis columns;

  __device__ __forceinline__ float value(int n, int c, int y, int x) const {
    return sample(picture, picture.size[0] == 1 ? 0 : n, c, tap_at(rows, y), tap_at(columns, x));
  }
};

inline Backdrop backdrop_of(const Sinks& sinks, const View& frame) {
  if (!sinks.composite) return Backdrop{};
  const View& picture = sinks.background;
  return Backdrop{picture, make_axis(picture.size[2], frame.size[2]), make_axis(picture.size[3], frame.size[3])};
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
  typename Op::Walk walk(op, n, y);
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

// Sixteen pixels a thread, packed bytes.
template <typename Op, int kSinks>
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
  typename Op::Walk walk(op, n, y);
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    float rgb[3];
    colours(in, frame.stride[1] < 0, i, rgb);
    const MattePixel pixel = walk.pixel(x + i, rgb);
    if (kSinks & kFgr) set_colours(fgr, sinks.fgr.stride[1] < 0, i, pixel.fgr);
    if (kSinks & kPha) pha.set(i, 0, pixel.pha);
    if (kSinks & kRgba) {
      set_colours(rgba, sinks.rgba.stride[1] < 0, i, pixel.fgr);
      rgba.set(i, 3, pixel.pha);
    }
    if (kSinks & kComposite) {
      float mixed[3];
      for (int c = 0; c < 3; ++c) mixed[c] = blend(pixel, c, backdrop.value(n, c, y, x + i));
      set_colours(composite, sinks.composite.stride[1] < 0, i, mixed);
    }
  }
  if (kSinks & kFgr) fgr.store_to(block_start(sinks.fgr, n, y, x));
  if (kSinks & kPha) pha.store_to(block_start(sinks.pha, n, y, x));
  if (kSinks & kRgba) rgba.store_to(block_start(sinks.rgba, n, y, x));
  if (kSinks & kComposite) composite.store_to(block_start(sinks.composite, n, y, x));
}

inline bool all_packed(const View& frame, const Sinks& sinks) {
  const auto fits = [](const View& view, int channels) { return !view || packed_bytes(view, channels); };
  const View& rgba = sinks.rgba;
  const auto* lowest = static_cast<const uint8_t*>(rgba.data) - (rgba.stride[1] < 0 ? 2 : 0);
  const bool alpha_last = !rgba || sinks.rgba_alpha.data == lowest + 3;
  return packed_bytes(frame, 3) && fits(sinks.fgr, 3) && fits(sinks.pha, 1) && fits(rgba, 4) && alpha_last &&
         fits(sinks.composite, 3);
}

// `Op` is copied to the device; its Walk(op, n, y) goes along a row, and pixel(x, rgb) gives the matte there.
template <typename Op>
void write_matte(const Op& op, const View& frame, const Sinks& sinks, CudaStream stream, const char* name) {
  const Backdrop backdrop = backdrop_of(sinks, frame);
  const int64_t pixels = static_cast<int64_t>(frame.size[0]) * frame.size[2] * frame.size[3];
  const cudaStream_t on = native(stream);
  const unsigned blocks = blocks_for(pixels / 16);
  const int wanted = all_packed(frame, sinks) ? sink_set(sinks) : 0;
  switch (wanted) {
    case kFgr | kPha:
      matte_blocks<Op, kFgr | kPha><<<blocks, kThreads, 0, on>>>(op, frame, sinks, backdrop);
      break;
    case kPha:
      matte_blocks<Op, kPha><<<blocks, kThreads, 0, on>>>(op, frame, sinks, backdrop);
      break;
    case kRgba:
      matte_blocks<Op, kRgba><<<blocks, kThreads, 0, on>>>(op, frame, sinks, backdrop);
      break;
    case kComposite:
      matte_blocks<Op, kComposite><<<blocks, kThreads, 0, on>>>(op, frame, sinks, backdrop);
      break;
    case kPha | kComposite:
      matte_blocks<Op, kPha | kComposite><<<blocks, kThreads, 0, on>>>(op, frame, sinks, backdrop);
      break;
    default:
      matte_pixels<Op><<<blocks_for(pixels), kThreads, 0, on>>>(op, frame, sinks, backdrop);
  }
  check_launch(name);
}

}  // namespace trtmatte
