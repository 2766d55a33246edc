// Plays TensorRT's part: creates a plugin from settings, queries it like the builder, writes it into a plan, reads it
// back and runs it.
#pragma once

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "expressions.h"
#include "ops/math/pixel_math.h"
#include "settings.h"

using nvinfer1::DataType;
using nvinfer1::TensorFormat;
using nvinfer1::TensorRTPhase;
using Shape = std::vector<int64_t>;

inline int failures = 0;
inline int64_t allocations = 0;  // by this program and by the library

inline bool expect(bool holds, const std::string& what) {
  if (!holds) printf("FAILED %s\n", what.c_str()), ++failures;
  return holds;
}

inline int64_t count_of(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

inline size_t item_size(DataType type) { return type == DataType::kHALF ? 2 : 4; }

// A tensor. Its values are in the order of its dimensions, independent of its type and format in memory.
struct Tensor {
  DataType type;
  Shape shape;
  std::vector<float> values;
  TensorFormat format = TensorFormat::kLINEAR;

  nvinfer1::PluginTensorDesc desc() const {
    nvinfer1::PluginTensorDesc desc{};
    desc.dims.nbDims = static_cast<int32_t>(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) desc.dims.d[i] = shape[i];
    desc.type = type;
    desc.format = format;
    return desc;
  }

  std::vector<char> packed() const {
    std::vector<char> bytes(item_size(type) * static_cast<size_t>(slots()));
    for (size_t i = 0; i < values.size(); ++i) {
      char* to = bytes.data() + item_size(type) * static_cast<size_t>(slot(static_cast<int64_t>(i)));
      const auto whole = static_cast<int32_t>(values[i]);
      const trtmatte::Half half = trtmatte::float_to_half(values[i]);
      memcpy(to,
             type == DataType::kHALF    ? static_cast<const void*>(&half)
             : type == DataType::kINT32 ? &whole
                                        : static_cast<const void*>(&values[i]),
             item_size(type));
    }
    return bytes;
  }

  void unpack(const std::vector<char>& bytes) {
    values.resize(static_cast<size_t>(count_of(shape)));
    for (size_t i = 0; i < values.size(); ++i) {
      const char* from = bytes.data() + item_size(type) * static_cast<size_t>(slot(static_cast<int64_t>(i)));
      int32_t whole = 0;
      trtmatte::Half half{};
      if (type == DataType::kFLOAT) memcpy(&values[i], from, 4);
      if (type == DataType::kINT32) memcpy(&whole, from, 4), values[i] = static_cast<float>(whole);
      if (type == DataType::kHALF) memcpy(&half, from, 2), values[i] = trtmatte::half_to_float(half);
    }
  }

 private:
  int64_t channels_in_memory() const { return format == TensorFormat::kHWC8 ? (shape[1] + 7) / 8 * 8 : shape[1]; }
  int64_t slots() const {
    return format == TensorFormat::kLINEAR ? count_of(shape) : shape[0] * shape[2] * shape[3] * channels_in_memory();
  }
  int64_t slot(int64_t i) const {
    if (format == TensorFormat::kLINEAR) return i;
    const int64_t x = i % shape[3], y = i / shape[3] % shape[2], c = i / shape[3] / shape[2] % shape[1];
    return (((i / shape[3] / shape[2] / shape[1]) * shape[2] + y) * shape[3] + x) * channels_in_memory() + c;
  }
};

inline Tensor rounded(Tensor tensor) {
  tensor.unpack(tensor.packed());
  return tensor;
}

inline bool has_device() {
  int count = 0;
  const bool found = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
  cudaGetLastError();
  return found;
}

class DeviceMemory {
 public:
  explicit DeviceMemory(const std::vector<char>& from) : bytes_(from.size()) {
    check(cudaMalloc(&memory_, bytes_));
    check(cudaMemcpy(memory_, from.data(), bytes_, cudaMemcpyDefault));
  }
  explicit DeviceMemory(size_t bytes) : DeviceMemory(std::vector<char>(bytes > 0 ? bytes : 1, char{0x5a})) {}
  ~DeviceMemory() { cudaFree(memory_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* get() const { return memory_; }
  std::vector<char> read() const {
    std::vector<char> result(bytes_);
    check(cudaMemcpy(result.data(), memory_, bytes_, cudaMemcpyDefault));
    return result;
  }

 private:
  static void check(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
  }
  void* memory_ = nullptr;
  size_t bytes_;
};

using Creator = nvinfer1::IPluginCreatorV3One;
using Plugin = std::unique_ptr<nvinfer1::IPluginV3>;

inline nvinfer1::IPluginV3OneCore* core_of(const Plugin& plugin) {
  return static_cast<nvinfer1::IPluginV3OneCore*>(
      plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kCORE));
}
inline nvinfer1::IPluginV3OneBuild* build_of(const Plugin& plugin) {
  return static_cast<nvinfer1::IPluginV3OneBuild*>(
      plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kBUILD));
}
inline nvinfer1::IPluginV3OneRuntime* runtime_of(const Plugin& plugin) {
  return static_cast<nvinfer1::IPluginV3OneRuntime*>(
      plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME));
}

