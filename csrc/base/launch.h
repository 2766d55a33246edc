// Where an op runs: on the threads of a Parallel, or on a CUDA stream.
#pragma once

#include "base/parallel.h"

namespace trtmatte {

// A cudaStream_t without CUDA's headers.
struct CudaStream {
  void* handle;
};

}  // namespace trtmatte
