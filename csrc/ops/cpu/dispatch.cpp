// Defines the CPU form of each SIMD op of the list: it calls the compilation for the chosen instruction set (Note [One
// source, three instruction sets]). CMake defines TRTMATTE_BUILT_AVX2 and TRTMATTE_BUILT_AVX512 if it builds for these.
#include <atomic>

#include "base/parallel.h"
#include "ops/cpu/simd_level.h"
#include "ops/list.h"

namespace trtmatte {

SimdLevel best_simd_level() {
#ifdef TRTMATTE_BUILT_AVX2
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#ifdef TRTMATTE_BUILT_AVX512
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return SimdLevel::kAvx512;
  }
#endif
  if (avx2) return SimdLevel::kAvx2;
#endif
  return SimdLevel::kBaseline;
}

namespace {
std::atomic<SimdLevel>& chosen_level() {
  static std::atomic<SimdLevel> level{best_simd_level()};
  return level;
}
}  // namespace

SimdLevel simd_level() { return chosen_level().load(std::memory_order_relaxed); }
void set_simd_level(SimdLevel level) { chosen_level().store(level, std::memory_order_relaxed); }

#define TRTMATTE_DECLARE(level, name, Op) \
  namespace level {                       \
  void name(const Op&, Parallel&);        \
  }
#define TRTMATTE_CASE(enumerator, level, name) \
  case SimdLevel::enumerator:                  \
    return level::name(op, parallel);

#ifdef TRTMATTE_BUILT_AVX2
#define TRTMATTE_DECLARE_AVX2(name, Op) TRTMATTE_DECLARE(avx2, name, Op)
#define TRTMATTE_CASE_AVX2(name) TRTMATTE_CASE(kAvx2, avx2, name)
#else
#define TRTMATTE_DECLARE_AVX2(name, Op)
#define TRTMATTE_CASE_AVX2(name)
#endif
#ifdef TRTMATTE_BUILT_AVX512
#define TRTMATTE_DECLARE_AVX512(name, Op) TRTMATTE_DECLARE(avx512, name, Op)
#define TRTMATTE_CASE_AVX512(name) TRTMATTE_CASE(kAvx512, avx512, name)
#else
#define TRTMATTE_DECLARE_AVX512(name, Op)
#define TRTMATTE_CASE_AVX512(name)
#endif

#define TRTMATTE_DISPATCH_SIMD(name, Op)        \
  struct Op;                                    \
  TRTMATTE_DECLARE(baseline, name, Op)          \
  TRTMATTE_DECLARE_AVX2(name, Op)               \
  TRTMATTE_DECLARE_AVX512(name, Op)             \
  void name(const Op& op, Parallel& parallel);  \
  void name(const Op& op, Parallel& parallel) { \
    switch (simd_level()) {                     \
      TRTMATTE_CASE_AVX512(name)                \
      TRTMATTE_CASE_AVX2(name)                  \
      default:                                  \
        return baseline::name(op, parallel);    \
    }                                           \
  }
#define TRTMATTE_DISPATCH_EXACT(name, Op)  // <name>_cpu.cpp defines the function itself
#define TRTMATTE_DISPATCH(name, Op, compilation) TRTMATTE_DISPATCH_##compilation(name, Op)

TRTMATTE_OPS(TRTMATTE_DISPATCH)

}  // namespace trtmatte
