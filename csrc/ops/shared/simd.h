// The few vector operations that a compiler does not find in plain loops, sixteen pixels at a time.
//
// Note [One source, three instruction sets]
// Every <op>_cpu.cpp is compiled once per instruction set, with TRTMATTE_SIMD naming the namespace it lands in, and the
// best one for the machine is chosen at run time (dispatch.h). Plain loops over contiguous floats are left to the
// compiler; only (de)interleaving of bytes, table look-ups and half floats are written out, for AVX2 and AVX-512. What
// those files call must be in this namespace or static: an inline function of the standard library compiled for AVX-512
// could otherwise be the copy that the linker keeps for everybody.
#pragma once

#include <cstdint>

#include "ops/shared/pixel_math.h"

#ifndef TRTMATTE_SIMD
#error "TRTMATTE_SIMD must name the instruction set: baseline, avx2 or avx512"
#endif

#if defined(__AVX2__) && defined(__F16C__) && defined(__FMA__)
#define TRTMATTE_AVX2 1
#include <immintrin.h>
#endif
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define TRTMATTE_AVX512 1
#endif

namespace trtmatte::TRTMATTE_SIMD {

constexpr int kLanes = 16;  // pixels a block
#if TRTMATTE_AVX512
constexpr int kLookup = 16;  // pixels that one table look-up serves
#else
constexpr int kLookup = 8;
#endif

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }
constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr int larger(int a, int b) { return a > b ? a : b; }

#if TRTMATTE_AVX2

struct Bytes16 {
  alignas(16) int8_t v[16];
};

// Which bytes of register j (of three) hold channel c of sixteen packed pixels; -1 gives zero.
constexpr Bytes16 unpack_mask(int j, int c) {
  Bytes16 mask{};
  for (int i = 0; i < 16; ++i) {
    const int at = 3 * i + c - 16 * j;
    mask.v[i] = static_cast<int8_t>(at >= 0 && at < 16 ? at : -1);
  }
  return mask;
}

// Which pixels of channel c go into register j.
constexpr Bytes16 pack_mask(int j, int c) {
  Bytes16 mask{};
  for (int i = 0; i < 16; ++i) {
    const int at = 16 * j + i;
    mask.v[i] = static_cast<int8_t>(at % 3 == c ? at / 3 : -1);
  }
  return mask;
}

template <int j, int c, bool packing>
static inline __m128i pick(__m128i bytes) {
  static constexpr Bytes16 mask = packing ? pack_mask(j, c) : unpack_mask(j, c);
  return _mm_shuffle_epi8(bytes, _mm_load_si128(reinterpret_cast<const __m128i*>(mask.v)));
}

template <int c>
static inline __m128i unpack_channel(__m128i r0, __m128i r1, __m128i r2) {
  return _mm_or_si128(_mm_or_si128(pick<0, c, false>(r0), pick<1, c, false>(r1)), pick<2, c, false>(r2));
}

template <int j>
static inline __m128i pack_register(__m128i c0, __m128i c1, __m128i c2) {
  return _mm_or_si128(_mm_or_si128(pick<j, 0, true>(c0), pick<j, 1, true>(c1)), pick<j, 2, true>(c2));
}

static inline void store_as_floats(__m128i bytes, float* to) {
#if TRTMATTE_AVX512
  const __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
  _mm512_storeu_ps(to, _mm512_mul_ps(x, _mm512_set1_ps(1.0f / 255.0f)));
#else
  const __m256 scale = _mm256_set1_ps(1.0f / 255.0f);
  const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
  const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)));
  _mm256_storeu_ps(to, _mm256_mul_ps(low, scale));
  _mm256_storeu_ps(to + 8, _mm256_mul_ps(high, scale));
#endif
}

static inline __m128i load_as_bytes(const float* from) {
#if TRTMATTE_AVX512
  const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(from), _mm512_set1_ps(255.0f));
  return _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(x));
#else
  const __m256 scale = _mm256_set1_ps(255.0f);
  const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from), scale));
  const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from + 8), scale));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0b11011000);
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
#endif
}

#endif  // TRTMATTE_AVX2

// Packed bytes (three a pixel) to three lines of floats.
static inline void unpack_bytes(const uint8_t* from, int count, float* c0, float* c1, float* c2) {
  int x = 0;
#if TRTMATTE_AVX2
  for (; x + kLanes <= count; x += kLanes) {
    const auto* p = reinterpret_cast<const __m128i*>(from + 3 * x);
    const __m128i r0 = _mm_loadu_si128(p), r1 = _mm_loadu_si128(p + 1), r2 = _mm_loadu_si128(p + 2);
    store_as_floats(unpack_channel<0>(r0, r1, r2), c0 + x);
    store_as_floats(unpack_channel<1>(r0, r1, r2), c1 + x);
    store_as_floats(unpack_channel<2>(r0, r1, r2), c2 + x);
  }
#endif
  for (; x < count; ++x) {
    c0[x] = load_value(from[3 * x]);
    c1[x] = load_value(from[3 * x + 1]);
    c2[x] = load_value(from[3 * x + 2]);
  }
}

