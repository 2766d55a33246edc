// Defines the CPU form of an op as a choice between its three compilations (see Note [One source, three instruction
// sets]).
#pragma once

#include "ops/shared/launch.h"
#include "ops/shared/simd_level.h"

#ifdef TRTMATTE_X86
#define TRTMATTE_DISPATCH(function, Op)             \
  namespace trtmatte {                              \
  namespace baseline {                              \
  void function(const Op&, Parallel&);              \
  }                                                 \
  namespace avx2 {                                  \
  void function(const Op&, Parallel&);              \
  }                                                 \
  namespace avx512 {                                \
  void function(const Op&, Parallel&);              \
  }                                                 \
  void function(const Op& op, Parallel& parallel) { \
    switch (simd_level()) {                         \
      case SimdLevel::kAvx512:                      \
        return avx512::function(op, parallel);      \
      case SimdLevel::kAvx2:                        \
        return avx2::function(op, parallel);        \
      default:                                      \
        return baseline::function(op, parallel);    \
    }                                               \
  }                                                 \
  }
#else
#define TRTMATTE_DISPATCH(function, Op)                                                 \
  namespace trtmatte {                                                                  \
  namespace baseline {                                                                  \
  void function(const Op&, Parallel&);                                                  \
  }                                                                                     \
  void function(const Op& op, Parallel& parallel) { baseline::function(op, parallel); } \
  }
#endif
