#pragma once

#include "ops/math/pixel_math.h"

namespace trtmatte {

// The result for one pixel, or for several pixels at once.
template <typename Value>
struct GuidedPixel {
  Value r, g, b, alpha;
};

// `A` and `offset` (the op's b) have the colours first and alpha last.
template <typename Value>
TRTMATTE_HD GuidedPixel<Value> guided_pixel(const Value& r, const Value& g, const Value& b, const Value (&A)[4],
                                            const Value (&offset)[4]) {
  const Value mean = (r + g + b) * (1.0f / 3.0f);
  return GuidedPixel<Value>{clamp01(A[0] * r + offset[0] + r), clamp01(A[1] * g + offset[1] + g),
                            clamp01(A[2] * b + offset[2] + b), clamp01(A[3] * mean + offset[3])};
}

}  // namespace trtmatte