// Three lines of floats in 0...1 to packed bytes.
static inline void pack_bytes(const float* c0, const float* c1, const float* c2, int count, uint8_t* to) {
  int x = 0;
#if TRTMATTE_AVX2
  for (; x + kLanes <= count; x += kLanes) {
    const __m128i b0 = load_as_bytes(c0 + x), b1 = load_as_bytes(c1 + x), b2 = load_as_bytes(c2 + x);
    auto* p = reinterpret_cast<__m128i*>(to + 3 * x);
    _mm_storeu_si128(p, pack_register<0>(b0, b1, b2));
    _mm_storeu_si128(p + 1, pack_register<1>(b0, b1, b2));
    _mm_storeu_si128(p + 2, pack_register<2>(b0, b1, b2));
  }
#endif
  for (; x < count; ++x) {
    store_value(c0[x], to + 3 * x);
    store_value(c1[x], to + 3 * x + 1);
    store_value(c2[x], to + 3 * x + 2);
  }
}

// Four lines of floats in 0...1 to packed bytes.
static inline void pack_bytes(const float* c0, const float* c1, const float* c2, const float* c3, int count,
                              uint8_t* to) {
  int x = 0;
#if TRTMATTE_AVX2
  for (; x + kLanes <= count; x += kLanes) {
    const __m128i b0 = load_as_bytes(c0 + x), b1 = load_as_bytes(c1 + x);
    const __m128i b2 = load_as_bytes(c2 + x), b3 = load_as_bytes(c3 + x);
    const __m128i low01 = _mm_unpacklo_epi8(b0, b1), high01 = _mm_unpackhi_epi8(b0, b1);
    const __m128i low23 = _mm_unpacklo_epi8(b2, b3), high23 = _mm_unpackhi_epi8(b2, b3);
    auto* p = reinterpret_cast<__m128i*>(to + 4 * x);
    _mm_storeu_si128(p, _mm_unpacklo_epi16(low01, low23));
    _mm_storeu_si128(p + 1, _mm_unpackhi_epi16(low01, low23));
    _mm_storeu_si128(p + 2, _mm_unpacklo_epi16(high01, high23));
    _mm_storeu_si128(p + 3, _mm_unpackhi_epi16(high01, high23));
  }
#endif
  for (; x < count; ++x) {
    store_value(c0[x], to + 4 * x);
    store_value(c1[x], to + 4 * x + 1);
    store_value(c2[x], to + 4 * x + 2);
    store_value(c3[x], to + 4 * x + 3);
  }
}

template <typename T>
static inline void load_line(const T* from, int64_t stride, int count, float* to) {
  if (stride == 1) {
    for (int x = 0; x < count; ++x) to[x] = load_value(from[x]);
  } else {
    for (int x = 0; x < count; ++x) to[x] = load_value(from[x * stride]);
  }
}

template <typename T>
static inline void store_line(const float* from, int count, T* to, int64_t stride) {
  if (stride == 1) {
    for (int x = 0; x < count; ++x) store_value(from[x], to + x);
  } else {
    for (int x = 0; x < count; ++x) store_value(from[x], to + x * stride);
  }
}

#if TRTMATTE_AVX2
template <>
inline void load_line(const Half* from, int64_t stride, int count, float* to) {
  int x = 0;
  for (; stride == 1 && x + 8 <= count; x += 8) {
    _mm256_storeu_ps(to + x, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + x))));
  }
  for (; x < count; ++x) to[x] = load_value(from[x * stride]);
}

template <>
inline void store_line(const float* from, int count, Half* to, int64_t stride) {
  int x = 0;
  for (; stride == 1 && x + 8 <= count; x += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + x), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + x), halves);
  }
  for (; x < count; ++x) store_value(from[x], to + x * stride);
}
#endif

// to[x] = lerp(row[shuffle[x]], row[shuffle[x] + 1], weight[x]) for kLookup pixels, of any number of rows.
#if TRTMATTE_AVX512
struct Lookup {
  __m512i at;
  __m512 share;

  Lookup(const int* shuffle, const float* weight) : at(_mm512_load_si512(shuffle)), share(_mm512_load_ps(weight)) {}
  void operator()(const float* row, float* to) const {
    const __m512 a = _mm512_permutexvar_ps(at, _mm512_loadu_ps(row));
    const __m512 b = _mm512_permutexvar_ps(at, _mm512_loadu_ps(row + 1));
    _mm512_store_ps(to, _mm512_fmadd_ps(_mm512_sub_ps(b, a), share, a));
  }
};
#elif TRTMATTE_AVX2
struct Lookup {
  __m256i at;
  __m256 share;

  Lookup(const int* shuffle, const float* weight)
      : at(_mm256_load_si256(reinterpret_cast<const __m256i*>(shuffle))), share(_mm256_load_ps(weight)) {}
  void operator()(const float* row, float* to) const {
    const __m256 a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row), at);
    const __m256 b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row + 1), at);
    _mm256_store_ps(to, _mm256_fmadd_ps(_mm256_sub_ps(b, a), share, a));
  }
};
#else
struct Lookup {
  const int* shuffle;
  const float* weight;

  Lookup(const int* at, const float* share) : shuffle(at), weight(share) {}
  void operator()(const float* row, float* to) const {
    for (int i = 0; i < kLookup; ++i) {
      const float* p = row + shuffle[i];
      to[i] = p[0] + (p[1] - p[0]) * weight[i];
    }
  }
};
#endif

}  // namespace trtmatte::TRTMATTE_SIMD
