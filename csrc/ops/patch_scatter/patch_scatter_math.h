#pragma once

#include "ops/shared/pixel_math.h"

namespace trtmatte {

// A patch's place in the inverse index, or -1 if it has none.
TRTMATTE_HD int64_t block_of(const int32_t* index, int images, int rows, int columns) {
  const bool inside =
      index[0] >= 0 && index[0] < images && index[1] >= 0 && index[1] < rows && index[2] >= 0 && index[2] < columns;
  return inside ? (static_cast<int64_t>(index[0]) * rows + index[1]) * columns + index[2] : -1;
}

template <typename Value>
TRTMATTE_HD Value foreground(const Value& residual, const Value& frame) {
  return clamp01(residual + frame);
}

}  // namespace trtmatte
