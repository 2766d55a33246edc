// Note [Clean foreground]
// A pixel is x = alpha F + (1 - alpha) B, and smooth estimates of F and B are known. The foreground is the F of the
// pair that is nearest to the estimates and makes x exactly. So it is x where alpha is 1 and the estimate where alpha
// is 0. `share` is 1 / (1 - 2 alpha (1 - alpha)), which is 1 / (alpha^2 + (1 - alpha)^2).
#pragma once

#include "base/view.h"
#include "ops/math/pixel_math.h"

namespace trtmatte {

template <typename Value>
TRTMATTE_HD Value clean_foreground(const Value& x, const Value& alpha, const Value& rest, const Value& share,
                                   const Value& foreground, const Value& background) {
  return clamp01((alpha * x + rest * (rest * foreground - alpha * background)) * share);
}

// Returns true for colours, false for none: no array, or one cell.
inline bool has_colours(const View& colours) { return colours && (colours.size[2] > 1 || colours.size[3] > 1); }

}  // namespace trtmatte
