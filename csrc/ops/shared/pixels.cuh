// Reading and writing pixels on the device.
#pragma once

#include <cuda_runtime.h>

#include "ops/shared/axis.h"
#include "ops/shared/pixel_math.h"
#include "ops/shared/view.h"
#include "runtime/cuda_check.h"

namespace trtmatte {

constexpr int kThreads = 128;

inline unsigned blocks_for(int64_t items, int threads = kThreads) {
  return static_cast<unsigned>((items + threads - 1) / threads);
}

inline cudaStream_t native(CudaStream stream) { return static_cast<cudaStream_t>(stream.handle); }

// A grid of blocks over `items` may be too long for one dimension's limit on nothing but x; x allows 2^31 - 1.
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
    default:
      return store_value(value, static_cast<float*>(view.data) + at);
  }
}

// One value of a small map between its neighbours.
__device__ __forceinline__ float sample(const View& map, int n, int c, const Tap& row, const Tap& column) {
  const int64_t upper = offset(map, n, c, row.first, 0), lower = offset(map, n, c, row.second, 0);
  const int64_t left = column.first * map.stride[3], right = column.second * map.stride[3];
  const float a = lerp(load(map, upper + left), load(map, upper + right), column.weight);
  const float b = lerp(load(map, lower + left), load(map, lower + right), column.weight);
  return lerp(a, b, row.weight);
}

// Sixteen pixels of C bytes each, side by side in memory: C accesses of 16 bytes.
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

  // Pixel and channel must be known to the compiler, so that nothing leaves the registers.
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

// Whether blocks of sixteen pixels of C channels can be moved 16 bytes at a time. `lowest` is the channel with the
// lowest address.
inline bool packed_bytes(const View& view, int channels) {
  const int64_t step = view.stride[1] < 0 ? -view.stride[1] : view.stride[1];
  const int64_t back = view.stride[1] < 0 ? 2 : 0;
  const auto address = reinterpret_cast<uintptr_t>(view.data) - static_cast<uintptr_t>(back);
  return view.dtype == DType::kUint8 && view.stride[3] == channels && (channels == 1 || step == 1) &&
         view.size[3] % 16 == 0 && address % 16 == 0 && view.stride[0] % 16 == 0 && view.stride[2] % 16 == 0;
}

// C small maps along one row of the frame. Neighbouring pixels mostly lie between the same two columns, which are
// therefore kept, already interpolated between two rows.
template <int C>
struct ColumnWalk {
  const View* maps;
  Axis columns;
  Tap row;
  int n;
  int channel;
  int left_column = -1;
  int right_column = -1;
  float left[C];
  float right[C];

  __device__ __forceinline__ ColumnWalk(const View& of, int image, int first_channel, int y, const Axis& rows,
                                        const Axis& across)
      : maps(&of), columns(across), row(tap_at(rows, y)), n(image), channel(first_channel) {}

  __device__ __forceinline__ float column(int c, int x) const {
    const int64_t at = x * maps->stride[3];
    return lerp(load(*maps, offset(*maps, n, channel + c, row.first, 0) + at),
                load(*maps, offset(*maps, n, channel + c, row.second, 0) + at), row.weight);
  }

  // Moves to a pixel of the frame; returns the weight of the right column.
  __device__ __forceinline__ float move_to(int x) {
    const Tap tap = tap_at(columns, x);
    if (tap.first != left_column) {
      const bool step = tap.first == right_column;
#pragma unroll
      for (int c = 0; c < C; ++c) left[c] = step ? right[c] : column(c, tap.first);
      left_column = tap.first;
      right_column = -1;
    }
    // With no weight the right column may be stale.
    if (tap.second != right_column && tap.second != tap.first) {
#pragma unroll
      for (int c = 0; c < C; ++c) right[c] = column(c, tap.second);
      right_column = tap.second;
    }
    return tap.weight;
  }

  __device__ __forceinline__ float value(int c, float weight) const {
    return weight == 0.0f ? left[c] : lerp(left[c], right[c], weight);
  }
};

}  // namespace trtmatte
