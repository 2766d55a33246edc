#pragma once

#include "ops/shared/pixel_math.h"

namespace trtmatte {

struct GuidedPixel {
  float r, g, b, alpha;
};

// A and b of one pixel, colours first, alpha last.
TRTMATTE_HD GuidedPixel guided_pixel(float r, float g, float b, const float (&A)[4], const float (&offset)[4]) {
  const float mean = (r + g + b) * (1.0f / 3.0f);
  return GuidedPixel{clamp01(A[0] * r + offset[0] + r), clamp01(A[1] * g + offset[1] + g),
                     clamp01(A[2] * b + offset[2] + b), clamp01(A[3] * mean + offset[3])};
}

}  // namespace trtmatte
