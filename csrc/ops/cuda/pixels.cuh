// Reading and writing pixels on the device.
#pragma once

#include <cuda_runtime.h>

#include "base/cuda_check.h"
#include "base/launch.h"
#include "base/view.h"
#include "ops/math/axis.h"
#include "ops/math/pixel_math.h"
#include "ops/math/taps.h"

namespace trtmatte {

constexpr int kThreads = 128;

inline unsigned blocks_for(int64_t items, int threads = kThreads) {
  return static_cast<unsigned>((items + threads - 1) / threads);
}

inline cudaStream_t native(CudaStream cuda_stream) { return static_cast<cudaStream_t>(cuda_stream.handle); }

// Note [Grids]
// A block of kThreads threads covers kAcross items in each of kThreads / kAcross rows of an image. Grids have rows
// along x, which allows 2^31 - 1 blocks, items along y and images along z, so that no thread divides by a size. Along y
// and z there may be kMostBlocks blocks. Sides are at most 65536; in_pieces splits more images.
constexpr int kMostBlocks = 65535;

template <int kAcross>
dim3 grid_of(int images, int rows, int items) {
  constexpr int kDown = kThreads / kAcross;
  return dim3(static_cast<unsigned>((rows - 1) / kDown + 1), static_cast<unsigned>((items - 1) / kAcross + 1),
              static_cast<unsigned>(images));
}

// Calls launch(first, count) for pieces of the images that a grid can have.
template <typename Launch>
void in_pieces(int images, const Launch& launch) {
  for (int64_t first = 0; first < images; first += kMostBlocks) {
    const int64_t left = images - first;
    launch(static_cast<int>(first), static_cast<int>(left < kMostBlocks ? left : kMostBlocks));
  }
}

// The place of a thread in such a grid.
template <int kAcross>
struct GridPlace {
  int row = static_cast<int>(blockIdx.x * (kThreads / kAcross) + threadIdx.x / kAcross);
  int item = static_cast<int>(blockIdx.y * kAcross + threadIdx.x % kAcross);
  int image = static_cast<int>(blockIdx.z);
};

// The number of this thread in a one-dimensional grid. Grids extend along x, which allows 2^31 - 1 blocks.
__device__ __forceinline__ int64_t thread_number() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64_t offset(const View& view, int n, int c, int y, int x) {
  return n * view.stride[0] + c * view.stride[1] + y * view.stride[2] + x * view.stride[3];
}

__device__ __forceinline__ float load(const View& view, int64_t at) {
  switch (view.dtype) {
    case DType::kUint8:
      return load_value(static_cast<const uint8_t*>(view.data)[at]);
    case DType::kFloat16:
      return load_value(static_cast<const Half*>(view.data)[at]);
    case DType::kByteFloat16:
      return byte_value(load_value(static_cast<const Half*>(view.data)[at]));
    case DType::kByteFloat32:
      return byte_value(load_value(static_cast<const float*>(view.data)[at]));
    default:
      return load_value(static_cast<const float*>(view.data)[at]);
  }
}

__device__ __forceinline__ void store(const View& view, int64_t at, float value) {
  switch (view.dtype) {
    case DType::kUint8:
      return store_value(value, static_cast<uint8_t*>(view.data) + at);
    case DType::kFloat16:
      return store_value(value, static_cast<Half*>(view.data) + at);
    case DType::kByteFloat16:
      return store_value(nearest_byte(value), static_cast<Half*>(view.data) + at);
    case DType::kByteFloat32:
      return store_value(nearest_byte(value), static_cast<float*>(view.data) + at);
    default:
      return store_value(value, static_cast<float*>(view.data) + at);
  }
}

// Samples a small map linearly.
__device__ __forceinline__ float sample(const View& map, int n, int c, const Tap& row, const Tap& column) {
  const int64_t upper = offset(map, n, c, row.first, 0), lower = offset(map, n, c, row.second, 0);
  const int64_t left = column.first * map.stride[3], right = column.second * map.stride[3];
  const float a = lerp(load(map, upper + left), load(map, upper + right), column.weight);
  const float b = lerp(load(map, lower + left), load(map, lower + right), column.weight);
  return lerp(a, b, row.weight);
}

// A float whose lowest byte is the byte nearest to x. Adding 2^23 to a float in 0...255 rounds it like rintf; the
// product is rounded first, as in nearest_byte.
__device__ __forceinline__ uint32_t nearest_byte_bits(float x) {
  return to_bits(__fadd_rn(__fmul_rn(x, 255.0f), 0x1p23f));
}

constexpr int kBlockPixels = 16;

// How blocks of packed pixels are moved: in accesses of 16 or of 8 bytes. The last block of a row may have only the
// first half of its pixels; its accesses have 8 bytes.
struct BlockAccess {
  bool wide;
  bool half;
};

// Sixteen adjacent pixels of C bytes each. Pixels and channels must be compile-time constants after unrolling, so that
// the bytes stay in registers.
template <int C>
struct PackedBytes {
  uint32_t words[4 * C];

