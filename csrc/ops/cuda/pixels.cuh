// Reading and writing pixels on the device.
#pragma once

#include <cuda_runtime.h>

#include "base/cuda_check.h"
#include "base/launch.h"
#include "base/view.h"
#include "ops/math/axis.h"
#include "ops/math/pixel_math.h"

namespace trtmatte {

constexpr int kThreads = 128;

inline unsigned blocks_for(int64_t items, int threads = kThreads) {
  return static_cast<unsigned>((items + threads - 1) / threads);
}

inline cudaStream_t native(CudaStream cuda_stream) { return static_cast<cudaStream_t>(cuda_stream.handle); }

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

// Sixteen adjacent pixels of C bytes each, moved in C accesses of 16 bytes.
template <int C>
struct PackedBytes {
  uint32_t words[4 * C];

  __device__ __forceinline__ void load_from(const void* from) {
    const auto* vectors = static_cast<const uint4*>(from);
#pragma unroll
    for (int i = 0; i < C; ++i) {
      const uint4 vector = __ldg(vectors + i);
      words[4 * i] = vector.x;
      words[4 * i + 1] = vector.y;
      words[4 * i + 2] = vector.z;
      words[4 * i + 3] = vector.w;
    }
  }

  __device__ __forceinline__ void store_to(void* to) const {
    auto* vectors = static_cast<uint4*>(to);
#pragma unroll
    for (int i = 0; i < C; ++i) {
      vectors[i] = make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
    }
  }

  // Pixel and channel must be compile-time constants after unrolling, so that the bytes stay in registers.
  __device__ __forceinline__ float get(int pixel, int channel) const {
    const int byte = pixel * C + channel;
    return static_cast<float>((words[byte / 4] >> (byte % 4 * 8)) & 0xffu) * (1.0f / 255.0f);
  }

  __device__ __forceinline__ void set(int pixel, int channel, float value) {
    const int byte = pixel * C + channel;
    uint8_t stored;
    store_value(value, &stored);
    const uint32_t shifted = static_cast<uint32_t>(stored) << (byte % 4 * 8);
    words[byte / 4] = byte % 4 == 0 ? shifted : words[byte / 4] | shifted;
  }
};

// Returns true if blocks of sixteen pixels can be moved 16 bytes at a time.
inline bool packed_bytes(const View& view, int channels) {
  const int64_t step = view.stride[1] < 0 ? -view.stride[1] : view.stride[1];
  const int64_t back = view.stride[1] < 0 ? 2 : 0;
  const auto address = reinterpret_cast<uintptr_t>(view.data) - static_cast<uintptr_t>(back);
  return view.dtype == DType::kUint8 && view.stride[3] == channels && (channels == 1 || step == 1) &&
         view.size[3] % 16 == 0 && address % 16 == 0 && view.stride[0] % 16 == 0 && view.stride[2] % 16 == 0;
}

// Samples small maps along one row of the frame: call move_to(x), then value(c). AnyMaps and NearMaps serve the two
// paths of matte.cuh.
struct AnyMaps {
  template <int C>
  struct Columns {
    const View& maps;
    const Axis& across;
    Tap row;
    Tap column{};
    int n;

    __device__ __forceinline__ Columns(const View& of, int image, int y, const Axis& rows, const Axis& columns, int)
        : maps(of), across(columns), row(tap_at(rows, y)), n(image) {}
    __device__ __forceinline__ void move_to(int x) { column = tap_at(across, x); }
    __device__ __forceinline__ float value(int c) const { return sample(maps, n, c, row, column); }
  };
};

// For maps with packed rows that are not wider than the frame. Neighbouring pixels then lie between the same two
// columns or the next two. Registers hold these columns, already interpolated between two rows.
template <typename T>
struct NearMaps {
  template <int C>
  struct Columns {
    const T* upper;
    const T* lower;
    int64_t plane;
    Axis across;
    float down;
    float weight = 0.0f;
    int current;
    float left[C];
    float right[C];

    Columns() = default;
    __device__ __forceinline__ Columns(const View& maps, int n, int y, const Axis& rows, const Axis& columns, int x)
        : plane(maps.stride[1]), across(columns) {
      const Tap row = tap_at(rows, y);
      upper = static_cast<const T*>(maps.data) + offset(maps, n, 0, row.first, 0);
      lower = static_cast<const T*>(maps.data) + offset(maps, n, 0, row.second, 0);
      down = row.weight;
      current = tap_at(columns, x).first;
      fetch(current, left);
      fetch(current + 1, right);
    }

    __device__ __forceinline__ void fetch(int column, float (&to)[C]) const {
      const int at = column < across.in ? column : across.in - 1;
#pragma unroll
      for (int c = 0; c < C; ++c) {
        to[c] = lerp(load_value(upper[c * plane + at]), load_value(lower[c * plane + at]), down);
      }
    }

    __device__ __forceinline__ void move_to(int x) {
      const Tap tap = tap_at(across, x);
      weight = tap.weight;
      if (tap.first == current) return;
      current = tap.first;
#pragma unroll
      for (int c = 0; c < C; ++c) left[c] = right[c];
      fetch(current + 1, right);
    }

    __device__ __forceinline__ float value(int c) const { return lerp(left[c], right[c], weight); }
  };
};

inline bool near_maps(const View& maps, const View& frame, DType type) {
  return maps.dtype == type && maps.stride[3] == 1 && maps.size[3] <= frame.size[3];
}

}  // namespace trtmatte
