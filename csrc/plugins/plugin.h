// TensorRT's plugin and creator interfaces, around the face of one op.
//
// A face has what differs from op to op:
//
//   static constexpr const char* kName;              the ONNX operator
//   static constexpr Slot kInputs[];
//   static constexpr int kOutputs;
//   void visit(Field&);                              names its settings
//   void check() const;                              throws for settings that make no sense
//   DataType type(int output) const;
//   void shape(const DimsExprs* inputs, DimsExprs* outputs, IExprBuilder&) const;
//   Call call(const Tensors&) const;                 checks the tensors and returns the op's arguments
//   size_t workspace(const Dims* largest) const;     bytes for inputs of up to these sizes
//   static void run(const Call&, void* workspace, CudaStream);
#pragma once

#include <iterator>
#include <memory>

#include "base/launch.h"
#include "plugins/fields.h"
#include "plugins/log.h"
#include "plugins/tensors.h"

namespace trtmatte::plugins {

constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "trtmatte";
constexpr int32_t kDone = 0, kFailed = 1;

template <typename Face>
class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
  using Desc = nvinfer1::PluginTensorDesc;
  using Range = nvinfer1::DynamicPluginTensorDesc;
  using Exprs = nvinfer1::DimsExprs;

 public:
  static constexpr int kInputs = static_cast<int>(std::size(Face::kInputs));
  static constexpr int kOutputs = Face::kOutputs;

  explicit Plugin(const Face& face) : face_(face) {
    face_.visit(fields_);
    collection_ = fields_.collection();
    FieldText description;
    face_.visit(description);
    description_ = description.text;
  }
  Plugin(const Plugin&) = delete;  // fields_ points into the object
  Plugin& operator=(const Plugin&) = delete;

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE:
        return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD:
        return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME:
        return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }
  nvinfer1::IPluginV3* clone() noexcept override {
    return guarded(Face::kName, static_cast<IPluginV3*>(nullptr), [&] { return new Plugin(face_); });
  }

  const char* getPluginName() const noexcept override { return Face::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  int32_t getNbOutputs() const noexcept override { return kOutputs; }
  int32_t getOutputDataTypes(nvinfer1::DataType* types, int32_t outputs, const nvinfer1::DataType*,
                             int32_t inputs) const noexcept override {
    return attempt([&] {
      expect_counts(inputs, outputs);
      for (int i = 0; i < kOutputs; ++i) types[i] = face_.type(i);
    });
  }
  int32_t getOutputShapes(const Exprs* inputs, int32_t input_count, const Exprs*, int32_t, Exprs* outputs,
                          int32_t output_count, nvinfer1::IExprBuilder& builder) noexcept override {
    return attempt([&] {
      expect_counts(input_count, output_count);
      for (int i = 0; i < kInputs; ++i) {
        const int rank = Face::kInputs[i] == Slot::kIndices ? 2 : 4;
        if (inputs[i].nbDims == rank) continue;
        throw FrameError("input " + std::to_string(i) + " has " + std::to_string(inputs[i].nbDims) +
                         " dimensions; expected " + std::to_string(rank));
      }
      face_.shape(inputs, outputs, builder);
    });
  }
  bool supportsFormatCombination(int32_t at, const Range* tensors, int32_t inputs, int32_t outputs) noexcept override {
    return guarded(Face::kName, false, [&] {
      expect_counts(inputs, outputs);
      const Desc& tensor = tensors[at].desc;
      if (at < kInputs) return supports(Face::kInputs[at], tensor);
      return tensor.type == face_.type(at - kInputs) && tensor.format == nvinfer1::TensorFormat::kLINEAR;
    });
  }
  int32_t configurePlugin(const Range*, int32_t inputs, const Range*, int32_t outputs) noexcept override {
    return attempt([&] { expect_counts(inputs, outputs); });
  }
  size_t getWorkspaceSize(const Range* inputs, int32_t input_count, const Range*,
                          int32_t output_count) const noexcept override {
    return guarded(Face::kName, size_t{0}, [&] {
      expect_counts(input_count, output_count);
      nvinfer1::Dims largest[kInputs];
      for (int i = 0; i < kInputs; ++i) largest[i] = inputs[i].max;
      return face_.workspace(largest);
    });
  }
  const char* getTimingCacheID() noexcept override { return description_.c_str(); }
  const char* getMetadataString() noexcept override { return description_.c_str(); }

  int32_t onShapeChange(const Desc* inputs, int32_t input_count, const Desc* outputs,
                        int32_t output_count) noexcept override {
    return attempt([&] {
      expect_counts(input_count, output_count);
      static_cast<void>(face_.call(Tensors{inputs, outputs, nullptr, nullptr}));
    });
  }
  int32_t enqueue(const Desc* inputs, const Desc* outputs, const void* const* in_data, void* const* out_data,
                  void* workspace, cudaStream_t cuda_stream) noexcept override {
    return attempt([&] {
      Face::run(face_.call(Tensors{inputs, outputs, in_data, out_data}), workspace, CudaStream{cuda_stream});
    });
  }
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return &collection_; }

 private:
  template <typename Function>
  static int32_t attempt(const Function& function) noexcept {
    return guarded(Face::kName, kFailed, [&] {
      function();
      return kDone;
    });
  }

  static void expect_counts(int32_t inputs, int32_t outputs) {
    if (inputs == kInputs && outputs == kOutputs) return;
    throw FrameError("the node has " + std::to_string(inputs) + " inputs and " + std::to_string(outputs) +
                     " outputs; expected " + std::to_string(kInputs) + " and " + std::to_string(kOutputs));
  }

  Face face_;
  FieldList fields_;
  nvinfer1::PluginFieldCollection collection_;
  std::string description_;
};

template <typename Face>
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  Creator() {
    defaults_.visit(fields_);
    for (nvinfer1::PluginField& field : fields_.fields) field.data = nullptr;
    collection_ = fields_.collection();
  }

  const char* getPluginName() const noexcept override { return Face::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }

  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* given,
                                    nvinfer1::TensorRTPhase phase) noexcept override {
    return guarded(Face::kName, static_cast<nvinfer1::IPluginV3*>(nullptr), [&] {
      Face face;
      FieldReader reader(given, phase);
      face.visit(reader);
      reader.finish();
      face.check();
      return new Plugin<Face>(face);
    });
  }

 private:
  Face defaults_;
  FieldList fields_;
  nvinfer1::PluginFieldCollection collection_;
};

}  // namespace trtmatte::plugins
