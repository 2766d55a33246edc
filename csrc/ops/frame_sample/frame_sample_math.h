#pragma once

#include "ops/math/axis.h"

namespace trtmatte {

// Interpolates between two neighbours in each of two rows.
TRTMATTE_HD float bilinear(float a, float b, float c, float d, float across, float down) {
  return lerp(lerp(a, b, across), lerp(c, d, across), down);
}

// Applies the network's normalisation. It can follow the sampling, since the weights sum to one.
TRTMATTE_HD float normalise(float x, float mean, float scale) { return (x - mean) * scale; }

// Clamps to the steps 0...255 and rounds half up, also what float sums make of a half. NaN becomes 0.
TRTMATTE_HD int whole_step(float x) {
  const float inside = x > 0.0f ? (x < 255.0f ? x : 255.0f) : 0.0f;
  return static_cast<int>(inside + (0.5f + 0x1p-16f));
}

}  // namespace trtmatte
