// The instruction set that the CPU forms run with.
#pragma once

namespace trtmatte {

enum class SimdLevel : int { kBaseline, kAvx2, kAvx512 };

// Returns the best instruction set of this build and machine, or the one that set_simd_level chose.
SimdLevel simd_level();
SimdLevel best_simd_level();
void set_simd_level(SimdLevel level);

}  // namespace trtmatte
