// PatchSelect: predicted error -> which 4x4 patches are refined.
#pragma once

#include <cstddef>

#include "base/launch.h"
#include "base/view.h"
#include "ops/patch_select/patch_select_math.h"

namespace trtmatte {

enum class SelectMode : int { kSampling, kThresholding };

struct PatchSelect {
  View err;      // [N,1,h,w] float
  View indices;  // [1,1,capacity,3] int32, packed: image, row, column in row-major order; the tail is -1
  View count;    // [1,1,1,1] int32
  View ref;      // [N,1,rows,columns] float, packed: 1 where selected; optional
  int rows;
  int columns;
  SelectMode mode = SelectMode::kSampling;
  int k = 1;                         // sampling: patches per image
  float threshold = 0.1f;            // thresholding: select errors strictly above it
  bool prevent_oversampling = true;  // sampling: select only errors above zero
};

void patch_select(const PatchSelect& op, Parallel& parallel);

// Returns the bytes of the workspace that the CUDA form needs.
inline size_t patch_select_workspace(const PatchSelect& op) {
  return SelectWorkspace(nullptr, op.err.size[0], op.rows * op.columns).bytes;
}
void patch_select(const PatchSelect& op, void* workspace, CudaStream cuda_stream);

}  // namespace trtmatte
