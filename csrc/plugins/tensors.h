// Converts TensorRT's tensors to views.
#pragma once

#include <NvInferRuntime.h>

#include <string>

#include "base/errors.h"
#include "base/view.h"

namespace trtmatte::plugins {

// The arguments of one call of a plugin: descriptions of its tensors and, when it runs, their memory.
struct Tensors {
  const nvinfer1::PluginTensorDesc* in;
  const nvinfer1::PluginTensorDesc* out;
  const void* const* in_data;  // null while only shapes are checked
  void* const* out_data;

  // Checks have no memory and use a placeholder, since null stands for tensors that are not wanted.
  void* input(int i) const { return in_data ? const_cast<void*>(in_data[i]) : placeholder(); }
  void* output(int i) const { return out_data ? out_data[i] : placeholder(); }

 private:
  static void* placeholder() {
    static char nothing;
    return &nothing;
  }
};

// Kinds of inputs, by the types and formats that they accept.
enum class Slot {
  kPicture,  // float16 or float32, linear
  kMaps,     // also channels last, as convolutions output them: strides handle it, which saves a conversion
  kIndices,  // int32, linear
};

inline bool supports(Slot slot, const nvinfer1::PluginTensorDesc& tensor) {
  using nvinfer1::DataType;
  using nvinfer1::TensorFormat;
  const bool linear = tensor.format == TensorFormat::kLINEAR;
  if (slot == Slot::kIndices) return tensor.type == DataType::kINT32 && linear;
  if (slot == Slot::kMaps && tensor.type == DataType::kHALF && tensor.format == TensorFormat::kHWC8) return true;
  if (slot == Slot::kMaps && tensor.type == DataType::kFLOAT && tensor.format == TensorFormat::kHWC) return true;
  return (tensor.type == DataType::kHALF || tensor.type == DataType::kFLOAT) && linear;
}

std::string shape_text(const nvinfer1::Dims& dims);

// Returns a size of a tensor that must be known and fit into an int.
int size_at(const char* name, const nvinfer1::Dims& dims, int at);

// Returns a tensor of four dimensions, in its own order. Throws for other ranks and for sizes out of range.
View view_of(const char* name, const nvinfer1::PluginTensorDesc& tensor, void* data);

// Returns a tensor of indices [K,3].
View indices_of(const char* name, const nvinfer1::PluginTensorDesc& tensor, void* data);

// Returns a view that has dimension `permutation[i]` as dimension i.
View permuted(const View& view, const int32_t (&permutation)[4]);

// Expects the channels of Note [Alpha as a function of colour].
void expect_alpha(const char* name, const View& view);
void expect_channels(const char* name, const View& view, int channels);
void expect_size(const char* name, const View& view, int batch, int height, int width);
void expect_batch(const char* name, const View& view, int batch);
void expect_patches(const View& frame);

}  // namespace trtmatte::plugins
