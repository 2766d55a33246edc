#include "ops/foreground_estimate/foreground_estimate.h"
#include "plugins/creators.h"
#include "plugins/pictures.h"
#include "plugins/plugin.h"

namespace trtmatte::plugins {
namespace {

class ForegroundEstimateFace {
 public:
  static constexpr const char* kName = "TrtMatteForegroundEstimate";
  static constexpr Slot kInputs[] = {Slot::kPicture, Slot::kMaps};
  static constexpr int kOutputs = 1;
  using Call = ForegroundEstimate;

  template <typename Field>
  void visit(Field& field) {
    field("type", type_);
    frame_.visit(field);
  }

  void check() const {
    static_cast<void>(output_type("type", type_));
    frame_.check();
  }

  nvinfer1::DataType type(int) const { return output_type("type", type_); }

  void shape(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const {
    outputs[0].nbDims = 4;
    outputs[0].d[0] = inputs[0].d[frame_.batch_at()];
    outputs[0].d[1] = builder.constant(kEstimates);
    outputs[0].d[2] = builder.constant(kGrid);
    outputs[0].d[3] = builder.constant(kGrid);
  }

  Call call(const Tensors& tensors) const {
    Call op;
    op.frame = frame_.view("frame", tensors.in[0], tensors.input(0));
    op.alpha = view_of("alpha", tensors.in[1], tensors.input(1));
    expect_alpha("alpha", op.alpha);
    expect_batch("alpha", op.alpha, op.frame.size[0]);
    op.colours = view_of("colours", tensors.out[0], tensors.output(0));
    expect_channels("colours", op.colours, kEstimates);
    expect_size("colours", op.colours, op.frame.size[0], kGrid, kGrid);
    return op;
  }

  size_t workspace(const nvinfer1::Dims*) const { return kForegroundWorkspace; }
  static void run(const Call& op, void* workspace, CudaStream cuda_stream) {
    foreground_estimate(op, workspace, cuda_stream);
  }

 private:
  int32_t type_ = 1;
  FrameLayout frame_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* foreground_estimate_creator() {
  static Creator<ForegroundEstimateFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
