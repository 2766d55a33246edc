#pragma once

#include "ops/math/axis.h"

namespace trtmatte {

// Interpolates between two neighbours in each of two rows.
TRTMATTE_HD float bilinear(float a, float b, float c, float d, float across, float down) {
  return lerp(lerp(a, b, across), lerp(c, d, across), down);
}

// Applies the network's normalisation. It can follow the sampling, since the weights sum to one.
TRTMATTE_HD float normalise(float x, float mean, float scale) { return (x - mean) * scale; }

}  // namespace trtmatte
