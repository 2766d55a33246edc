#include "ops/cuda/pixels.cuh"
#include "ops/frame_sample/frame_sample.h"
#include "ops/frame_sample/frame_sample_math.h"

namespace trtmatte {

namespace {

// Sums over both axes at once: computing a pixel's weights costs little compared to its reads.
__device__ void weighted(const FrameSample& op, int n, int y, int x, float (&rgb)[3]) {
  const TapRange rows = tap_range(op.rows, y), columns = tap_range(op.columns, x);
  float sum = 0.0f;
  for (int i = rows.begin; i < rows.end; ++i) {
    const float down = tap_weight(op.rows, y, i);
    for (int j = columns.begin; j < columns.end; ++j) {
      const float weight = down * tap_weight(op.columns, x, j);
      sum += weight;
      for (int c = 0; c < 3; ++c) rgb[c] += weight * load(op.frame, offset(op.frame, n, c, i, j));
    }
  }
  for (float& value : rgb) value /= sum;
}

__device__ void linear(const FrameSample& op, int n, int y, int x, float (&rgb)[3]) {
  const Tap row = tap_at(op.rows.axis, y), column = tap_at(op.columns.axis, x);
  for (int c = 0; c < 3; ++c) {
    const float a = load(op.frame, offset(op.frame, n, c, row.first, column.first));
    const float b = load(op.frame, offset(op.frame, n, c, row.first, column.second));
    const float d = load(op.frame, offset(op.frame, n, c, row.second, column.first));
    const float e = load(op.frame, offset(op.frame, n, c, row.second, column.second));
    rgb[c] = bilinear(a, b, d, e, column.weight, row.weight);
  }
}

// Note [Two passes], without storing the first one: each pixel makes the first pass along a few lines at once, so that
// a weight is computed once for all of them.
__device__ void two_passes(const FrameSample& op, int n, int y, int x, float (&rgb)[3]) {
  constexpr int kLines = 4;
  const bool bytes = op.frame.dtype != DType::kFloat16 && op.frame.dtype != DType::kFloat32;
  const bool down = columns_first(op.rows.axis, op.columns.axis);
  const Filter first = down ? op.rows : op.columns, second = down ? op.columns : op.rows;
  const int a = down ? y : x, b = down ? x : y;
  const TapRange inner = tap_range(first, a), outer = tap_range(second, b);
  float outer_total = 0.0f;
  for (int i = outer.begin; i < outer.end; i += kLines) {
    float sums[kLines][3] = {}, inner_total = 0.0f;
    for (int j = inner.begin; j < inner.end; ++j) {
      const float weight = tap_weight(first, a, j);
      inner_total += weight;
      for (int r = 0; r < kLines; ++r) {
        const int line = i + r < outer.end ? i + r : outer.end - 1;
        for (int c = 0; c < 3; ++c) {
          const float value = load(op.frame, offset(op.frame, n, c, down ? j : line, down ? line : j));
          sums[r][c] += weight * (bytes ? nearest_byte(value) : value * 255.0f);
        }
      }
    }
    for (int r = 0; r < kLines && i + r < outer.end; ++r) {
      const float weight = tap_weight(second, b, i + r);
      outer_total += weight;
      for (int c = 0; c < 3; ++c) rgb[c] += weight * static_cast<float>(whole_step(sums[r][c] / inner_total));
    }
  }
  for (float& value : rgb) value = byte_value(static_cast<float>(whole_step(value / outer_total)));
}

constexpr int kPixelsAcross = 32;

__device__ __forceinline__ void store_sample(const FrameSample& op, int n, int y, int x, const float (&rgb)[3]) {
  for (int c = 0; c < 3; ++c) {
    store(op.sample, offset(op.sample, n, c, y, x), normalise(rgb[c], op.mean[c], op.scale[c]));
  }
}

// One pixel of the sample a thread.
template <bool in_passes>
__global__ void __launch_bounds__(kThreads) sample_frame(FrameSample op, int first_image) {
  const GridPlace<kPixelsAcross> place;
  const int n = first_image + place.image, y = place.row, x = place.item;
  if (y >= op.sample.size[2] || x >= op.sample.size[3]) return;
  float rgb[3] = {0.0f, 0.0f, 0.0f};
  if constexpr (in_passes) {
    two_passes(op, n, y, x, rgb);
  } else if (op.rows.method == Method::kLinear) {
    linear(op, n, y, x, rgb);
  } else {
    weighted(op, n, y, x, rgb);
  }
  store_sample(op, n, y, x, rgb);
}

// Note [Areas of bytes]
// A block makes `pixels` pixels of one row of the sample. Each thread first sums eight bytes of the frame's row down
// all rows of the area, whichever pixels the bytes belong to; then each sums the columns of one pixel. Every byte is
// read once, side by side with those of the next thread. Sums of 257 bytes fit in 16 bits, and they are exact.
constexpr int kSumThreads = 256, kSummedBytes = 8 * kSumThreads, kMostRows = 257;

__global__ void __launch_bounds__(kSumThreads) area_of_bytes(FrameSample op, int pixels, int first_image) {
  __shared__ uint4 sums[kSumThreads];  // eight sums of 16 bits for each thread
  const int n = first_image + static_cast<int>(blockIdx.z), y = static_cast<int>(blockIdx.x);
  const int x = static_cast<int>(blockIdx.y) * pixels, left = op.sample.size[3] - x;
  const int count = pixels < left ? pixels : left, thread = static_cast<int>(threadIdx.x);
  const TapRange rows = tap_range(op.rows, y);
  const int begin = 3 * tap_range(op.columns, x).begin / 8 * 8;
  const int end = 3 * tap_range(op.columns, x + count - 1).end;
  if (begin + 8 * thread < end) {
    const uint8_t* from = block_start<3>(op.frame, n, rows.begin, 0) + begin + 8 * thread;
    uint32_t even[2] = {}, odd[2] = {};
    for (int row = rows.begin; row < rows.end; ++row) {
      const uint2 bytes = __ldg(reinterpret_cast<const uint2*>(from));
      even[0] += bytes.x & 0x00ff00ffu;
      odd[0] += bytes.x >> 8 & 0x00ff00ffu;
      even[1] += bytes.y & 0x00ff00ffu;
      odd[1] += bytes.y >> 8 & 0x00ff00ffu;
      from += op.frame.stride[2];
    }
    sums[thread] = make_uint4(__byte_perm(even[0], odd[0], 0x5410), __byte_perm(even[0], odd[0], 0x7632),
                              __byte_perm(even[1], odd[1], 0x5410), __byte_perm(even[1], odd[1], 0x7632));
  }
  __syncthreads();
  if (thread >= count) return;
  const TapRange columns = tap_range(op.columns, x + thread);
  const uint16_t* column = reinterpret_cast<const uint16_t*>(sums) - begin;
  int total[3] = {};
  for (int at = 3 * columns.begin; at < 3 * columns.end; at += 3) {
    for (int c = 0; c < 3; ++c) total[c] += column[at + c];
  }
  const float scale = 1.0f / (255.0f * static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin)));
  const bool reversed = op.frame.stride[1] < 0;
  float rgb[3];
  for (int c = 0; c < 3; ++c) rgb[c] = static_cast<float>(reversed ? total[2 - c] : total[c]) * scale;
  store_sample(op, n, y, x + thread, rgb);
}

