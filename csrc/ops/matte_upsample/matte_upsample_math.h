#pragma once

#include "ops/math/pixel_math.h"
#include "ops/math/taps.h"

namespace trtmatte {

TRTMATTE_HD bool upsamples(Method method) {
  return method == Method::kLinear || method == Method::kArea || in_two_passes(method);
}

// Computes the mean over a rectangle of a small map: one output pixel of the area method.
template <typename Load>
TRTMATTE_HD float area_mean(const TapRange& rows, const TapRange& columns, const Load& load) {
  float sum = 0.0f;
  for (int y = rows.begin; y < rows.end; ++y) {
    for (int x = columns.begin; x < columns.end; ++x) sum += load(y, x);
  }
  return sum / (static_cast<float>(rows.end - rows.begin) * static_cast<float>(columns.end - columns.begin));
}

// Computes one output pixel of the methods of Note [Two passes], without storing the first pass.
template <typename Load>
TRTMATTE_HD float two_passes(const Filter& rows, const Filter& columns, int y, int x, const Load& load) {
  const TapRange down = tap_range(rows, y), across = tap_range(columns, x);
  constexpr int kFew = 8;  // columns that an alpha smaller than the frame needs: their weights stay in registers
  float few[kFew] = {}, across_total = 0.0f;
  for (int i = 0; i < kFew; ++i) {
    if (across.begin + i < across.end) few[i] = tap_weight(columns, x, across.begin + i);
    across_total += few[i];
  }
  for (int j = across.begin + kFew; j < across.end; ++j) across_total += tap_weight(columns, x, j);
  float sum = 0.0f, down_total = 0.0f;
  for (int i = down.begin; i < down.end; ++i) {
    float row = 0.0f;
    for (int j = 0; j < kFew; ++j) {
      if (across.begin + j < across.end) row += few[j] * load(i, across.begin + j);
    }
    for (int j = across.begin + kFew; j < across.end; ++j) row += tap_weight(columns, x, j) * load(i, j);
    const float weight = tap_weight(rows, y, i);
    sum += weight * clamp01(row / across_total);
    down_total += weight;
  }
  return sum / down_total;
}

}  // namespace trtmatte
