// simd.h for AVX-512: sixteen floats in a register.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "ops/cpu/byte_order.h"
#include "ops/cpu/simd_half.h"

namespace trtmatte::TRTMATTE_SIMD {

constexpr int kFloats = 16;

struct Floats {
  __m512 v;

  Floats() = default;
  Floats(__m512 of) : v(of) {}
  Floats(float x) : v(_mm512_set1_ps(x)) {}
  static Floats load(const float* from) { return _mm512_loadu_ps(from); }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
};
static inline Floats operator+(Floats a, Floats b) { return _mm512_add_ps(a.v, b.v); }
static inline Floats operator-(Floats a, Floats b) { return _mm512_sub_ps(a.v, b.v); }
static inline Floats operator*(Floats a, Floats b) { return _mm512_mul_ps(a.v, b.v); }
static inline Floats operator/(Floats a, Floats b) { return _mm512_div_ps(a.v, b.v); }
static inline Floats clamp01(Floats x) { return _mm512_min_ps(_mm512_max_ps(x.v, Floats(0.0f).v), Floats(1.0f).v); }
static inline bool all_zero(Floats x) { return _mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_EQ_OQ) == 0xffff; }

static inline __m512i in_lanes(const int8_t (&mask)[16]) {
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(mask)));
}

static inline __m512i to_integers(Floats x) { return _mm512_cvtps_epi32(_mm512_mul_ps(x.v, Floats(255.0f).v)); }

static inline void unpack(const uint8_t* from, const Order& order, Floats (&rgb)[3]) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
  const __m512i bytes = _mm512_permutexvar_epi32(lanes, _mm512_maskz_loadu_epi32(0x0fff, from));
  for (int c = 0; c < 3; ++c) {
    const __m512i numbers = _mm512_shuffle_epi8(bytes, in_lanes(order.unpack[c]));
    rgb[c] = _mm512_mul_ps(_mm512_cvtepi32_ps(numbers), Floats(1.0f / 255.0f).v);
  }
}

static inline void pack(const Floats (&alpha)[1], const Order&, uint8_t* to) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(to_integers(alpha[0])));
}

static inline void pack(const Floats (&rgb)[3], const Order& order, uint8_t* to) {
  const __m512i rg = _mm512_or_si512(to_integers(rgb[0]), _mm512_slli_epi32(to_integers(rgb[1]), 8));
  const __m512i numbers = _mm512_or_si512(rg, _mm512_slli_epi32(to_integers(rgb[2]), 16));
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_permutexvar_epi32(lanes, _mm512_shuffle_epi8(numbers, in_lanes(order.pack3)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(bytes));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32), _mm512_extracti32x4_epi32(bytes, 2));
}

static inline void pack(const Floats (&rgba)[4], const Order& order, uint8_t* to) {
  const __m512i rg = _mm512_or_si512(to_integers(rgba[0]), _mm512_slli_epi32(to_integers(rgba[1]), 8));
  const __m512i ba =
      _mm512_or_si512(_mm512_slli_epi32(to_integers(rgba[2]), 16), _mm512_slli_epi32(to_integers(rgba[3]), 24));
  _mm512_storeu_si512(to, _mm512_shuffle_epi8(_mm512_or_si512(rg, ba), in_lanes(order.pack4)));
}

struct Lookup {
  __m512i at;
  Floats share;

  Lookup(const int* shuffle, const float* weight) : at(_mm512_load_si512(shuffle)), share(Floats::load(weight)) {}
  Floats operator()(const float* row) const {
    const Floats a = _mm512_permutexvar_ps(at, _mm512_loadu_ps(row));
    const Floats b = _mm512_permutexvar_ps(at, _mm512_loadu_ps(row + 1));
    return _mm512_fmadd_ps((b - a).v, share.v, a.v);
  }
};

}  // namespace trtmatte::TRTMATTE_SIMD
