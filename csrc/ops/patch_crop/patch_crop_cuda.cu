#include "ops/cuda/pixels.cuh"
#include "ops/math/patches.h"
#include "ops/patch_crop/patch_crop.h"
#include "ops/patch_crop/patch_crop_math.h"

namespace trtmatte {

namespace {

struct Form {
  PatchCrop op;
  Axis rows;
  Axis columns;
};

__device__ __forceinline__ bool inside(int at, int size) { return at >= 0 && at < size; }

// Loads a pixel of cat(src, bgr); returns zero outside of the frame.
__device__ __forceinline__ float frame_at(const PatchCrop& op, int n, int channel, int y, int x) {
  const View& frame = channel < 3 ? op.src : op.bgr;
  if (!inside(y, frame.size[2]) || !inside(x, frame.size[3])) return 0.0f;
  return load(frame, offset(frame, n, channel % 3, y, x));
}

__device__ __forceinline__ float full_value(const PatchCrop& op, const int32_t* index, int c, int row, int column) {
  const Window window = full_window(op.full.size[3]);
  return frame_at(op, index[0], c, window_start(window, index[1]) + row, window_start(window, index[2]) + column);
}

__device__ __forceinline__ float half_value(const Form& form, const int32_t* index, int c, int row, int column) {
  const PatchCrop& op = form.op;
  const Window window = half_window(op.half.size[3]);
  const int y = window_start(window, index[1]) + row, x = window_start(window, index[2]) + column;
  if (!inside(y, form.rows.out) || !inside(x, form.columns.out)) return 0.0f;
  const int maps = op.maps.size[1];
  if (c < maps) return sample(op.maps, index[0], c, tap_at(form.rows, y), tap_at(form.columns, x));
  const int channel = c - maps;
  return quarter(frame_at(op, index[0], channel, 2 * y, 2 * x), frame_at(op, index[0], channel, 2 * y, 2 * x + 1),
                 frame_at(op, index[0], channel, 2 * y + 1, 2 * x),
                 frame_at(op, index[0], channel, 2 * y + 1, 2 * x + 1));
}

// Runs one block for each patch; its threads share the elements of the patch.
__global__ void __launch_bounds__(kThreads) crop_patches(Form form) {
  const PatchCrop& op = form.op;
  const int k = static_cast<int>(blockIdx.x);
  int32_t index[3];
  for (int i = 0; i < 3; ++i) {
    index[i] = static_cast<const int32_t*>(op.indices.data)[k * op.indices.stride[2] + i * op.indices.stride[3]];
  }
  const bool used = block_of(index, op.src.size[0], op.src.size[2] / 4, op.src.size[3] / 4) >= 0;
  const int half = op.half.size[3], full = op.full.size[3];
  for (int i = static_cast<int>(threadIdx.x); i < op.half.size[1] * half * half; i += kThreads) {
    const int c = i / (half * half), y = i / half % half, x = i % half;
    store(op.half, offset(op.half, k, c, y, x), used ? half_value(form, index, c, y, x) : 0.0f);
  }
  for (int i = static_cast<int>(threadIdx.x); i < 6 * full * full; i += kThreads) {
    const int c = i / (full * full), y = i / full % full, x = i % full;
    store(op.full, offset(op.full, k, c, y, x), used ? full_value(op, index, c, y, x) : 0.0f);
  }
}

}  // namespace

void patch_crop(const PatchCrop& op, CudaStream cuda_stream) {
  const Form form{op, make_axis(op.maps.size[2], op.src.size[2] / 2), make_axis(op.maps.size[3], op.src.size[3] / 2)};
  crop_patches<<<static_cast<unsigned>(op.indices.size[2]), kThreads, 0, native(cuda_stream)>>>(form);
  check_launch("PatchCrop");
}

}  // namespace trtmatte
