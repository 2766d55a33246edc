// Weighted sums along one axis: the sampling methods that read more than two neighbours.
#pragma once

#include <cmath>

#include "ops/math/axis.h"

namespace trtmatte {

enum class Method : int { kLinear, kArea, kAntialias, kGaussian, kLanczos, kBicubic };

// Note [Two passes]
// Lanczos and bicubic weights are negative in places, so that sums over them overshoot. These methods follow Pillow:
// first along the rows, clamped; then down the columns, clamped again. The result depends on the order, which Pillow 13
// turns round where the height shrinks by more than twice as many pixels as the width.
TRTMATTE_HD bool in_two_passes(Method method) { return method == Method::kLanczos || method == Method::kBicubic; }

TRTMATTE_HD bool columns_first(const Axis& rows, const Axis& columns) {
  const int64_t lower = int64_t{rows.in} - rows.out, narrower = int64_t{columns.in} - columns.out;
  return lower > 0 && lower > 2 * narrower;
}

// A sampling method along one axis.
struct Filter {
  Method method;
  Axis axis;
  float sigma;  // of the Gaussian, in source pixels
};

// Keeps a rounded step from missing the boundary of an area by one pixel.
constexpr int64_t kAreaSlack = int64_t{1} << 16;

// The source pixels [begin, end) that have a weight.
struct TapRange {
  int begin;
  int end;
};

TRTMATTE_HD int64_t floor_pixel(int64_t c) { return c >> 32; }
TRTMATTE_HD int64_t ceil_pixel(int64_t c) { return (c + 0xffffffff) >> 32; }

constexpr float kLanczosLobes = 3.0f;

// Returns half the width of the filter, in source pixels.
TRTMATTE_HD float filter_support(const Filter& filter) {
  if (filter.method == Method::kGaussian) return 3.0f * filter.sigma;
  const float step = static_cast<float>(filter.axis.step) * 0x1p-32f;
  const float scale = step > 1.0f ? step : 1.0f;
  switch (filter.method) {
    case Method::kAntialias:
      return scale;
    case Method::kLanczos:
      return kLanczosLobes * scale;
    case Method::kBicubic:
      return 2.0f * scale;
    default:
      return 1.0f;
  }
}

TRTMATTE_HD int bounded(int64_t value, int low, int high) {
  return static_cast<int>(value < low ? low : value > high ? high : value);
}

TRTMATTE_HD TapRange tap_range(const Filter& filter, int i) {
  const Axis& axis = filter.axis;
  if (filter.method == Method::kLinear) {
    const Tap tap = tap_at(axis, i);
    return TapRange{tap.first, tap.second + 1};
  }
  if (filter.method == Method::kArea) {
    const int begin = bounded(floor_pixel(axis.step * i + kAreaSlack), 0, axis.in - 1);
    return TapRange{begin, bounded(ceil_pixel(axis.step * (i + 1) - kAreaSlack), begin + 1, axis.in)};
  }
  const int64_t centre = axis.step * i + axis.step / 2;
  const auto support = static_cast<int64_t>(filter_support(filter) * 0x1p32f);
  const int begin = bounded(floor_pixel(centre - support), 0, axis.in - 1);
  return TapRange{begin, bounded(ceil_pixel(centre + support), begin + 1, axis.in)};
}

// sinc(x) * sinc(x / 3) within three lobes. The sine of a triple angle, s * (3 - 4 * s * s), saves one of the two
// sines.
template <typename Real>
TRTMATTE_HD Real lanczos(Real x) {
  if (x >= Real(kLanczosLobes)) return Real(0);
  const Real angle = x * Real(1.047197551196597746);  // pi / 3
  const Real s = std::sin(angle), wide = x > Real(0) ? s / angle : Real(1);
  return wide * wide * (Real(1) - s * s * (Real(4) / Real(3)));
}

// Cubic convolution with a = -1/2.
template <typename Real>
TRTMATTE_HD Real bicubic(Real x) {
  if (x < Real(1)) return (Real(1.5) * x - Real(2.5)) * x * x + Real(1);
  return x < Real(2) ? ((Real(-0.5) * x + Real(2.5)) * x - Real(4)) * x + Real(2) : Real(0);
}

// The weight of Note [Two passes] of a pixel at this distance, for outputs that are `step` pixels apart.
template <typename Real>
TRTMATTE_HD Real two_pass_weight(Method method, Real distance, Real step) {
  const Real x = (distance < Real(0) ? -distance : distance) / (step > Real(1) ? step : Real(1));
  return method == Method::kLanczos ? lanczos(x) : bicubic(x);
}

// Returns a weight that is not normalised: divide by the sum over the range.
TRTMATTE_HD float tap_weight(const Filter& filter, int i, int j) {
  const Axis& axis = filter.axis;
  if (filter.method == Method::kLinear) {
    const Tap tap = tap_at(axis, i);
    return j == tap.first ? 1.0f - tap.weight : tap.weight;
  }
  if (filter.method == Method::kArea) return 1.0f;
  const int64_t distance = (static_cast<int64_t>(j) << 32) + (int64_t{1} << 31) - (axis.step * i + axis.step / 2);
  const float d = static_cast<float>(distance) * 0x1p-32f;
  if (in_two_passes(filter.method)) {
    return two_pass_weight(filter.method, d, static_cast<float>(axis.step) * 0x1p-32f);
  }
  if (filter.method == Method::kAntialias) {
    const float weight = 1.0f - fabsf(d) / filter_support(filter);
    return weight > 0.0f ? weight : 0.0f;
  }
  const float z = d / filter.sigma;
  const float weight = expf(-0.5f * z * z) - 0.011108996538f;  // exp(-9/2): falls to 0 at three sigma
  return weight > 0.0f ? weight : 0.0f;
}

}  // namespace trtmatte
