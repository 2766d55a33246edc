// Coordinates: the source pixels that an output pixel reads, along one axis.
//
// Note [Fixed-point coordinates]
// A float32 coordinate near 3840 is only good to 1e-4 of a pixel, and the error differs between compilers, which
// contract multiply-adds differently. Coordinates are therefore integers in 32.32 fixed point: exact to 1e-6 of a pixel
// at 8K, and the same on every device.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace trtmatte {

struct Axis {
  int in;
  int out;
  int64_t step;    // source pixels per output pixel, 32.32
  int64_t offset;  // coordinate of output pixel 0: step / 2 - 1 / 2
};

struct Tap {
  int first;     // the left or upper neighbour
  int second;    // the right or lower neighbour; equal to `first` if its weight is 0
  float weight;  // of the second neighbour; the first has 1 - weight
};

// Makes an axis with step = numerator / denominator, rounded to the nearest 2^-32.
constexpr Axis make_axis(int in, int out, int64_t numerator, int64_t denominator) {
  const int64_t whole = numerator / denominator;
  const int64_t rest = numerator % denominator;  // below 2^31, so that the shift cannot overflow
  const int64_t step = (whole << 32) + ((rest << 32) + denominator / 2) / denominator;
  return Axis{in, out, step, step / 2 - (int64_t{1} << 31)};
}

constexpr Axis make_axis(int in, int out) { return make_axis(in, out, in, out); }

TRTMATTE_HD Tap tap_at(const Axis& axis, int i) {
  const int last = axis.in - 1;
  int64_t c = axis.offset + axis.step * i;
  if (c < 0) c = 0;
  const int first = static_cast<int>(c >> 32);
  const auto fraction = static_cast<uint32_t>(c);
  if (first >= last) return Tap{last, last, 0.0f};
  return Tap{first, fraction ? first + 1 : first, static_cast<float>(fraction) * 0x1p-32f};
}

template <typename Value>
TRTMATTE_HD Value lerp(const Value& a, const Value& b, const Value& t) {
  return a + (b - a) * t;
}

}  // namespace trtmatte
