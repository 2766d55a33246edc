// Views: how ops see the caller's arrays.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace trtmatte {

// kByteFloat* hold 0...255 as floats. TensorRT's plugins pass pictures of bytes this way; only CUDA forms read them.
enum class DType : int { kUint8, kFloat16, kFloat32, kInt32, kByteFloat16, kByteFloat32 };

// Limits that are checked once for each array, so that ops can count in 64 bits without overflow. Coordinates limit the
// sides of pictures and the number of maps. Only the type limits batches and lists of patches.
constexpr int64_t kLongestSide = int64_t{1} << 16;
constexpr int64_t kMostElements = int64_t{1} << 46;

constexpr int size_of(DType type) {
  return type == DType::kUint8 ? 1 : type == DType::kFloat16 || type == DType::kByteFloat16 ? 2 : 4;
}

// A strided array, always N C H W and RGB. Strides (in elements) express HWC, BGR, crops and flips, so that an op
// handles one shape only. A view without data stands for an array that the caller did not pass.
struct View {
  void* data = nullptr;
  DType dtype = DType::kUint8;
  int size[4] = {0, 0, 0, 0};
  int64_t stride[4] = {0, 0, 0, 0};

  TRTMATTE_MEMBER explicit operator bool() const { return data != nullptr; }
};

}  // namespace trtmatte
