#include "ops/cuda/matte.cuh"
#include "ops/patch_scatter/patch_scatter.h"
#include "ops/patch_scatter/patch_scatter_math.h"

namespace trtmatte {

namespace {

// Keeps the largest patch number, so that the last of equal indices wins in any order of the threads.
__global__ void invert_index(View indices, int32_t* patch_of, int images, int rows, int columns) {
  const int64_t k = thread_number();
  if (k >= indices.size[2]) return;
  int32_t index[3];
  for (int i = 0; i < 3; ++i) {
    index[i] = static_cast<const int32_t*>(indices.data)[k * indices.stride[2] + i * indices.stride[3]];
  }
  const int64_t block = block_of(index, images, rows, columns);
  if (block >= 0) atomicMax(patch_of + block, static_cast<int32_t>(k));
}

struct Form {
  View coarse;
  View patches;
  View frame;
  const int32_t* patch_of;
  Axis rows;
  Axis columns;

  bool near(DType type) const { return near_maps(coarse, frame, type); }

  template <typename Maps>
  struct Walk {
    const View& patches;
    typename Maps::template Columns<4> canvas;
    const int32_t* patch_of;
    int row_in_patch;

    __device__ __forceinline__ Walk(const Form& form, int n, int y, int x)
        : patches(form.patches),
          canvas(form.coarse, n, y, form.rows, form.columns, x),
          patch_of(form.patch_of +
                   (static_cast<int64_t>(n) * (form.rows.out / kPatch) + y / kPatch) * (form.columns.out / kPatch)),
          row_in_patch(y % kPatch) {}

    __device__ __forceinline__ MattePixel<float> pixel(int x, const float (&rgb)[3]) {
      canvas.move_to(x);  // call it for every pixel: it moves by at most one column
      float maps[4];
      const int patch = __ldg(patch_of + x / kPatch);
      const int64_t at = patch < 0 ? 0 : offset(patches, patch, 0, row_in_patch, x % kPatch);
#pragma unroll
      for (int c = 0; c < 4; ++c) maps[c] = patch < 0 ? canvas.value(c) : load(patches, at + c * patches.stride[1]);
      return MattePixel<float>{{foreground(maps[1], rgb[0]), foreground(maps[2], rgb[1]), foreground(maps[3], rgb[2])},
                               clamp01(maps[0])};
    }
  };
};

}  // namespace

void patch_scatter(const PatchScatter& op, void* workspace, CudaStream cuda_stream) {
  const int images = op.frame.size[0], rows = op.frame.size[2] / kPatch, columns = op.frame.size[3] / kPatch;
  auto* patch_of = static_cast<int32_t*>(workspace);
  const size_t bytes = patch_scatter_workspace(op);
  cuda_check(cudaMemsetAsync(patch_of, 0xff, bytes, native(cuda_stream)), "PatchScatter: clearing its workspace");
  invert_index<<<blocks_for(op.indices.size[2]), kThreads, 0, native(cuda_stream)>>>(op.indices, patch_of, images, rows,
                                                                                     columns);
  check_launch("PatchScatter's index");
  const Form form{op.coarse,
                  op.patches,
                  op.frame,
                  patch_of,
                  make_axis(op.coarse.size[2], op.frame.size[2]),
                  make_axis(op.coarse.size[3], op.frame.size[3])};
  write_matte(form, op.frame, op.sinks, cuda_stream, "PatchScatter");
}

}  // namespace trtmatte
