// Values of pixels: conversions between stored types and floats in 0...1.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

#include "base/host_device.h"

namespace trtmatte {

// A 16-bit float in memory. Arithmetic always uses float32.
struct Half {
  uint16_t bits;
};

// Clamps to 0...1. NaN becomes 0, since comparisons with it are false.
TRTMATTE_HD float clamp01(float x) {
#ifdef __CUDA_ARCH__
  return __saturatef(x);  // part of the instruction that computes x
#else
  return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
#endif
}

TRTMATTE_HD float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

TRTMATTE_HD uint32_t to_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

TRTMATTE_HD float half_to_float(Half h) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(h.bits));
#else
  // Shifted into float32's fields, the exponent is 112 too small. Multiplying by 2^112 corrects it, for subnormals too.
  const uint32_t magnitude = (h.bits & 0x7fffu) << 13;
  const uint32_t sign = static_cast<uint32_t>(h.bits & 0x8000u) << 16;
  const uint32_t scaled = to_bits(from_bits(magnitude) * 0x1p112f);
  return from_bits(sign | ((h.bits & 0x7c00u) == 0x7c00u ? magnitude | 0x7f800000u : scaled));
#endif
}

// Rounds to nearest, ties to even.
TRTMATTE_HD Half float_to_half(float x) {
#ifdef __CUDA_ARCH__
  return Half{__half_as_ushort(__float2half_rn(x))};
#else
  const uint32_t bits = to_bits(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u;  // NaN
  } else if (magnitude >= 0x477ff000u) {
    result = 0x7c00u;  // rounds to infinity
  } else if (magnitude < 0x38800000u) {
    // Subnormal: adding 0.5 makes the float unit round at the right bit.
    result = to_bits(from_bits(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return Half{static_cast<uint16_t>(sign | result)};
#endif
}

TRTMATTE_HD float byte_value(float byte) { return byte * (1.0f / 255.0f); }
// rintf rounds the product before anything is added to it. Otherwise compilers would fuse the multiplication with an
// addition on some paths only, and a value between two bytes could become either of them.
TRTMATTE_HD float nearest_byte(float x) { return rintf(x * 255.0f); }

TRTMATTE_HD float load_value(uint8_t v) { return byte_value(static_cast<float>(v)); }
TRTMATTE_HD float load_value(Half v) { return half_to_float(v); }
TRTMATTE_HD float load_value(float v) { return v; }

// Stores x, which is in 0...1.
TRTMATTE_HD void store_value(float x, uint8_t* to) { *to = static_cast<uint8_t>(static_cast<int>(nearest_byte(x))); }
TRTMATTE_HD void store_value(float x, Half* to) { *to = float_to_half(x); }
TRTMATTE_HD void store_value(float x, float* to) { *to = x; }

// Composites straight alpha over a background.
template <typename Value>
TRTMATTE_HD Value over(const Value& fgr, const Value& pha, const Value& background) {
  return fgr * pha + background * (1.0f - pha);
}

// The same, clamped to 0...1.
template <typename Value>
TRTMATTE_HD Value blend(const Value& fgr, const Value& pha, const Value& background) {
  return clamp01(over(fgr, pha, background));
}

}  // namespace trtmatte
