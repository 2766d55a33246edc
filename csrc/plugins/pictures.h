// The settings of frames and mattes that the plugins share. Their names are those of the ONNX functions.
#pragma once

#include "ops/math/outputs.h"
#include "plugins/fields.h"
#include "plugins/tensors.h"

namespace trtmatte::plugins {

// Converts an ONNX element type to an output type: float32 or float16.
nvinfer1::DataType output_type(const char* name, int32_t element);

// The memory layout of a frame.
struct FrameLayout {
  int32_t perm[4] = {0, 3, 1, 2};
  int32_t channels[3] = {0, 1, 2};
  int32_t range = 255;

  template <typename Field>
  void visit(Field& field) {
    field("frame_perm", perm);
    field("frame_channels", channels);
    field("frame_range", range);
  }
  void check() const;
  View view(const char* name, const nvinfer1::PluginTensorDesc& tensor, void* data) const;

  int batch_at() const { return perm[0]; }
  int height_at() const { return perm[2]; }
  int width_at() const { return perm[3]; }
};

// The memory layout of the outputs of an op with sinks, and which of them the caller wants.
struct MatteLayout {
  int32_t perm[4] = {0, 2, 3, 1};
  int32_t channels[3] = {0, 1, 2};
  int32_t range = 255;
  int32_t type = 2;  // ONNX's default, uint8, which check() refuses: plugins output floats
  // Only the plugins have this setting: TensorRT creates every output of a node. An output that nobody wants has one
  // element, which is never written.
  int32_t wanted[kOutputCount];

  MatteLayout() {
    for (int32_t& each : wanted) each = 1;
  }

  template <typename Field>
  void visit(Field& field) {
    field("matte_perm", perm);
    field("matte_channels", channels);
    field("matte_range", range);
    field("matte_type", type);
    field("matte_wanted", wanted);
  }
  void check() const;
  nvinfer1::DataType output_type() const { return plugins::output_type("matte_type", type); }
  void shape(const FrameLayout& frame_layout, const nvinfer1::DimsExprs& frame, nvinfer1::DimsExprs* outputs,
             nvinfer1::IExprBuilder& builder) const;
  // Returns the views of the outputs. `background` is the number of the background's input.
  Sinks sinks(const Tensors& tensors, int background, const View& frame) const;
};

// The shared part of the faces of ops with sinks. The frame is input `kFrame`.
template <int kFrame>
class MatteFace {
 public:
  static constexpr int kOutputs = kOutputCount;

  template <typename Field>
  void visit(Field& field) {
    frame_.visit(field);
    matte_.visit(field);
  }

  void check() const {
    frame_.check();
    matte_.check();
  }

  nvinfer1::DataType type(int) const { return matte_.output_type(); }

  void shape(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const {
    matte_.shape(frame_, inputs[kFrame], outputs, builder);
  }

  size_t workspace(const nvinfer1::Dims*) const { return 0; }

 protected:
  FrameLayout frame_;
  MatteLayout matte_;
};

}  // namespace trtmatte::plugins
