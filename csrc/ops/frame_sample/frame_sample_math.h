#pragma once

#include "ops/math/axis.h"

namespace trtmatte {

// Two neighbours of two rows to one value.
TRTMATTE_HD float bilinear(float a, float b, float c, float d, float across, float down) {
  return lerp(lerp(a, b, across), lerp(c, d, across), down);
}

// The network's normalisation; sampling weights sum to one, so it may come last.
TRTMATTE_HD float normalise(float x, float mean, float scale) { return (x - mean) * scale; }

}  // namespace trtmatte