// Returns how many pixels of the sample a block of area_of_bytes can make; 0 if it does not suit the frame.
int pixels_of_areas(const FrameSample& op) {
  const bool aligned = packed_access(op.frame, 3) && op.frame.size[3] % 8 == 0;
  if (op.rows.method != Method::kArea || !aligned || op.rows.axis.step >> 32 > kMostRows - 2) return 0;
  // An area has up to two columns that it shares with its neighbours, and the first eight bytes begin before it.
  const int64_t columns = (kSummedBytes - 8) / 3 - 2, pixels = (columns << 32) / op.columns.axis.step;
  return static_cast<int>(pixels < kSumThreads ? pixels : kSumThreads);
}

void launch_areas(const FrameSample& op, int pixels, cudaStream_t on) {
  const int blocks = (op.sample.size[3] - 1) / pixels + 1;
  in_pieces(op.sample.size[0], [&](int first_image, int images) {
    const dim3 grid(static_cast<unsigned>(op.sample.size[2]), static_cast<unsigned>(blocks),
                    static_cast<unsigned>(images));
    area_of_bytes<<<grid, kSumThreads, 0, on>>>(op, pixels, first_image);
  });
}

template <bool in_passes>
void launch_pixels(const FrameSample& op, cudaStream_t on) {
  in_pieces(op.sample.size[0], [&](int first_image, int images) {
    const dim3 grid = grid_of<kPixelsAcross>(images, op.sample.size[2], op.sample.size[3]);
    sample_frame<in_passes><<<grid, kThreads, 0, on>>>(op, first_image);
  });
}

}  // namespace

void frame_sample(const FrameSample& op, CudaStream cuda_stream) {
  const int pixels = pixels_of_areas(op);
  if (pixels > 0 && (op.sample.size[3] - 1) / pixels < kMostBlocks) {
    launch_areas(op, pixels, native(cuda_stream));
  } else if (in_two_passes(op.rows.method)) {
    launch_pixels<true>(op, native(cuda_stream));
  } else {
    launch_pixels<false>(op, native(cuda_stream));
  }
  check_launch("FrameSample");
}

}  // namespace trtmatte
