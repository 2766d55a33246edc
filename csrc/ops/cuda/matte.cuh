// The last part of the CUDA form of every op that writes a matte: it reads the frame and writes all
// outputs in one pass.
//
// Note [Two paths]
// matte_blocks moves sixteen pixels a thread in accesses of 16 or 8 bytes. It takes the columns up to the last multiple
// of eight of frames and outputs of packed bytes with aligned rows, for the sets of outputs that callers usually ask
// for. matte_pixels goes through the strides pixel by pixel and takes everything else. Both call the same op.
#pragma once

#include <type_traits>
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
  } else if (same_size && packed_access(picture, 3)) {
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

constexpr int kPixelsAcross = 32;

// One pixel a thread, any strides, from column `first` on.
template <typename Op, typename Maps>
__global__ void __launch_bounds__(kThreads)
    matte_pixels(Op op, View frame, Sinks sinks, Background background, int first, int first_image) {
  const GridPlace<kPixelsAcross> place;
  const int n = first_image + place.image, y = place.row, x = first + place.item;
  if (y >= frame.size[2] || x >= frame.size[3]) return;
  float rgb[3];
  for (int c = 0; c < 3; ++c) rgb[c] = load(frame, offset(frame, n, c, y, x));
  typename Op::template Walk<Maps, false> walk(op, n, y, x);
  store_outputs(sinks, background, walk.pixel(0, rgb), n, y, x, AllOutputs());
}

// Loads the pixels of a picture as red, green, blue.
__device__ __forceinline__ void load_colours(PackedBytes<3>& bytes, const View& view, int n, int y, int x,
                                             const BlockAccess& access) {
  bytes.load_from(block_start<3>(view, n, y, x), access);
  if (view.stride[1] < 0) bytes.swap_colours();
}

// The backgrounds of the sixteen pixels from x on. at(i, rgb) must be called for one pixel after the other.
struct NoBackground {
  __device__ __forceinline__ NoBackground(const Background&, int, int, int, const BlockAccess&) {}
  __device__ __forceinline__ void at(int, float (&)[3]) {}
};

struct ColourBackground {
  float colour[3];

  __device__ __forceinline__ ColourBackground(const Background& background, int n, int, int, const BlockAccess&) {
    const View& picture = background.picture;
    const int64_t at = offset(picture, background.image(n), 0, 0, 0);
    if (picture.dtype == DType::kFloat32) {
      for (int c = 0; c < 3; ++c) colour[c] = static_cast<const float*>(picture.data)[at + c * picture.stride[1]];
    } else {
      for (int c = 0; c < 3; ++c) colour[c] = load(picture, at + c * picture.stride[1]);
    }
  }
  __device__ __forceinline__ void at(int, float (&rgb)[3]) {
    for (int c = 0; c < 3; ++c) rgb[c] = colour[c];
  }
};

struct PackedBackground {
  PackedBytes<3> bytes;

  __device__ __forceinline__ PackedBackground(const Background& background, int n, int y, int x,
                                              const BlockAccess& access) {
    load_colours(bytes, background.picture, background.image(n), y, x, access);
  }
  __device__ __forceinline__ void at(int i, float (&rgb)[3]) {
    for (int c = 0; c < 3; ++c) rgb[c] = bytes.get(i, c);
  }
};

struct NearBackground {
  using Maps = NearMaps<float>;
  Maps::Place place;
  Maps::Columns<3> columns;

  __device__ __forceinline__ NearBackground(const Background& background, int n, int y, int x, const BlockAccess&)
      : place(background.columns, x),
        columns(background.picture, background.image(n), tap_at(background.rows, y), place) {}
  __device__ __forceinline__ void at(int i, float (&rgb)[3]) {
    if (i > 0 && place.advance()) columns.follow(place);
    for (int c = 0; c < 3; ++c) rgb[c] = columns.value(c, place);
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
  __device__ __forceinline__ void set(int, const MattePixel<float>&, const float (&)[3]) {}
  __device__ __forceinline__ void store_to(const Sinks&, int, int, int, const BlockAccess&) {}
};

template <int number>
struct OutputBlock<number, true> {
  static constexpr int kChannels = kOutputs[number].channels;
  PackedBytes<kChannels> bytes;

  __device__ __forceinline__ void set(int i, const MattePixel<float>& pixel, const float (&background)[3]) {
    float values[kChannels];
    output_values(OutputNumber<number>(), pixel, background, values);
    for (int c = 0; c < kChannels; ++c) bytes.set(i, c, values[c]);
  }
  __device__ __forceinline__ void store_to(const Sinks& sinks, int n, int y, int x, const BlockAccess& access) {
    const OutputView& view = sinks.output[number];
    if (view.stride[1] < 0) bytes.swap_colours();
    bytes.store_to(block_start<kChannels>(view, n, y, x), access);
  }
};

// Sixteen pixels of each output of a set.
template <int kSet, typename Numbers>
struct OutputBlocks;
template <int kSet, int... number>
struct OutputBlocks<kSet, std::integer_sequence<int, number...>> : OutputBlock<number, kHasOutput<kSet, number>>... {
  __device__ __forceinline__ void set(int i, const MattePixel<float>& pixel, const float (&background)[3]) {
    (OutputBlock<number, kHasOutput<kSet, number>>::set(i, pixel, background), ...);
  }
  __device__ __forceinline__ void store_to(const Sinks& sinks, int n, int y, int x, const BlockAccess& access) {
    (OutputBlock<number, kHasOutput<kSet, number>>::store_to(sinks, n, y, x, access), ...);
  }
};

constexpr int kBlocksAcross = 8;

// Sixteen pixels a thread, packed bytes, up to column `end`, a multiple of eight.
template <typename Op, typename Maps, int kSet, typename Behind>
__global__ void __launch_bounds__(kThreads)
    matte_blocks(Op op, View frame, Sinks sinks, Background background, int end, bool wide, int first_image) {
  const GridPlace<kBlocksAcross> place;
  const int n = first_image + place.image, y = place.row, x = place.item * kBlockPixels;
  if (y >= frame.size[2] || x >= end) return;
  const bool half = end - x < kBlockPixels;
  const BlockAccess access{wide && !half, half};
  PackedBytes<3> in;
  load_colours(in, frame, n, y, x, access);
  OutputBlocks<kSet, AllOutputs> out;
  typename Op::template Walk<Maps, true> walk(op, n, y, x);
  Behind behind(background, n, y, x, access);
#pragma unroll
  for (int i = 0; i < kBlockPixels; ++i) {
    const float rgb[3] = {in.get(i, 0), in.get(i, 1), in.get(i, 2)};
    float mixed[3] = {};
    behind.at(i, mixed);
    out.set(i, walk.pixel(i, rgb), mixed);
  }
  out.store_to(sinks, n, y, x, access);
}

// Returns the accesses that suit the frame, all wanted outputs and the background: 16, 8 or 0 bytes.
inline int common_access(const View& frame, const Sinks& sinks, const Background& background) {
  int access = packed_access(frame, 3);
  const auto also = [&access](int other) { access = other < access ? other : access; };
  if (background.kind == BackgroundKind::kPacked) also(packed_access(background.picture, 3));
  for (int i = 0; i < kOutputCount; ++i) {
    const OutputView& view = sinks.output[i];
    const int channels = kOutputs[i].channels;
    if (view) also(channels < 4 || alpha_follows(view) ? packed_access(view, channels) : 0);
  }
  return access;
}

// The arguments of a launch besides the op.
struct MatteLaunch {
  const View& frame;
  const Sinks& sinks;
  Background background;
  cudaStream_t cuda_stream;
  bool in_blocks;
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

template <typename Maps, int kSet, typename Behind, typename Op>
void launch_blocks(const Op& op, const MatteLaunch& launch, int end, bool wide) {
  const View& frame = launch.frame;
  in_pieces(frame.size[0], [&](int first_image, int images) {
    const dim3 grid = grid_of<kBlocksAcross>(images, frame.size[2], (end + kBlockPixels - 1) / kBlockPixels);
    matte_blocks<Op, Maps, kSet, Behind>
        <<<grid, kThreads, 0, launch.cuda_stream>>>(op, frame, launch.sinks, launch.background, end, wide, first_image);
  });
}

template <typename Maps, int kSet, typename Op>
bool write_block_set(const Op& op, const MatteLaunch& launch, int wanted, int end, bool wide) {
  if constexpr (has_block_kernel(kSet)) {
    if (wanted != kSet) return false;
    if constexpr (kReadsBackground<kSet>) {
      switch (launch.background.kind) {
        case BackgroundKind::kColour:
          launch_blocks<Maps, kSet, ColourBackground>(op, launch, end, wide);
          return true;
        case BackgroundKind::kPacked:
          launch_blocks<Maps, kSet, PackedBackground>(op, launch, end, wide);
          return true;
        case BackgroundKind::kNear:
          launch_blocks<Maps, kSet, NearBackground>(op, launch, end, wide);
          return true;
        default:
          return false;
      }
    } else {
      launch_blocks<Maps, kSet, NoBackground>(op, launch, end, wide);
      return true;
    }
  }
  return false;
}

// Writes columns in blocks. Returns the first column that is left, 0 if there is no block kernel for these arrays.
template <typename Maps, typename Op, int... set>
int write_blocks(const Op& op, const MatteLaunch& launch, std::integer_sequence<int, set...>) {
  const int access = common_access(launch.frame, launch.sinks, launch.background);
  const int end = access && launch.in_blocks ? launch.frame.size[3] / 8 * 8 : 0;
  const int wanted = wanted_set(launch.sinks);
  return end && (write_block_set<Maps, set>(op, launch, wanted, end, access == 16) || ...) ? end : 0;
}

template <typename Maps, typename Op>
void write_maps(const Op& op, const MatteLaunch& launch) {
  int first = 0;
  if constexpr (!std::is_same_v<Maps, AnyMaps>) {
    first = write_blocks<Maps>(op, launch, std::make_integer_sequence<int, 1 << kOutputCount>());
  }
  const View& frame = launch.frame;
  if (first == frame.size[3]) return;
  in_pieces(frame.size[0], [&](int first_image, int images) {
    const dim3 grid = grid_of<kPixelsAcross>(images, frame.size[2], frame.size[3] - first);
    matte_pixels<Op, Maps>
        <<<grid, kThreads, 0, launch.cuda_stream>>>(op, frame, launch.sinks, launch.background, first, first_image);
  });
}

// Writes the matte of a frame. `Op` is copied to the device. Its Walk<Maps, in_blocks>(op, n, y, x) goes along a row
// from x on: pixel(i, rgb) returns the matte of pixel x + i and is called for one after the other. near(type) returns
// true if its maps are `Near` ones of that type.
template <template <typename> class Near = NearMaps, typename Op>
void write_matte(const Op& op, const View& frame, const Sinks& sinks, CudaStream cuda_stream, const char* name,
                 bool in_blocks = true) {
  const MatteLaunch launch{frame, sinks, background_of(sinks, frame), native(cuda_stream), in_blocks};
  if (op.near(DType::kFloat32)) {
    write_maps<Near<float>>(op, launch);
  } else if (op.near(DType::kFloat16)) {
    write_maps<Near<Half>>(op, launch);
  } else {
    write_maps<AnyMaps>(op, launch);
  }
  check_launch(name);
}

}  // namespace trtmatte
