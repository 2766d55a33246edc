// Vectors of floats, and the few operations that a compiler does not find in plain loops.
//
// Note [One source, three instruction sets]
// Every <op>_cpu.cpp is compiled once per instruction set, with TRTMATTE_SIMD naming the namespace it lands in, and the
// best one for the machine is chosen at run time (dispatch.h). Plain loops over contiguous floats are left to the
// compiler; what stays in registers (Floats), packed bytes, table look-ups and half floats are written out, for AVX2
// and AVX-512. What those files call must be in this namespace or static: an inline function of the standard library
// compiled for AVX-512 could otherwise be the copy that the linker keeps for everybody.
#pragma once

#include <cstdint>
#include <cstring>

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

#if TRTMATTE_AVX512
constexpr int kFloats = 16;  // pixels side by side that are computed at once, and that one table look-up serves
#else
constexpr int kFloats = 8;
#endif
constexpr int kLanes = 16;  // what tables are padded to

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }
constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr int larger(int a, int b) { return a > b ? a : b; }

// kFloats floats. A number is as many of itself.
#if TRTMATTE_AVX512
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
static inline Floats clamp01(Floats x) { return _mm512_min_ps(_mm512_max_ps(x.v, Floats(0.0f).v), Floats(1.0f).v); }
#elif TRTMATTE_AVX2
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
static inline Floats clamp01(Floats x) { return _mm256_min_ps(_mm256_max_ps(x.v, Floats(0.0f).v), Floats(1.0f).v); }
#else
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
static inline Floats clamp01(const Floats& x) {
  return each([&](int i) { return trtmatte::clamp01(x.v[i]); });
}
#endif

// How packed bytes lie in a register's lane of sixteen, which holds four pixels.
struct Order {
  alignas(16) int8_t unpack[3][16];  // bytes of a channel, as four whole numbers
  alignas(16) int8_t pack3[16];      // of four whole numbers 0x00BBGGRR the bytes that are stored
  alignas(16) int8_t pack4[16];      // of 0xAABBGGRR
};

constexpr Order make_order(bool bgr) {
  Order order{};
  for (int i = 0; i < 16; ++i) {
    for (int c = 0; c < 3; ++c) order.unpack[c][i] = static_cast<int8_t>(i % 4 ? -1 : i / 4 * 3 + (bgr ? 2 - c : c));
    const int channel3 = i % 3, channel4 = i % 4;
    order.pack3[i] = static_cast<int8_t>(i < 12 ? i / 3 * 4 + (bgr ? 2 - channel3 : channel3) : -1);
    order.pack4[i] = static_cast<int8_t>(i / 4 * 4 + (bgr && channel4 < 3 ? 2 - channel4 : channel4));
  }
  return order;
}

static constexpr Order kRgb = make_order(false);
static constexpr Order kBgr = make_order(true);

#if TRTMATTE_AVX512
static inline __m512i in_lanes(const int8_t (&mask)[16]) {
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(mask)));
}

// 0...255, rounded to nearest.
static inline __m512i to_integers(Floats x) { return _mm512_cvtps_epi32(_mm512_mul_ps(x.v, Floats(255.0f).v)); }

// kFloats pixels of three bytes.
static inline void unpack(const uint8_t* from, const Order& order, Floats (&rgb)[3]) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
  const __m512i bytes = _mm512_permutexvar_epi32(lanes, _mm512_maskz_loadu_epi32(0x0fff, from));
  for (int c = 0; c < 3; ++c) {
    const __m512i numbers = _mm512_shuffle_epi8(bytes, in_lanes(order.unpack[c]));
    rgb[c] = _mm512_mul_ps(_mm512_cvtepi32_ps(numbers), Floats(1.0f / 255.0f).v);
  }
}

// As bytes, the channels of a pixel side by side.
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
#elif TRTMATTE_AVX2
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
#else
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
#endif

// Packed bytes (three a pixel) to three lines of floats.
static inline void unpack_line(const uint8_t* from, const Order& order, int count, float* const (&rgb)[3]) {
  int x = 0;
  for (; x + kFloats <= count; x += kFloats) {
    Floats pixels[3];
    unpack(from + 3 * x, order, pixels);
    for (int c = 0; c < 3; ++c) pixels[c].store(rgb[c] + x);
  }
  for (; x < count; ++x) {
    for (int c = 0; c < 3; ++c) rgb[c][x] = load_value(from[3 * x + order.unpack[c][0]]);
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

// lerp(row[shuffle[i]], row[shuffle[i] + 1], weight[i]) for kFloats pixels i, of any number of rows.
struct Lookup {
#if TRTMATTE_AVX512
  __m512i at;
  Floats share;

  Lookup(const int* shuffle, const float* weight) : at(_mm512_load_si512(shuffle)), share(Floats::load(weight)) {}
  Floats operator()(const float* row) const {
    const Floats a = _mm512_permutexvar_ps(at, _mm512_loadu_ps(row));
    const Floats b = _mm512_permutexvar_ps(at, _mm512_loadu_ps(row + 1));
    return _mm512_fmadd_ps((b - a).v, share.v, a.v);
  }
#elif TRTMATTE_AVX2
  __m256i at;
  Floats share;

  Lookup(const int* shuffle, const float* weight)
      : at(_mm256_load_si256(reinterpret_cast<const __m256i*>(shuffle))), share(Floats::load(weight)) {}
  Floats operator()(const float* row) const {
    const Floats a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row), at);
    const Floats b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row + 1), at);
    return _mm256_fmadd_ps((b - a).v, share.v, a.v);
  }
#else
  const int* shuffle;
  const float* weight;

  Lookup(const int* at, const float* share) : shuffle(at), weight(share) {}
  Floats operator()(const float* row) const {
    return each([&](int i) {
      const float* p = row + shuffle[i];
      return p[0] + (p[1] - p[0]) * weight[i];
    });
  }
#endif
};

}  // namespace trtmatte::TRTMATTE_SIMD
