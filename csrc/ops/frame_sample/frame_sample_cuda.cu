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

__global__ void __launch_bounds__(kThreads) sample_frame(FrameSample op) {
  const int64_t item = thread_number();
  const int height = op.sample.size[2], width = op.sample.size[3];
  if (item >= static_cast<int64_t>(op.sample.size[0]) * height * width) return;
  const int x = static_cast<int>(item % width);
  const int y = static_cast<int>(item / width % height);
  const int n = static_cast<int>(item / width / height);
  float rgb[3] = {0.0f, 0.0f, 0.0f};
  if (op.rows.method == Method::kLinear) {
    linear(op, n, y, x, rgb);
  } else {
    weighted(op, n, y, x, rgb);
  }
  for (int c = 0; c < 3; ++c) {
    store(op.sample, offset(op.sample, n, c, y, x), normalise(rgb[c], op.mean[c], op.scale[c]));
  }
}

}  // namespace

void frame_sample(const FrameSample& op, CudaStream cuda_stream) {
  const int64_t pixels = static_cast<int64_t>(op.sample.size[0]) * op.sample.size[2] * op.sample.size[3];
  sample_frame<<<blocks_for(pixels), kThreads, 0, native(cuda_stream)>>>(op);
  check_launch("FrameSample");
}

}  // namespace trtmatte
