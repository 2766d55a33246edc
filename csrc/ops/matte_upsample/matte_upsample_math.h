#pragma once

#include "ops/math/taps.h"

namespace trtmatte {

// Computes the mean over a rectangle of a small map: one output pixel of the area method.
template <typename Load>
TRTMATTE_HD float area_mean(const TapRange& rows, const TapRange& columns, const Load& load) {
  float sum = 0.0f;
  for (int y = rows.begin; y < rows.end; ++y) {
    for (int x = columns.begin; x < columns.end; ++x) sum += load(y, x);
  }
  return sum / (static_cast<float>(rows.end - rows.begin) * static_cast<float>(columns.end - columns.begin));
}

}  // namespace trtmatte
