// PatchSelect: predicted error -> which 4x4 patches are refined.
#pragma once

#include <cstddef>
#include <string>

#include "base/errors.h"
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

constexpr int kLongestGrid = 1 << 14;  // a grid's patches are counted by an int

inline int grid_of(const PatchSelect& op) { return op.rows * op.columns; }

// The count and the indices are of 32 bits. Call it before anything else: both forms rely on it.
inline void expect_countable(const PatchSelect& op) {
  if (op.rows < 1 || op.columns < 1 || op.rows > kLongestGrid || op.columns > kLongestGrid) {
    throw SettingError("the patch grid is " + std::to_string(op.rows) + "x" + std::to_string(op.columns) +
                       "; expected 1 to 16384 a side");
  }
  const int64_t patches = int64_t{op.err.size[0]} * grid_of(op);
  if (patches <= INT32_MAX) return;
  throw FrameError("err has a batch of " + std::to_string(op.err.size[0]) + ", which is " + std::to_string(patches) +
                   " patches together; expected at most 2147483647: give fewer images at once");
}

void patch_select(const PatchSelect& op, Parallel& parallel);

// Returns the bytes of the workspace that the CUDA form needs.
inline size_t patch_select_workspace(const PatchSelect& op) {
  return SelectWorkspace(nullptr, op.err.size[0], grid_of(op)).bytes;
}
void patch_select(const PatchSelect& op, void* workspace, CudaStream cuda_stream);

}  // namespace trtmatte
