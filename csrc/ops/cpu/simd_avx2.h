// simd.h for AVX2 with FMA and F16C: eight floats in a register.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "ops/cpu/byte_order.h"
#include "ops/cpu/simd_half.h"

namespace trtmatte::TRTMATTE_SIMD {

constexpr int kFloats = 8;

struct Floats {
  __m256 v;

  Floats() = default;
  Floats(__m256 of) : v(of) {}
  Floats(float x) : v(_mm256_set1_ps(x)) {}
  static Floats load(const float* from) { return _mm256_loadu_ps(from); }
  void store(float* to) const { _mm256_storeu_ps(to, v); }
};
static inline Floats operator+(Floats a, Floats b) { return _mm256_add_ps(a.v, b.v); }
static inline Floats operator-(Floats a, Floats b) { return _mm256_sub_ps(a.v, b.v); }
static inline Floats operator*(Floats a, Floats b) { return _mm256_mul_ps(a.v, b.v); }
static inline Floats operator/(Floats a, Floats b) { return _mm256_div_ps(a.v, b.v); }
static inline Floats clamp01(Floats x) { return _mm256_min_ps(_mm256_max_ps(x.v, Floats(0.0f).v), Floats(1.0f).v); }
static inline bool all_zero(Floats x) {
  return _mm256_movemask_ps(_mm256_cmp_ps(x.v, _mm256_setzero_ps(), _CMP_EQ_OQ)) == 0xff;
}

static inline __m256i in_lanes(const int8_t (&mask)[16]) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(mask)));
}

static inline __m256i to_integers(Floats x) { return _mm256_cvtps_epi32(_mm256_mul_ps(x.v, Floats(255.0f).v)); }

static inline void unpack(const uint8_t* from, const Order& order, Floats (&rgb)[3]) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i high = _mm_srli_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8)), 4);
  const __m256i bytes = _mm256_set_m128i(high, low);
  for (int c = 0; c < 3; ++c) {
    const __m256i numbers = _mm256_shuffle_epi8(bytes, in_lanes(order.unpack[c]));
    rgb[c] = _mm256_mul_ps(_mm256_cvtepi32_ps(numbers), Floats(1.0f / 255.0f).v);
  }
}

static inline void pack(const Floats (&alpha)[1], const Order&, uint8_t* to) {
  const __m256i numbers = to_integers(alpha[0]);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
}

static inline void pack(const Floats (&rgb)[3], const Order& order, uint8_t* to) {
  const __m256i rg = _mm256_or_si256(to_integers(rgb[0]), _mm256_slli_epi32(to_integers(rgb[1]), 8));
  const __m256i numbers = _mm256_or_si256(rg, _mm256_slli_epi32(to_integers(rgb[2]), 16));
  const __m256i bytes = _mm256_shuffle_epi8(numbers, in_lanes(order.pack3));
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_or_si128(low, _mm_slli_si128(high, 12)));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 16), _mm_srli_si128(high, 4));
}

static inline void pack(const Floats (&rgba)[4], const Order& order, uint8_t* to) {
  const __m256i rg = _mm256_or_si256(to_integers(rgba[0]), _mm256_slli_epi32(to_integers(rgba[1]), 8));
  const __m256i ba =
      _mm256_or_si256(_mm256_slli_epi32(to_integers(rgba[2]), 16), _mm256_slli_epi32(to_integers(rgba[3]), 24));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_or_si256(rg, ba), in_lanes(order.pack4));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
}

struct Lookup {
  __m256i at;
  Floats share;

  Lookup(const int* shuffle, const float* weight)
      : at(_mm256_load_si256(reinterpret_cast<const __m256i*>(shuffle))), share(Floats::load(weight)) {}
  Floats operator()(const float* row) const {
    const Floats a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row), at);
    const Floats b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row + 1), at);
    return _mm256_fmadd_ps((b - a).v, share.v, a.v);
  }
};

}  // namespace trtmatte::TRTMATTE_SIMD
