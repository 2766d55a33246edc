// MatteUpsample: frame, small alpha -> matte. For networks that predict alpha only.
#pragma once

#include "base/launch.h"
#include "base/view.h"
#include "ops/math/outputs.h"
#include "ops/math/taps.h"

namespace trtmatte {

struct MatteUpsample {
  View frame;                       // [N,3,H,W]
  View alpha;                       // [N,1,h,w] float
  Method method = Method::kLinear;  // or kArea, kLanczos, kBicubic
  Sinks sinks;
};

void matte_upsample(const MatteUpsample& op, Parallel& parallel);
void matte_upsample(const MatteUpsample& op, CudaStream cuda_stream);

}  // namespace trtmatte
