// GuidedUpsample: frame, A, b -> matte. RVM's refiner: y = A * cat(x, mean x) + b, A and b upsampled to the frame.
#pragma once

#include "base/launch.h"
#include "base/view.h"
#include "ops/math/outputs.h"

namespace trtmatte {

struct GuidedUpsample {
  View frame;  // [N,3,H,W]
  View A;      // [N,4,h,w] float
  View b;      // [N,4,h,w] float
  Sinks sinks;
};

void guided_upsample(const GuidedUpsample& op, Parallel& parallel);
void guided_upsample(const GuidedUpsample& op, CudaStream cuda_stream);

}  // namespace trtmatte
