// Vectors of floats, and the operations on them that compilers do not find in plain loops.
//
// Note [One source, three instruction sets]
// CMake compiles every <op>_cpu.cpp once for each instruction set, into the namespace that TRTMATTE_SIMD names.
// dispatch.cpp chooses the best one for the machine at run time. The compiler vectorises plain loops over contiguous
// floats. simd_<set>.h has intrinsics for the rest: values that stay in registers (Floats), packed bytes, table
// look-ups and half floats. Code that <op>_cpu.cpp calls must be in this namespace or static: otherwise the linker
// could keep the AVX-512 copy of an inline function of the standard library for the whole program.
//
// Each simd_<set>.h defines:
//   kFloats                        the number of pixels in one vector and in one table look-up
//   Floats                         kFloats floats with +, -, *, /, clamp01; a number converts to kFloats copies
//   all_zero(x)                    true if each of the floats is 0
//   unpack(from, order, rgb)       converts kFloats pixels of three bytes to floats in 0...1
//   pack(channels, order, to)      converts kFloats pixels of 1, 3 or 4 channels to bytes, rounded to nearest
//   Lookup(shuffle, weight)(row)   returns lerp(row[shuffle[i]], row[shuffle[i] + 1], weight[i]) for kFloats pixels i
#pragma once

#include <cstdint>

#include "ops/math/pixel_math.h"

#ifndef TRTMATTE_SIMD
#error "TRTMATTE_SIMD must name the instruction set: baseline, avx2 or avx512"
#endif

#if defined(__AVX2__) && defined(__F16C__) && defined(__FMA__)
#define TRTMATTE_AVX2 1
#endif
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define TRTMATTE_AVX512 1
#endif

#if TRTMATTE_AVX512
#include "ops/cpu/simd_avx512.h"
#elif TRTMATTE_AVX2
#include "ops/cpu/simd_avx2.h"
#else
#include "ops/cpu/simd_baseline.h"
#endif

namespace trtmatte::TRTMATTE_SIMD {

constexpr int kLanes = 16;  // tables are padded to a multiple of this

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }
constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr int larger(int a, int b) { return a > b ? a : b; }

// Converts packed bytes, three a pixel, to three lines of floats.
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

}  // namespace trtmatte::TRTMATTE_SIMD
