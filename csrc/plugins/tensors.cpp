#include "plugins/tensors.h"

#include "ops/math/alpha.h"

namespace trtmatte::plugins {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

namespace {

[[noreturn]] void refuse(const char* name, const Dims& dims, const char* expected) {
  throw FrameError(std::string(name) + " is " + shape_text(dims) + "; expected " + expected);
}

DType dtype_of(const char* name, DataType type) {
  switch (type) {
    case DataType::kFLOAT:
      return DType::kFloat32;
    case DataType::kHALF:
      return DType::kFloat16;
    case DataType::kINT32:
      return DType::kInt32;
    default:
      throw FrameError(std::string(name) + " is of type " + std::to_string(static_cast<int>(type)) +
                       "; expected float32, float16 or int32");
  }
}

}  // namespace

std::string shape_text(const Dims& dims) {
  std::string text = "(";
  for (int i = 0; i < dims.nbDims; ++i) text += (i ? ", " : "") + std::to_string(dims.d[i]);
  return text + ")";
}

int size_at(const char* name, const Dims& dims, int at) {
  if (at >= dims.nbDims || dims.d[at] < 1 || dims.d[at] > INT32_MAX) refuse(name, dims, "sizes of 1 to 2147483647");
  return static_cast<int>(dims.d[at]);
}

View view_of(const char* name, const PluginTensorDesc& tensor, void* data) {
  const Dims& dims = tensor.dims;
  if (dims.nbDims != 4) refuse(name, dims, "four dimensions");
  View view;
  view.data = data;
  view.dtype = dtype_of(name, tensor.type);
  int64_t elements = 1;
  for (int i = 0; i < 4; ++i) {
    // Coordinates limit the sides of pictures; only the type limits lists of patches.
    if (dims.d[i] < 1 || dims.d[i] > (i == 0 ? INT32_MAX : kLongestSide)) refuse(name, dims, "sides of 1 to 65536");
    view.size[i] = static_cast<int>(dims.d[i]);
    elements *= dims.d[i];
    if (elements > kMostElements) refuse(name, dims, "at most 2^46 elements");
  }
  if (tensor.format == TensorFormat::kLINEAR) {
    view.stride[3] = 1;
    view.stride[2] = dims.d[3];
    view.stride[1] = dims.d[2] * view.stride[2];
    view.stride[0] = dims.d[1] * view.stride[1];
  } else {
    const int64_t multiple = tensor.format == TensorFormat::kHWC8 ? 8 : 1;
    view.stride[1] = 1;
    view.stride[3] = (dims.d[1] + multiple - 1) / multiple * multiple;
    view.stride[2] = dims.d[3] * view.stride[3];
    view.stride[0] = dims.d[2] * view.stride[2];
  }
  return view;
}

View indices_of(const char* name, const PluginTensorDesc& tensor, void* data) {
  const Dims& dims = tensor.dims;
  if (dims.nbDims != 2 || dims.d[0] < 1 || dims.d[0] > INT32_MAX || dims.d[1] != 3) refuse(name, dims, "(K, 3)");
  View view;
  view.data = data;
  view.dtype = dtype_of(name, tensor.type);
  const int size[4] = {1, 1, static_cast<int>(dims.d[0]), 3};
  const int64_t stride[4] = {0, 0, 3, 1};
  for (int i = 0; i < 4; ++i) {
    view.size[i] = size[i];
    view.stride[i] = stride[i];
  }
  return view;
}

View permuted(const View& view, const int32_t (&permutation)[4]) {
  View result = view;
  for (int i = 0; i < 4; ++i) {
    result.size[i] = view.size[permutation[i]];
    result.stride[i] = view.stride[permutation[i]];
  }
  return result;
}

void expect_alpha(const char* name, const View& view) {
  if (view.size[1] == 1 || view.size[1] == kAlphaOfColour) return;
  throw FrameError(std::string(name) + " has " + std::to_string(view.size[1]) + " channels; expected 1 or 4");
}

void expect_channels(const char* name, const View& view, int channels) {
  if (view.size[1] == channels) return;
  throw FrameError(std::string(name) + " has " + std::to_string(view.size[1]) + " channels; expected " +
                   std::to_string(channels));
}

void expect_batch(const char* name, const View& view, int batch) {
  if (view.size[0] == batch) return;
  throw FrameError(std::string(name) + " has a batch of " + std::to_string(view.size[0]) + "; expected " +
                   std::to_string(batch));
}

void expect_size(const char* name, const View& view, int batch, int height, int width) {
  expect_batch(name, view, batch);
  if (view.size[2] == height && view.size[3] == width) return;
  throw FrameError(std::string(name) + " is " + std::to_string(view.size[3]) + "x" + std::to_string(view.size[2]) +
                   "; expected " + std::to_string(width) + "x" + std::to_string(height));
}

void expect_patches(const View& frame) {
  if (frame.size[2] % 4 == 0 && frame.size[3] % 4 == 0) return;
  throw FrameError("the frame is " + std::to_string(frame.size[3]) + "x" + std::to_string(frame.size[2]) +
                   " pixels; expected both sides to be multiples of 4");
}

}  // namespace trtmatte::plugins
