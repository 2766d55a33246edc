// Note [Alpha as a function of colour]
// Maps of one channel are the alpha. Maps of four are its slopes for red, green and blue and its offset: the alpha of a
// pixel is then a sum of products with the pixel's colour, which follows edges that the maps are too small to show.
#pragma once

#include "ops/math/pixel_math.h"

namespace trtmatte {

constexpr int kAlphaOfColour = 4;  // channels

// Computes the alpha of one pixel, or of several at once; `colour` is clamped to 0...1.
template <typename Value>
TRTMATTE_HD Value alpha_of_colour(const Value (&colour)[3], const Value (&slope)[3], const Value& offset) {
  return clamp01(slope[0] * colour[0] + slope[1] * colour[1] + slope[2] * colour[2] + offset);
}

}  // namespace trtmatte