inline Plugin make(Creator& creator, Settings settings, TensorRTPhase phase = TensorRTPhase::kBUILD) {
  const nvinfer1::PluginFieldCollection fields = settings.collection();
  return Plugin(creator.createPlugin("a node", &fields, phase));
}

// The shapes of a plugin's outputs as expressions. of() evaluates them for other inputs without calling the plugin
// again.
class OutputShapes {
 public:
  OutputShapes(const Plugin& plugin, const std::vector<Shape>& inputs) : dimensions_(inputs) {
    std::vector<nvinfer1::DimsExprs> in(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      in[i].nbDims = static_cast<int32_t>(inputs[i].size());
      for (size_t d = 0; d < inputs[i].size(); ++d) in[i].d[d] = builder_.unknown(dimensions_[i][d]);
    }
    auto* build = build_of(plugin);
    out_.resize(static_cast<size_t>(build->getNbOutputs()));
    status = build->getOutputShapes(in.data(), static_cast<int32_t>(in.size()), nullptr, 0, out_.data(),
                                    static_cast<int32_t>(out_.size()), builder_);
  }

  std::vector<Shape> of(const std::vector<Shape>& inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {  // in place, since the expressions read from there
      std::copy(inputs[i].begin(), inputs[i].end(), dimensions_[i].begin());
    }
    std::vector<Shape> shapes;
    for (const nvinfer1::DimsExprs& dims : out_) {
      Shape shape;
      for (int d = 0; d < dims.nbDims; ++d) shape.push_back(ExpressionBuilder::value(dims.d[d]));
      shapes.push_back(shape);
    }
    return shapes;
  }

  int32_t status;

 private:
  std::vector<Shape> dimensions_;
  ExpressionBuilder builder_;
  std::vector<nvinfer1::DimsExprs> out_;
};

inline nvinfer1::DynamicPluginTensorDesc dynamic(const Tensor& tensor) {
  nvinfer1::DynamicPluginTensorDesc range{};
  range.desc = tensor.desc();
  range.min = range.max = range.opt = range.desc.dims;
  return range;
}

