// The last part of the CUDA form of every op that writes a matte: it reads the frame and writes all
// outputs in one pass.
//
// Note [Two paths]
// matte_blocks moves sixteen pixels a thread in 16-byte accesses. It takes frames and outputs of packed bytes with
// aligned rows, for the sets of outputs that callers usually ask for. matte_pixels goes through the strides pixel by
// pixel and takes everything else. Both call the same op.
#pragma once

#include <utility>

#include "base/launch.h"
#include "ops/cuda/pixels.cuh"
#include "ops/math/outputs.h"

namespace trtmatte {

enum class BackgroundKind : int { kNone, kColour, kPacked, kNear, kAny };

struct Background {
  View picture;
  Axis rows;
  Axis columns;
  BackgroundKind kind;

  __device__ __forceinline__ int image(int n) const { return picture.size[0] == 1 ? 0 : n; }
  __device__ __forceinline__ float value(int n, int c, int y, int x) const {
    return sample(picture, image(n), c, tap_at(rows, y), tap_at(columns, x));
  }
};

inline Background background_of(const Sinks& sinks, const View& frame) {
  if (!reads_background(sinks)) return Background{};
  const View& picture = sinks.background;
  const bool same_size = picture.size[2] == frame.size[2] && picture.size[3] == frame.size[3];
  BackgroundKind kind = BackgroundKind::kAny;
  if (picture.size[2] == 1 && picture.size[3] == 1) {
    kind = BackgroundKind::kColour;
  } else if (same_size && packed_bytes(picture, 3)) {
    kind = BackgroundKind::kPacked;
  } else if (near_maps(picture, frame, DType::kFloat32)) {
    kind = BackgroundKind::kNear;
  }
  return Background{picture, make_axis(picture.size[2], frame.size[2]), make_axis(picture.size[3], frame.size[3]),
                    kind};
}

// Writes one output of one pixel, if the caller wants it.
template <int number>
__device__ __forceinline__ void store_output(const Sinks& sinks, const Background& background,
                                             const MattePixel<float>& pixel, int n, int y, int x) {
  const OutputView& view = sinks.output[number];
  if (!view) return;
  float behind[3] = {}, values[kOutputs[number].channels];
  if constexpr (kOutputs[number].reads_background) {
    for (int c = 0; c < 3; ++c) behind[c] = background.value(n, c, y, x);
  }
  output_values(OutputNumber<number>(), pixel, behind, values);
  const int64_t at = offset(view, n, 0, y, x);
  for (int c = 0; c < kOutputs[number].channels; ++c) store(view, at + channel_offset(view, c), values[c]);
}

template <int... number>
__device__ __forceinline__ void store_outputs(const Sinks& sinks, const Background& background,
                                              const MattePixel<float>& pixel, int n, int y, int x,
                                              std::integer_sequence<int, number...>) {
  (store_output<number>(sinks, background, pixel, n, y, x), ...);
}

using AllOutputs = std::make_integer_sequence<int, kOutputCount>;

// One pixel a thread, any strides.
template <typename Op>
__global__ void __launch_bounds__(kThreads) matte_pixels(Op op, View frame, Sinks sinks, Background background) {
  const int64_t item = thread_number();
  const int height = frame.size[2], width = frame.size[3];
  if (item >= static_cast<int64_t>(frame.size[0]) * height * width) return;
  const int x = static_cast<int>(item % width);
  const int y = static_cast<int>(item / width % height);
  const int n = static_cast<int>(item / width / height);
  float rgb[3];
  for (int c = 0; c < 3; ++c) rgb[c] = load(frame, offset(frame, n, c, y, x));
  typename Op::template Walk<AnyMaps> walk(op, n, y, x);
  store_outputs(sinks, background, walk.pixel(x, rgb), n, y, x, AllOutputs());
}

// Returns the start of a block of packed pixels: its channel with the lowest address.
__device__ __forceinline__ void* block_start(const View& view, int n, int y, int x) {
  return static_cast<uint8_t*>(view.data) + offset(view, n, view.stride[1] < 0 ? 2 : 0, y, x);
}

// Reads the colours of a packed pixel as red, green, blue.
__device__ __forceinline__ void colours(const PackedBytes<3>& bytes, bool reversed, int pixel, float (&rgb)[3]) {
  const float first = bytes.get(pixel, 0), last = bytes.get(pixel, 2);
  rgb[0] = reversed ? last : first;
  rgb[1] = bytes.get(pixel, 1);
  rgb[2] = reversed ? first : last;
}

// Writes the channels of a packed pixel.
template <int C>
__device__ __forceinline__ void set_channels(PackedBytes<C>& bytes, bool reversed, int pixel,
                                             const float (&values)[C]) {
  if constexpr (C >= 3) {
    bytes.set(pixel, 0, reversed ? values[2] : values[0]);
    bytes.set(pixel, 1, values[1]);
    bytes.set(pixel, 2, reversed ? values[0] : values[2]);
    if constexpr (C == 4) bytes.set(pixel, 3, values[3]);
  } else {
    bytes.set(pixel, 0, values[0]);
  }
}

// Reads the background of sixteen pixels, for the three kinds that are fast to read.
struct BackgroundBlock {
  PackedBytes<3> bytes;
  NearMaps<float>::Columns<3> near;
  float colour[3];
  BackgroundKind kind;
  bool reversed;

