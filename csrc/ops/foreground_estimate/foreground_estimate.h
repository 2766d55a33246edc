// ForegroundEstimate: frame, alpha -> smooth colours of the foreground and of the old background, on a small grid.
#pragma once

#include <cstddef>

#include "base/launch.h"
#include "base/view.h"
#include "ops/foreground_estimate/foreground_estimate_math.h"

namespace trtmatte {

struct ForegroundEstimate {
  View frame;    // [N,3,H,W]
  View alpha;    // [N,1,h,w] float, or [N,4,h,w]: Note [Alpha as a function of colour]
  View colours;  // [N,6,kGrid,kGrid] float: red, green, blue of the foreground, then of the background
};

void foreground_estimate(const ForegroundEstimate& op, Parallel& parallel);

// The bytes of the workspace that the CUDA form needs. Images follow each other in it.
constexpr size_t kForegroundWorkspace = sizeof(float) * ColourPyramid::kFloats;
void foreground_estimate(const ForegroundEstimate& op, void* workspace, CudaStream cuda_stream);

}  // namespace trtmatte
