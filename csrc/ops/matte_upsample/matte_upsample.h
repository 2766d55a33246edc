// MatteUpsample: frame, small alpha, colours -> matte. For networks that predict alpha only.
#pragma once

#include "base/launch.h"
#include "base/view.h"
#include "ops/math/outputs.h"
#include "ops/math/taps.h"

namespace trtmatte {

struct MatteUpsample {
  View frame;                       // [N,3,H,W]
  View alpha;                       // [N,1,h,w] float, or [N,4,h,w]: Note [Alpha as a function of colour]
  View colours;                     // [N,6,h,w] float, from ForegroundEstimate; without them fgr is the frame
  Method method = Method::kLinear;  // or kArea, kLanczos, kBicubic
  Sinks sinks;
};

void matte_upsample(const MatteUpsample& op, Parallel& parallel);
void matte_upsample(const MatteUpsample& op, CudaStream cuda_stream);

}  // namespace trtmatte