  __device__ __forceinline__ BackgroundBlock(const Background& background, int n, int y, int x)
      : near(background.kind == BackgroundKind::kNear
                 ? NearMaps<float>::Columns<3>(background.picture, background.image(n), y, background.rows,
                                               background.columns, x)
                 : NearMaps<float>::Columns<3>()),
        kind(background.kind),
        reversed(background.picture.stride[1] < 0) {
    const int image = background.image(n);
    if (kind == BackgroundKind::kPacked) bytes.load_from(block_start(background.picture, image, y, x));
    if (kind == BackgroundKind::kColour) {
      for (int c = 0; c < 3; ++c) colour[c] = load(background.picture, offset(background.picture, image, c, 0, 0));
    }
  }

  __device__ __forceinline__ void at(int x, int i, float (&rgb)[3]) {
    if (kind == BackgroundKind::kPacked) {
      colours(bytes, reversed, i, rgb);
    } else if (kind == BackgroundKind::kNear) {
      near.move_to(x + i);
      for (int c = 0; c < 3; ++c) rgb[c] = near.value(c);
    } else {
      for (int c = 0; c < 3; ++c) rgb[c] = colour[c];
    }
  }
};

// A set of outputs has bit i for output i.
constexpr int set_of(int number) { return 1 << number; }

constexpr bool set_reads_background(int set) {
  for (int i = 0; i < kOutputCount; ++i) {
    if ((set & set_of(i)) != 0 && kOutputs[i].reads_background) return true;
  }
  return false;
}

// These are variables because device code must not call constexpr host functions.
template <int kSet, int number>
constexpr bool kHasOutput = (kSet & set_of(number)) != 0;
template <int kSet>
constexpr bool kReadsBackground = set_reads_background(kSet);

inline int wanted_set(const Sinks& sinks) {
  int set = 0;
  for (int i = 0; i < kOutputCount; ++i) set |= sinks.output[i] ? set_of(i) : 0;
  return set;
}

// Sixteen pixels of one output; empty if the kernel's set does not have the output.
template <int number, bool wanted>
struct OutputBlock {
  __device__ __forceinline__ void set(const Sinks&, int, const MattePixel<float>&, const float (&)[3]) {}
  __device__ __forceinline__ void store_to(const Sinks&, int, int, int) const {}
};

template <int number>
struct OutputBlock<number, true> {
  PackedBytes<kOutputs[number].channels> bytes;