  __device__ __forceinline__ void load_from(const void* from, const BlockAccess& access) {
    if (access.wide) {
#pragma unroll
      for (int i = 0; i < C; ++i) {
        const uint4 vector = __ldg(static_cast<const uint4*>(from) + i);
        words[4 * i] = vector.x;
        words[4 * i + 1] = vector.y;
        words[4 * i + 2] = vector.z;
        words[4 * i + 3] = vector.w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < 2 * C; ++i) {
        uint2 vector = make_uint2(0, 0);
        if (i < C || !access.half) vector = __ldg(static_cast<const uint2*>(from) + i);
        words[2 * i] = vector.x;
        words[2 * i + 1] = vector.y;
      }
    }
  }

  __device__ __forceinline__ void store_to(void* to, const BlockAccess& access) const {
    if (access.wide) {
#pragma unroll
      for (int i = 0; i < C; ++i) {
        static_cast<uint4*>(to)[i] = make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 2 * C; ++i) {
        if (i < C || !access.half) static_cast<uint2*>(to)[i] = make_uint2(words[2 * i], words[2 * i + 1]);
      }
    }
  }

  // Exchanges the first and the third channel of all pixels.
  __device__ __forceinline__ void swap_colours() {
    if constexpr (C == 3) {
#pragma unroll
      for (int i = 0; i < 4 * C; i += 3) {
        const uint32_t a = words[i], b = words[i + 1], c = words[i + 2];
        words[i] = __byte_perm(a, b, 0x5012);
        words[i + 1] = __byte_perm(__byte_perm(a, b, 0x7034), c, 0x3410);
        words[i + 2] = __byte_perm(b, c, 0x5672);
      }
    } else if constexpr (C == 4) {
#pragma unroll
      for (uint32_t& word : words) word = __byte_perm(word, 0, 0x3012);
    }
  }

  // 2^23 + byte is a float whose lowest byte is the byte. The multiply-add is exact up to its one rounding.
  __device__ __forceinline__ float get(int pixel, int channel) const {
    constexpr float kScale = 1.0f / 255.0f;
    const int byte = pixel * C + channel;
    return fmaf(from_bits(__byte_perm(words[byte / 4], 0x4b000000u, 0x7650u | (byte % 4))), kScale, -0x1p23f * kScale);
  }

  // The channels of all pixels must be set in their order.
  __device__ __forceinline__ void set(int pixel, int channel, float value) {
    constexpr uint32_t kInsert[] = {0, 0x3240, 0x3410, 0x4210};
    const int byte = pixel * C + channel;
    const uint32_t bits = nearest_byte_bits(value);
    words[byte / 4] = byte % 4 == 0 ? bits : __byte_perm(words[byte / 4], bits, kInsert[byte % 4]);
  }
};

// Returns the largest of 16, 8 and 0 bytes in which the rows of a packed picture can be read and written.
inline int packed_access(const View& view, int channels) {
  const int64_t step = channels == 1 ? 1 : view.stride[1];
  if (view.dtype != DType::kUint8 || view.stride[3] != channels || (step != 1 && step != -1)) return 0;
  const uintptr_t first = reinterpret_cast<uintptr_t>(view.data) - (step < 0 ? 2 : 0);
  const uintptr_t all = first | static_cast<uintptr_t>(view.stride[0]) | static_cast<uintptr_t>(view.stride[2]);
  return all % 16 == 0 ? 16 : all % 8 == 0 ? 8 : 0;
}

// Returns the start of a block of packed pixels of C channels: its channel with the lowest address.
template <int C>
__device__ __forceinline__ uint8_t* block_start(const View& view, int n, int y, int x) {
  const int back = C > 1 && view.stride[1] < 0 ? 2 : 0;
  return static_cast<uint8_t*>(view.data) + n * view.stride[0] + y * view.stride[2] + (x * C - back);
}

// Samples small maps along one row of the frame. A Place goes along the row: advance() moves it by one pixel and
// returns true if it reaches other columns of the maps, which Columns::follow(place) then fetches.
struct AnyMaps {
  static constexpr bool kAreas = false;

  struct Place {
    const Axis& across;
    int x;
    Tap column;

