#include "base/cuda_check.h"

#include <string>

#include "base/errors.h"

namespace trtmatte {

void throw_cuda_error(cudaError_t status, const char* what) {
  throw BackendError(std::string(what) + " failed: " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) +
                     ")");
}

}  // namespace trtmatte
