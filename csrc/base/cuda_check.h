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

// After each launch: a kernel that could not start is reported here, by the op's name.
inline void check_launch(const char* op) { cuda_check(cudaGetLastError(), op); }

}  // namespace trtmatte
