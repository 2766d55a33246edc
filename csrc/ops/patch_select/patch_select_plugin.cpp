// Replaces TensorRT's TopK, which is limited to 3840 values: BackgroundMattingV2 selects 5000 patches of HD frames and
// 20000 patches of 4K frames.
#include "ops/patch_select/patch_select.h"
#include "plugins/creators.h"
#include "plugins/plugin.h"
#include "plugins/tensors.h"

namespace trtmatte::plugins {
namespace {

class PatchSelectFace {
 public:
  static constexpr const char* kName = "TrtMattePatchSelect";
  static constexpr Slot kInputs[] = {Slot::kMaps};
  static constexpr int kOutputs = 3;  // indices, count, ref
  using Call = PatchSelect;

  template <typename Field>
  void visit(Field& field) {
    field("height", height_, kRequired);
    field("width", width_, kRequired);
    field("mode", mode_);
    field("k", k_);
    field("threshold", threshold_);
    field("prevent_oversampling", prevent_oversampling_);
    field("capacity", capacity_, kRequired);
  }

  void check() const {
    if (height_ < 1 || width_ < 1 || height_ > kLongestGrid || width_ > kLongestGrid) {
      throw SettingError("the patch grid is " + std::to_string(height_) + "x" + std::to_string(width_) +
                         "; expected 1 to 16384 a side");
    }
    if (mode_ != 0 && mode_ != 1) {
      throw SettingError("mode is " + std::to_string(mode_) + "; expected 0 (sampling) or 1 (thresholding)");
    }
    if (mode_ == 0 && (k_ < 1 || k_ > height_ * width_)) {
      throw SettingError("k is " + std::to_string(k_) + "; expected 1 to " + std::to_string(height_ * width_) +
                         ", the number of patches of an image");
    }
    if (threshold_ != threshold_) throw SettingError("threshold is not a number");
    if (prevent_oversampling_ != 0 && prevent_oversampling_ != 1) {
      throw SettingError("prevent_oversampling is neither 0 nor 1");
    }
    if (capacity_ < 1) throw SettingError("capacity is " + std::to_string(capacity_) + "; expected 1 or more");
  }

  nvinfer1::DataType type(int output) const {
    return output == 2 ? nvinfer1::DataType::kFLOAT : nvinfer1::DataType::kINT32;
  }

  void shape(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const {
    outputs[0].nbDims = 2;
    outputs[0].d[0] = builder.constant(capacity_);
    outputs[0].d[1] = builder.constant(3);
    outputs[1].nbDims = 1;
    outputs[1].d[0] = builder.constant(1);
    outputs[2].nbDims = 4;
    outputs[2].d[0] = inputs[0].d[0];
    outputs[2].d[1] = builder.constant(1);
    outputs[2].d[2] = builder.constant(height_);
    outputs[2].d[3] = builder.constant(width_);
  }

  Call call(const Tensors& tensors) const {
    Call op = settings();
    op.err = view_of("err", tensors.in[0], tensors.input(0));
    expect_channels("err", op.err, 1);
    op.indices = indices_of("indices", tensors.out[0], tensors.output(0));
    if (op.indices.size[2] != capacity_) throw FrameError("the number of indices differs from capacity");
    op.count.data = tensors.output(1);
    op.count.dtype = DType::kInt32;
    for (int& side : op.count.size) side = 1;
    op.ref = view_of("ref", tensors.out[2], tensors.output(2));
    expect_channels("ref", op.ref, 1);
    expect_size("ref", op.ref, op.err.size[0], height_, width_);
    expect_countable(op);
    return op;
  }

  size_t workspace(const nvinfer1::Dims* largest) const {
    Call op = settings();
    op.err.size[0] = size_at("err", largest[0], 0);
    expect_countable(op);
    return patch_select_workspace(op);
  }
  static void run(const Call& op, void* workspace, CudaStream cuda_stream) { patch_select(op, workspace, cuda_stream); }

 private:
  Call settings() const {
    Call op;
    op.rows = height_;
    op.columns = width_;
    op.mode = static_cast<SelectMode>(mode_);
    op.k = k_;
    op.threshold = threshold_;
    op.prevent_oversampling = prevent_oversampling_ != 0;
    return op;
  }

  int32_t height_ = 0, width_ = 0;
  int32_t mode_ = 0;
  int32_t k_ = 1;
  float threshold_ = 0.1f;
  int32_t prevent_oversampling_ = 1;
  int32_t capacity_ = 0;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* patch_select_creator() {
  static Creator<PatchSelectFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
