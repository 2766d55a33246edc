// Turns CUDA's status codes into exceptions.
#pragma once

#include <cuda_runtime_api.h>

namespace trtmatte {

// Throws a BackendError. It is not inline, so that the code that nvcc compiles has no exceptions and no strings: its
// host compiler may have another C++ library than the one that compiles the rest.
[[noreturn]] void throw_cuda_error(cudaError_t status, const char* what);

inline void cuda_check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw_cuda_error(status, what);
}

// Call after each launch: throws with the op's name if the kernel could not start.
inline void check_launch(const char* op) { cuda_check(cudaGetLastError(), op); }

}  // namespace trtmatte
