#include "ops/patch_scatter/patch_scatter.h"
#include "ops/patch_scatter/patch_scatter_math.h"
#include "ops/shared/matte.cuh"

namespace trtmatte {

namespace {

// The largest number wins, so that the last of equal indices does, whatever order the threads come in.
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
  const int32_t* patch_of;
  Axis rows;
  Axis columns;

  struct Walk {
    const Form& form;
    ColumnWalk<4> canvas;
    const int32_t* patch_of;
    int row_in_patch;

    __device__ __forceinline__ Walk(const Form& of, int n, int y)
        : form(of),
          canvas(of.coarse, n, 0, y, of.rows, of.columns),
          patch_of(of.patch_of +
                   (static_cast<int64_t>(n) * (of.rows.out / kPatch) + y / kPatch) * (of.columns.out / kPatch)),
          row_in_patch(y % kPatch) {}

    __device__ __forceinline__ MattePixel pixel(int x, const float (&rgb)[3]) {
      float maps[4];
      const int patch = __ldg(patch_of + x / kPatch);
      if (patch < 0) {
        const float weight = canvas.move_to(x);
        for (int c = 0; c < 4; ++c) maps[c] = canvas.value(c, weight);
      } else {
        for (int c = 0; c < 4; ++c) {
          maps[c] = load(form.patches, offset(form.patches, patch, c, row_in_patch, x % kPatch));
        }
      }
      return MattePixel{{foreground(maps[1], rgb[0]), foreground(maps[2], rgb[1]), foreground(maps[3], rgb[2])},
                        clamp01(maps[0])};
    }
  };
};

}  // namespace

void patch_scatter(const PatchScatter& op, void* workspace, CudaStream stream) {
  const int images = op.frame.size[0], rows = op.frame.size[2] / kPatch, columns = op.frame.size[3] / kPatch;
  auto* patch_of = static_cast<int32_t*>(workspace);
  const size_t bytes = patch_scatter_workspace(op);
  cuda_check(cudaMemsetAsync(patch_of, 0xff, bytes, native(stream)), "PatchScatter: clearing its workspace");
  invert_index<<<blocks_for(op.indices.size[2]), kThreads, 0, native(stream)>>>(op.indices, patch_of, images, rows,
                                                                                columns);
  check_launch("PatchScatter's index");
  const Form form{op.coarse, op.patches, patch_of, make_axis(op.coarse.size[2], op.frame.size[2]),
                  make_axis(op.coarse.size[3], op.frame.size[3])};
  write_matte(form, op.frame, op.sinks, stream, "PatchScatter");
}

}  // namespace trtmatte
