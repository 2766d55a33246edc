#include "ops/matte_upsample/matte_upsample.h"

#include "plugins/creators.h"
#include "plugins/shared/pictures.h"
#include "plugins/shared/plugin.h"

namespace trtmatte::plugins {
namespace {

class MatteUpsampleFace {
 public:
  static constexpr const char* kName = "TrtMatteMatteUpsample";
  static constexpr Slot kInputs[] = {Slot::kPicture, Slot::kMaps, Slot::kPicture};
  static constexpr int kOutputs = MatteLayout::kOutputs;
  using Call = MatteUpsample;

  template <typename Field>
  void visit(Field& field) {
    field("method", method_);
    frame_.visit(field);
    matte_.visit(field);
  }

  void check() const {
    if (method_ != 0 && method_ != 1) {
      throw SettingError("method is " + std::to_string(method_) + "; expected 0 (linear) or 1 (area)");
    }
    frame_.check();
    matte_.check();
  }

  nvinfer1::DataType type(int) const { return matte_.output_type(); }

  void shape(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const {
    matte_.shape(frame_, inputs[0], outputs, builder);
  }

  Call call(const Tensors& tensors) const {
    Call op;
    op.frame = frame_.view("frame", tensors.in[0], tensors.input(0));
    op.alpha = view_of("alpha", tensors.in[1], tensors.input(1));
    expect_channels("alpha", op.alpha, 1);
    expect_batch("alpha", op.alpha, op.frame.size[0]);
    op.method = static_cast<Method>(method_);
    op.sinks = matte_.sinks(tensors, 2, op.frame);
    return op;
  }

  size_t workspace(const nvinfer1::Dims*) const { return 0; }
  static void run(const Call& op, void*, CudaStream stream) { matte_upsample(op, stream); }

 private:
  int32_t method_ = 0;
  FrameLayout frame_;
  MatteLayout matte_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* matte_upsample_creator() {
  static Creator<MatteUpsampleFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
