// Turns CUDA's status codes into exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "base/errors.h"

namespace trtmatte {

inline void cuda_check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw BackendError(std::string(what) + " failed: " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) +
                     ")");
}

// Call after each launch: throws with the op's name if the kernel could not start.
inline void check_launch(const char* op) { cuda_check(cudaGetLastError(), op); }

}  // namespace trtmatte