  __device__ __forceinline__ void set(const Sinks& sinks, int i, const MattePixel<float>& pixel,
                                      const float (&background)[3]) {
    float values[kOutputs[number].channels];
    output_values(OutputNumber<number>(), pixel, background, values);
    set_channels(bytes, sinks.output[number].stride[1] < 0, i, values);
  }
  __device__ __forceinline__ void store_to(const Sinks& sinks, int n, int y, int x) const {
    bytes.store_to(block_start(sinks.output[number], n, y, x));
  }
};

// Sixteen pixels of each output of a set.
template <int kSet, typename Numbers>
struct OutputBlocks;
template <int kSet, int... number>
struct OutputBlocks<kSet, std::integer_sequence<int, number...>> : OutputBlock<number, kHasOutput<kSet, number>>... {
  __device__ __forceinline__ void set(const Sinks& sinks, int i, const MattePixel<float>& pixel,
                                      const float (&background)[3]) {
    (OutputBlock<number, kHasOutput<kSet, number>>::set(sinks, i, pixel, background), ...);
  }
  __device__ __forceinline__ void store_to(const Sinks& sinks, int n, int y, int x) const {
    (OutputBlock<number, kHasOutput<kSet, number>>::store_to(sinks, n, y, x), ...);
  }
};

// Sixteen pixels a thread, packed bytes.
template <typename Op, typename Maps, int kSet>
__global__ void __launch_bounds__(kThreads) matte_blocks(Op op, View frame, Sinks sinks, Background background) {
  const int64_t item = thread_number();
  const int height = frame.size[2], blocks = frame.size[3] / 16;
  if (item >= static_cast<int64_t>(frame.size[0]) * height * blocks) return;
  const int x = static_cast<int>(item % blocks) * 16;
  const int y = static_cast<int>(item / blocks % height);
  const int n = static_cast<int>(item / blocks / height);
  PackedBytes<3> in;
  in.load_from(block_start(frame, n, y, x));
  OutputBlocks<kSet, AllOutputs> out;
  typename Op::template Walk<Maps> walk(op, n, y, x);
  // The compiler removes this if no output reads it.
  BackgroundBlock behind(background, n, y, x);
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    float rgb[3], mixed[3] = {};
    colours(in, frame.stride[1] < 0, i, rgb);
    const MattePixel<float> pixel = walk.pixel(x + i, rgb);
    if constexpr (kReadsBackground<kSet>) behind.at(x, i, mixed);
    out.set(sinks, i, pixel, mixed);
  }
  out.store_to(sinks, n, y, x);
}

inline bool all_packed(const View& frame, const Sinks& sinks) {
  if (!packed_bytes(frame, 3)) return false;
  for (int i = 0; i < kOutputCount; ++i) {
    const OutputView& view = sinks.output[i];
    const int channels = kOutputs[i].channels;
    if (view && !(packed_bytes(view, channels) && (channels < 4 || alpha_follows(view)))) return false;
  }
  return true;
}

// The arguments of a launch besides the op.
struct MatteLaunch {
  const View& frame;
  const Sinks& sinks;
  Background background;
  cudaStream_t cuda_stream;
};

// Returns true for the sets that callers usually ask for: pha with one output of three channels, and each output alone
// except fgr.
constexpr bool has_block_kernel(int set) {
  for (int i = 0; i < kOutputCount; ++i) {
    if (set == set_of(i)) return i != output::fgr;
    if (set == (set_of(i) | set_of(output::pha))) return kOutputs[i].channels == 3;
  }
  return false;
}

template <typename Maps, int kSet, typename Op>
bool write_block_set(const Op& op, const MatteLaunch& launch, int wanted) {
  if constexpr (has_block_kernel(kSet)) {
    if (wanted == kSet) {
      const View& frame = launch.frame;
      const int64_t items = static_cast<int64_t>(frame.size[0]) * frame.size[2] * (frame.size[3] / 16);
      matte_blocks<Op, Maps, kSet>
          <<<blocks_for(items), kThreads, 0, launch.cuda_stream>>>(op, frame, launch.sinks, launch.background);
      return true;
    }
  }
  return false;
}

// Returns false if the wanted outputs have no block kernel.
template <typename Maps, typename Op, int... set>
bool write_blocks(const Op& op, const MatteLaunch& launch, std::integer_sequence<int, set...>) {
  const int wanted = wanted_set(launch.sinks);
  return (write_block_set<Maps, set>(op, launch, wanted) || ...);
}

// Writes the matte of a frame. `Op` is copied to the device. Its Walk<Maps>(op, n, y, x) goes along a row from x on,
// and pixel(x, rgb) returns the matte there; near(type) returns true if its maps are NearMaps of that type.
template <typename Op>
void write_matte(const Op& op, const View& frame, const Sinks& sinks, CudaStream cuda_stream, const char* name) {
  using AllSets = std::make_integer_sequence<int, 1 << kOutputCount>;
  const MatteLaunch launch{frame, sinks, background_of(sinks, frame), native(cuda_stream)};
  bool done = false;
  if (all_packed(frame, sinks) && launch.background.kind != BackgroundKind::kAny) {
    if (op.near(DType::kFloat32)) done = write_blocks<NearMaps<float>>(op, launch, AllSets());
    if (op.near(DType::kFloat16)) done = write_blocks<NearMaps<Half>>(op, launch, AllSets());
  }
  if (!done) {
    const int64_t pixels = static_cast<int64_t>(frame.size[0]) * frame.size[2] * frame.size[3];
    matte_pixels<Op><<<blocks_for(pixels), kThreads, 0, launch.cuda_stream>>>(op, frame, sinks, launch.background);
  }
  check_launch(name);
}

}  // namespace trtmatte