// Runs the whole life of a plugin. Returns its outputs, without values if there is no device.
inline std::vector<Tensor> live(Creator& creator, const Settings& settings, const std::vector<Tensor>& inputs) {
  const std::string name = creator.getPluginName();
  const auto inputs_count = static_cast<int32_t>(inputs.size());
  Plugin made = make(creator, settings);
  if (!expect(made != nullptr, name + " is created")) throw std::runtime_error("no plugin to test");
  expect(core_of(made)->getPluginName() == name, name + ": its name");
  expect(core_of(made)->getPluginVersion() == std::string("1"), name + ": its version");
  expect(core_of(made)->getPluginNamespace() == std::string("trtmatte"), name + ": its namespace");

  // The queries of the builder.
  auto* build = build_of(made);
  const int32_t outputs_count = build->getNbOutputs();
  std::vector<DataType> types(static_cast<size_t>(outputs_count)), given;
  std::vector<Shape> shapes;
  for (const Tensor& input : inputs) given.push_back(input.type), shapes.push_back(input.shape);
  expect(build->getOutputDataTypes(types.data(), outputs_count, given.data(), inputs_count) == 0, name + ": types");
  OutputShapes expressions(made, shapes);
  expect(expressions.status == 0, name + ": shapes");
  std::vector<Tensor> outputs;
  for (const Shape& shape : expressions.of(shapes)) outputs.push_back(Tensor{types[outputs.size()], shape, {}});

  std::vector<nvinfer1::DynamicPluginTensorDesc> all;
  for (const Tensor& tensor : inputs) all.push_back(dynamic(tensor));
  for (const Tensor& tensor : outputs) all.push_back(dynamic(tensor));
  for (int32_t at = 0; at < inputs_count + outputs_count; ++at) {
    const auto supported = [&] {
      return build->supportsFormatCombination(at, all.data(), inputs_count, outputs_count);
    };
    auto& desc = all[static_cast<size_t>(at)].desc;
    const auto before = desc;
    expect(supported(), name + ": its formats");
    for (const DataType wrong : {DataType::kUINT8, DataType::kBOOL, DataType::kINT8, DataType::kINT64}) {
      desc.type = wrong;
      expect(!supported(), name + ": refuses a type that it cannot read");
    }
    desc = before;
    for (const TensorFormat wrong : {TensorFormat::kCHW4, TensorFormat::kCHW32, TensorFormat::kHWC16}) {
      desc.format = wrong;
      expect(!supported(), name + ": refuses a format that it cannot read");
    }
    desc = before;
  }
  const auto* in_range = all.data();
  const auto* out_range = all.data() + inputs_count;
  expect(build->configurePlugin(in_range, inputs_count, out_range, outputs_count) == 0, name + ": configured");
  expect(build->configurePlugin(in_range, inputs_count + 1, out_range, outputs_count) != 0,
         name + ": refuses another number of inputs");
  expect(build->getNbTactics() == 0 && strlen(build->getTimingCacheID()) > 0, name + ": its timing");
  const size_t workspace_bytes = build->getWorkspaceSize(in_range, inputs_count, out_range, outputs_count);

  // Write into a plan and read back. The fields are copied; the plugin that wrote them no longer exists.
  const std::string described = build->getTimingCacheID();
  const Settings stored(*runtime_of(made)->getFieldsToSerialize());
  made.reset();
  const Plugin loaded = make(creator, stored, TensorRTPhase::kRUNTIME);
  if (!expect(loaded != nullptr, name + " can be read from a plan")) throw std::runtime_error("no plugin to test");
  expect(build_of(loaded)->getTimingCacheID() == described, name + ": the same after the plan");
  expect(Settings(*runtime_of(loaded)->getFieldsToSerialize()) == stored, name + ": stores the same fields again");
  Plugin attached(runtime_of(loaded)->attachToContext(nullptr));
  expect(attached != nullptr && attached.get() != loaded.get(), name + ": attached as a clone");
  const Plugin plugin(attached->clone());
  attached.reset();
  expect(Settings(*runtime_of(plugin)->getFieldsToSerialize()) == stored, name + ": a clone stores the same");

  // onShapeChange refuses shapes that the op cannot have, before anything runs.
  std::vector<nvinfer1::PluginTensorDesc> in, out;
  for (const Tensor& tensor : inputs) in.push_back(tensor.desc());
  for (const Tensor& tensor : outputs) out.push_back(tensor.desc());
  auto* runtime = runtime_of(plugin);
  const auto accepted = [&] { return runtime->onShapeChange(in.data(), inputs_count, out.data(), outputs_count) == 0; };
  const int64_t before_shapes = allocations;
  const bool fits = accepted();
  const int64_t for_shapes = allocations - before_shapes;
  expect(for_shapes == 0, name + ": allocates nothing for its shapes");
  expect(fits, name + ": its shapes");
  for (auto& desc : in) {
    const auto before = desc;
    desc.dims.d[0] = 0;
    expect(!accepted(), name + ": refuses an empty input");
    desc = before;
    desc.dims.nbDims = 3;
    expect(!accepted(), name + ": refuses an input of another rank");
    desc = before;
  }

  if (!has_device()) return outputs;
  std::vector<std::unique_ptr<DeviceMemory>> memory;
  std::vector<const void*> in_data;
  std::vector<void*> out_data;
  for (const Tensor& tensor : inputs) {
    memory.push_back(std::make_unique<DeviceMemory>(tensor.packed()));
    in_data.push_back(memory.back()->get());
  }
  for (Tensor& tensor : outputs) {
    tensor.values.resize(static_cast<size_t>(count_of(tensor.shape)));
    memory.push_back(std::make_unique<DeviceMemory>(tensor.packed().size()));
    out_data.push_back(memory.back()->get());
  }
  const DeviceMemory workspace(workspace_bytes);
  cudaStream_t cuda_stream;
  expect(cudaStreamCreate(&cuda_stream) == cudaSuccess, "a stream");
  for (int run = 0; run < 2; ++run) {  // the second run starts with the workspace of the first
    const int64_t before = allocations;
    const int32_t status =
        runtime->enqueue(in.data(), out.data(), in_data.data(), out_data.data(), workspace.get(), cuda_stream);
    const int64_t to_run = allocations - before;
    expect(status == 0, name + ": runs");
    expect(run == 0 || to_run == 0, name + ": allocates nothing when it runs");
  }
  expect(cudaStreamSynchronize(cuda_stream) == cudaSuccess, name + ": ends");
  cudaStreamDestroy(cuda_stream);
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].unpack(memory[inputs.size() + i]->read());
  return outputs;
}
