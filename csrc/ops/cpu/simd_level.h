#pragma once

namespace trtmatte {

enum class SimdLevel : int { kBaseline, kAvx2, kAvx512 };

// The best instruction set of this machine, or a lower one that set_simd_level chose.
SimdLevel simd_level();
SimdLevel best_simd_level();
void set_simd_level(SimdLevel level);

}  // namespace trtmatte
