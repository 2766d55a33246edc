// simd.h in plain C++, for the compiler's default instruction set: eight floats in an array.
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/cpu/byte_order.h"
#include "ops/math/pixel_math.h"

namespace trtmatte::TRTMATTE_SIMD {

constexpr int kFloats = 8;

struct Floats {
  float v[kFloats];

  Floats() = default;
  Floats(float x) {
    for (float& each : v) each = x;
  }
  static Floats load(const float* from) {
    Floats floats;
    memcpy(floats.v, from, sizeof floats.v);
    return floats;
  }
  void store(float* to) const { memcpy(to, v, sizeof v); }
};
template <typename Function>
static inline Floats each(const Function& function) {
  Floats floats;
  for (int i = 0; i < kFloats; ++i) floats.v[i] = function(i);
  return floats;
}
static inline Floats operator+(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
static inline Floats operator-(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
static inline Floats operator*(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
static inline Floats operator/(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
static inline Floats clamp01(const Floats& x) {
  return each([&](int i) { return trtmatte::clamp01(x.v[i]); });
}
static inline bool all_zero(const Floats& x) {
  bool zero = true;
  for (float value : x.v) zero = zero && value == 0.0f;
  return zero;
}

static inline void unpack(const uint8_t* from, const Order& order, Floats (&rgb)[3]) {
  for (int c = 0; c < 3; ++c) {
    const uint8_t* first = from + order.unpack[c][0];
    rgb[c] = each([&](int i) { return load_value(first[3 * i]); });
  }
}

template <int channels>
static inline void pack(const Floats (&values)[channels], const Order& order, uint8_t* to) {
  for (int c = 0; c < channels; ++c) {
    uint8_t* first = to + (c < 3 && channels > 1 ? order.unpack[c][0] : c);
    for (int i = 0; i < kFloats; ++i) store_value(values[c].v[i], first + channels * i);
  }
}

struct Lookup {
  const int* shuffle;
  const float* weight;

  Lookup(const int* at, const float* share) : shuffle(at), weight(share) {}
  Floats operator()(const float* row) const {
    return each([&](int i) {
      const float* p = row + shuffle[i];
      return p[0] + (p[1] - p[0]) * weight[i];
    });
  }
};

}  // namespace trtmatte::TRTMATTE_SIMD
