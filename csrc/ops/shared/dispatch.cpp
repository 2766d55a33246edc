#include "ops/shared/dispatch.h"

#include <atomic>

#include "ops/frame_sample/frame_sample.h"
#include "ops/guided_upsample/guided_upsample.h"
#include "ops/matte_upsample/matte_upsample.h"
#include "ops/patch_crop/patch_crop.h"
#include "ops/patch_scatter/patch_scatter.h"

namespace trtmatte {

SimdLevel best_simd_level() {
#ifdef TRTMATTE_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return SimdLevel::kAvx512;
  }
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

}  // namespace trtmatte

TRTMATTE_DISPATCH(frame_sample, FrameSample)
TRTMATTE_DISPATCH(guided_upsample, GuidedUpsample)
TRTMATTE_DISPATCH(matte_upsample, MatteUpsample)
TRTMATTE_DISPATCH(patch_crop, PatchCrop)
TRTMATTE_DISPATCH(patch_scatter, PatchScatter)
