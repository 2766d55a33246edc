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
  const bool down = columns_first(rows.axis, columns.axis);
  const Filter first = down ? rows : columns, second = down ? columns : rows;
  const int a = down ? y : x, b = down ? x : y;
  const auto value = [&](int i, int j) { return down ? load(j, i) : load(i, j); };
  const TapRange inner = tap_range(first, a), outer = tap_range(second, b);
  constexpr int kFew = 8;  // pixels that an alpha smaller than the frame needs: their weights stay in registers
  float few[kFew] = {}, inner_total = 0.0f;
  for (int i = 0; i < kFew; ++i) {
    if (inner.begin + i < inner.end) few[i] = tap_weight(first, a, inner.begin + i);
    inner_total += few[i];
  }
  for (int j = inner.begin + kFew; j < inner.end; ++j) inner_total += tap_weight(first, a, j);
  float sum = 0.0f, outer_total = 0.0f;
  for (int i = outer.begin; i < outer.end; ++i) {
    float line = 0.0f;
    for (int j = 0; j < kFew; ++j) {
      if (inner.begin + j < inner.end) line += few[j] * value(i, inner.begin + j);
    }
    for (int j = inner.begin + kFew; j < inner.end; ++j) line += tap_weight(first, a, j) * value(i, j);
    const float weight = tap_weight(second, b, i);
    sum += weight * clamp01(line / inner_total);
    outer_total += weight;
  }
  return sum / outer_total;
}

}  // namespace trtmatte
