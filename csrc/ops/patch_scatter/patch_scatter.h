// PatchScatter: coarse maps upsampled to the frame, with refined 4x4 patches in selected places -> matte.
#pragma once

#include <cstddef>

#include "base/launch.h"
#include "base/view.h"
#include "ops/math/outputs.h"
#include "ops/math/patches.h"

namespace trtmatte {

struct PatchScatter {
  View coarse;   // [N,4,h,w] float: alpha, residual red, green, blue
  View patches;  // [K,4,4,4] float
  View indices;  // [1,1,K,3] int32: image, row, column; -1 writes nothing
  View frame;    // [N,3,H,W], H and W multiples of 4
  Sinks sinks;
};

void patch_scatter(const PatchScatter& op, Parallel& parallel);

// Returns the bytes of the workspace that the CUDA form needs for the inverse index (the patch of each block).
inline size_t patch_scatter_workspace(const PatchScatter& op) {
  return sizeof(int32_t) * static_cast<size_t>(op.frame.size[0]) * static_cast<size_t>(op.frame.size[2] / kPatch) *
         static_cast<size_t>(op.frame.size[3] / kPatch);
}
void patch_scatter(const PatchScatter& op, void* workspace, CudaStream cuda_stream);

}  // namespace trtmatte
