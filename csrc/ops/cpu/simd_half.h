// load_line and store_line of simd.h for half floats, eight at a time. AVX2 and AVX-512 share it; both include F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "ops/math/pixel_math.h"

namespace trtmatte::TRTMATTE_SIMD {

static inline void load_line(const Half* from, int64_t stride, int count, float* to) {
  int x = 0;
  for (; stride == 1 && x + 8 <= count; x += 8) {
    _mm256_storeu_ps(to + x, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + x))));
  }
  for (; x < count; ++x) to[x] = load_value(from[x * stride]);
}

static inline void store_line(const float* from, int count, Half* to, int64_t stride) {
  int x = 0;
  for (; stride == 1 && x + 8 <= count; x += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + x), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + x), halves);
  }
  for (; x < count; ++x) store_value(from[x], to + x * stride);
}

}  // namespace trtmatte::TRTMATTE_SIMD
