// FrameSample: frame -> the small, normalised input of a network.
#pragma once

#include "base/launch.h"
#include "base/view.h"
#include "ops/math/taps.h"

namespace trtmatte {

struct FrameSample {
  View frame;   // [N,3,H,W]
  View sample;  // [N,3,h,w] float
  Filter rows;
  Filter columns;
  float mean[3] = {0.0f, 0.0f, 0.0f};
  float scale[3] = {1.0f, 1.0f, 1.0f};  // 1 / std
};

void frame_sample(const FrameSample& op, Parallel& parallel);
void frame_sample(const FrameSample& op, CudaStream cuda_stream);

}  // namespace trtmatte
