// What an op sees of somebody's array.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace trtmatte {

// kByteFloat*: 0...255 held in floats, which is how TensorRT's plugins see pictures of bytes; the CUDA forms know them.
enum class DType : int { kUint8, kFloat16, kFloat32, kInt32, kByteFloat16, kByteFloat32 };

constexpr int size_of(DType type) {
  return type == DType::kUint8 ? 1 : type == DType::kFloat16 || type == DType::kByteFloat16 ? 2 : 4;
}

// Always N C H W, RGB. HWC, BGR, crops and flips are strides (in elements), so the ops know one shape only.
struct View {
  void* data = nullptr;
  DType dtype = DType::kUint8;
  int size[4] = {0, 0, 0, 0};
  int64_t stride[4] = {0, 0, 0, 0};

  TRTMATTE_MEMBER explicit operator bool() const { return data != nullptr; }
};

}  // namespace trtmatte
