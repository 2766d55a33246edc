// The grid of 4x4 patches that BackgroundMattingV2 refines.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace trtmatte {

constexpr int kPatch = 4;  // pixels a side

// The position of a patch in the grids of all images, or -1 if `index` (image, row, column) lies outside.
TRTMATTE_HD int64_t block_of(const int32_t* index, int images, int rows, int columns) {
  const bool inside =
      index[0] >= 0 && index[0] < images && index[1] >= 0 && index[1] < rows && index[2] >= 0 && index[2] < columns;
  return inside ? (static_cast<int64_t>(index[0]) * rows + index[1]) * columns + index[2] : -1;
}

}  // namespace trtmatte
