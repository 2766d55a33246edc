// Copies between arrays of the host, with the threads of a Parallel: pinned memory is filled as fast as it can be.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"

namespace trtmatte {

// Two arrays of one shape and of items of 1, 2 or 4 bytes. Strides are in bytes.
struct Copy {
  void* to;
  const void* from;
  int64_t item;
  std::vector<int64_t> shape;
  std::vector<int64_t> to_strides;
  std::vector<int64_t> from_strides;
};

void run_copy(const Copy& copy, Parallel& parallel);

}  // namespace trtmatte