    __device__ __forceinline__ Place(const Axis& columns, int first)
        : across(columns), x(first), column(tap_at(columns, first)) {}
    __device__ __forceinline__ bool advance() {
      column = tap_at(across, ++x);
      return true;
    }
  };

  template <int C>
  struct Columns {
    const View& maps;
    Tap row;
    int n;

    __device__ __forceinline__ Columns(const View& of, int image, const Tap& rows, const Place&)
        : maps(of), row(rows), n(image) {}
    __device__ __forceinline__ void follow(const Place&) {}
    __device__ __forceinline__ float value(int c, const Place& place) const {
      return sample(maps, n, c, row, place.column);
    }
  };
};

// For maps of packed rows that are not wider than the frame. Neighbouring pixels then lie between the same two columns
// or the next two. Registers hold these columns, already interpolated between two rows: the right one, and its
// difference from the left one, so that moving on copies nothing.
//
// The area method fits in, since a pixel that is not larger than those of the maps lies in one column or in two: its
// mean is the left one, or halfway between both.
template <typename T, bool areas>
struct ColumnsOfMaps {
  static constexpr bool kAreas = areas;

  struct Place {
    int column;  // the right one
    int last;
    int moved;     // columns from the left one to the right one: 1, or 0 beyond the centres of the outermost
    float weight;  // -1 at the left column, 0 at the right one; of an area, where it begins
    float step;

    // A pixel on a column has it on its right.
    __device__ __forceinline__ Place(const Axis& across, int x) : last(across.in - 1) {
      const int64_t at = areas ? across.step * x + kAreaSlack : across.offset + across.step * x;
      column = static_cast<int>((at + 0xffffffff) >> 32);
      moved = column > 0 && column <= last;
      column = column < last ? column : last;
      weight = static_cast<float>(static_cast<uint32_t>(-at)) * -0x1p-32f;
      step = static_cast<float>(static_cast<uint32_t>(across.step >> 1)) * 0x1p-31f;  // at most 1
    }
    __device__ __forceinline__ bool advance() {
      weight += step;
      if (weight <= 0.0f) return false;
      weight -= 1.0f;
      moved = column < last;
      column += moved;
      return true;
    }
    __device__ __forceinline__ float weight_of_mean() const {
      constexpr float kSlack = static_cast<float>(kAreaSlack) * 0x1p-32f;
      return weight + step > 2.0f * kSlack ? -0.5f : -1.0f;
    }
  };

  template <int C>
  struct Columns {
    const T* above;  // the right column in the upper row
    const T* below;  // and in the lower one
    int plane;
    float down;
    float right[C];
    float slope[C];  // right - left

    __device__ __forceinline__ Columns(const View& maps, int n, const Tap& row, const Place& place)
        : above(static_cast<const T*>(maps.data) + n * maps.stride[0] + (place.column - place.moved)),
          below(above + row.second * static_cast<int>(maps.stride[2])),
          plane(static_cast<int>(maps.stride[1])),
          down(row.weight) {
      above += row.first * static_cast<int>(maps.stride[2]);
      fetch(right);
      follow(place);
    }

    __device__ __forceinline__ void fetch(float (&to)[C]) const {
      const T* upper = above;
      const T* lower = below;
      for (int c = 0; c < C; ++c) {
        to[c] = lerp(load_value(*upper), load_value(*lower), down);
        upper += plane;
        lower += plane;
      }
    }

    __device__ __forceinline__ void follow(const Place& place) {
      above += place.moved;
      below += place.moved;
      float next[C];
      fetch(next);
      for (int c = 0; c < C; ++c) {
        slope[c] = next[c] - right[c];
        right[c] = next[c];
      }
    }

    __device__ __forceinline__ float value(int c, const Place& place) const {
      return right[c] + slope[c] * (areas ? place.weight_of_mean() : place.weight);
    }
  };
};

template <typename T>
struct NearMaps : ColumnsOfMaps<T, false> {};
template <typename T>
struct NearAreas : ColumnsOfMaps<T, true> {};

// Returns true if NearMaps of this type can read the maps; NearAreas also need maps that are not higher than the frame.
// The pixels of an image must be numbered by ints.
inline bool near_maps(const View& maps, const View& frame, DType type) {
  const int64_t rows = maps.stride[2] * maps.size[2], planes = maps.stride[1] * maps.size[1];
  const int64_t reach = (rows < 0 ? -rows : rows) + (planes < 0 ? -planes : planes) + maps.size[3];
  return maps.dtype == type && maps.stride[3] == 1 && maps.size[3] <= frame.size[3] && reach < INT32_MAX;
}

}  // namespace trtmatte
