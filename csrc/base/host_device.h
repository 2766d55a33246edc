// TRTMATTE_HD marks functions that the CPU and the CUDA form of an op share.
#pragma once

#ifdef __CUDACC__
#define TRTMATTE_MEMBER __host__ __device__
#else
#define TRTMATTE_MEMBER
#endif

#ifdef __CUDACC__
#define TRTMATTE_HD __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define TRTMATTE_HD static __forceinline
#else
// static, since each translation unit is compiled for its own instruction set and must keep its own copy
#define TRTMATTE_HD [[maybe_unused]] static inline __attribute__((always_inline))
#endif
