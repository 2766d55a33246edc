// The two places where an op can run: the threads of a Parallel and a CUDA stream.
#pragma once

#include "base/parallel.h"

namespace trtmatte {

// Holds a cudaStream_t without including CUDA's headers.
struct CudaStream {
  void* handle;
};

}  // namespace trtmatte
