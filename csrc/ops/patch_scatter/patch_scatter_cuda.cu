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

// `maps` has alpha first, then the residuals of the colours.
__device__ __forceinline__ MattePixel<float> scattered(const float (&maps)[4], const float (&rgb)[3]) {
  return MattePixel<float>{{foreground(maps[1], rgb[0]), foreground(maps[2], rgb[1]), foreground(maps[3], rgb[2])},
                           clamp01(maps[0])};
}

struct Form {
  View coarse;
  View patches;
  View frame;
  const int32_t* patch_of;
  Axis rows;
  Axis columns;

  bool near(DType type) const { return near_maps(coarse, frame, type); }

  // Blocks read a row of a patch in one access, and it must have the type of the coarse maps.
  bool suits_blocks() const {
    const uintptr_t all = reinterpret_cast<uintptr_t>(patches.data) / static_cast<unsigned>(size_of(patches.dtype)) |
                          static_cast<uintptr_t>(patches.stride[0] | patches.stride[1] | patches.stride[2]);
    return patches.dtype == coarse.dtype && patches.stride[3] == 1 && all % kPatch == 0;
  }

  // Returns the numbers of the patches along a row of the frame.
  __device__ __forceinline__ const int32_t* patches_of(int n, int y) const {
    const int64_t row = static_cast<int64_t>(n) * (rows.out / kPatch) + y / kPatch;
    return patch_of + row * (columns.out / kPatch);
  }

  // Pixel by pixel.
  template <typename Maps, bool in_blocks>
  struct Walk {
    const View& patches;
    typename Maps::Place place;
    typename Maps::template Columns<4> canvas;
    int patch;
    int row;
    int column;

    __device__ __forceinline__ Walk(const Form& form, int n, int y, int x)
        : patches(form.patches),
          place(form.columns, x),
          canvas(form.coarse, n, tap_at(form.rows, y), place),
          patch(__ldg(form.patches_of(n, y) + x / kPatch)),
          row(y % kPatch),
          column(x % kPatch) {}

    __device__ __forceinline__ MattePixel<float> pixel(int, const float (&rgb)[3]) const {
      float maps[4];
      if (patch < 0) {
        for (int c = 0; c < 4; ++c) maps[c] = canvas.value(c, place);
      } else {
        for (int c = 0; c < 4; ++c) maps[c] = load(patches, offset(patches, patch, c, row, column));
      }
      return scattered(maps, rgb);
    }
  };

  // Patch by patch: four pixels of the canvas, or a row of the patch in their place.
  template <typename T>
  struct Walk<NearMaps<T>, true> {
    struct alignas(kPatch * sizeof(T)) PatchRow {
      T values[kPatch];
    };

    const Form& form;
    typename NearMaps<T>::Place place;
    typename NearMaps<T>::template Columns<4> canvas;
    const int32_t* patch_of;
    int row;
    int left;  // patches from here to the end of the row
    float maps[4][kPatch];

    __device__ __forceinline__ Walk(const Form& of, int n, int y, int x)
        : form(of),
          place(of.columns, x),
          canvas(of.coarse, n, tap_at(of.rows, y), place),
          patch_of(of.patches_of(n, y) + x / kPatch),
          row(y % kPatch),
          left((of.columns.out - x) / kPatch) {}

    __device__ __forceinline__ void fill(int i) {
      for (int j = 0; j < kPatch; ++j) {
        if (i + j > 0 && place.advance()) canvas.follow(place);
        for (int c = 0; c < 4; ++c) maps[c][j] = canvas.value(c, place);
      }
      const int patch = i / kPatch < left ? __ldg(patch_of + i / kPatch) : -1;
      if (patch < 0) return;
      const View& patches = form.patches;
      const T* from = static_cast<const T*>(patches.data) + offset(patches, patch, 0, row, 0);
      for (int c = 0; c < 4; ++c) {
        const PatchRow pixels = *reinterpret_cast<const PatchRow*>(from + c * patches.stride[1]);
        for (int j = 0; j < kPatch; ++j) maps[c][j] = load_value(pixels.values[j]);
      }
    }

    __device__ __forceinline__ MattePixel<float> pixel(int i, const float (&rgb)[3]) {
      if (i % kPatch == 0) fill(i);
      const float here[4] = {maps[0][i % kPatch], maps[1][i % kPatch], maps[2][i % kPatch], maps[3][i % kPatch]};
      return scattered(here, rgb);
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
  write_matte(form, op.frame, op.sinks, cuda_stream, "PatchScatter", form.suits_blocks());
}

}  // namespace trtmatte
