// PatchCrop: small maps, frames and indices -> the inputs of the patch refiner, sampled while cropping.
#pragma once

#include "base/launch.h"
#include "base/view.h"

namespace trtmatte {

struct PatchCrop {
  View maps;     // [N,C,h,w] float
  View src;      // [N,3,H,W], H and W multiples of 4
  View bgr;      // [N,3,H,W]
  View indices;  // [1,1,K,3] int32: image, row, column; -1 gives zeros
  View half;     // [K,C+6,s,s] float: s is 8 for kernel 3, 2 for kernel 1
  View full;     // [K,6,S,S] float: S is 8 for kernel 3, 4 for kernel 1
};

void patch_crop(const PatchCrop& op, Parallel& parallel);
void patch_crop(const PatchCrop& op, CudaStream cuda_stream);

}  // namespace trtmatte
