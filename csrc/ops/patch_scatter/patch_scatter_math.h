#pragma once

#include "ops/math/pixel_math.h"

namespace trtmatte {

template <typename Value>
TRTMATTE_HD Value foreground(const Value& residual, const Value& frame) {
  return clamp01(residual + frame);
}

}  // namespace trtmatte
