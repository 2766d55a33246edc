#include "ops/patch_crop/patch_crop.h"
#include "plugins/creators.h"
#include "plugins/pictures.h"
#include "plugins/plugin.h"

namespace trtmatte::plugins {
namespace {

class PatchCropFace {
 public:
  static constexpr const char* kName = "TrtMattePatchCrop";
  static constexpr Slot kInputs[] = {Slot::kMaps, Slot::kPicture, Slot::kPicture, Slot::kIndices};
  static constexpr int kOutputs = 2;  // half, full
  using Call = PatchCrop;

  template <typename Field>
  void visit(Field& field) {
    field("kernel", kernel_);
    field("type", type_);
    frame_.visit(field);
  }

  void check() const {
    if (kernel_ != 1 && kernel_ != 3) {
      throw SettingError("kernel is " + std::to_string(kernel_) + "; expected 1 or 3");
    }
    static_cast<void>(output_type("type", type_));
    frame_.check();
  }

  nvinfer1::DataType type(int) const { return output_type("type", type_); }

  void shape(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const {
    const auto* more = builder.operation(nvinfer1::DimensionOperation::kSUM, *inputs[0].d[1], *builder.constant(6));
    const nvinfer1::IDimensionExpr* channels[kOutputs] = {more, builder.constant(6)};
    const int sides[kOutputs] = {half_side(), full_side()};
    for (int i = 0; i < kOutputs; ++i) {
      outputs[i].nbDims = 4;
      outputs[i].d[0] = inputs[3].d[0];
      outputs[i].d[1] = channels[i];
      outputs[i].d[2] = outputs[i].d[3] = builder.constant(sides[i]);
    }
  }

  Call call(const Tensors& tensors) const {
    Call op;
    op.maps = view_of("maps", tensors.in[0], tensors.input(0));
    op.src = frame_.view("src", tensors.in[1], tensors.input(1));
    op.bgr = frame_.view("bgr", tensors.in[2], tensors.input(2));
    op.indices = indices_of("indices", tensors.in[3], tensors.input(3));
    op.half = view_of("half", tensors.out[0], tensors.output(0));
    op.full = view_of("full", tensors.out[1], tensors.output(1));
    expect_patches(op.src);
    expect_batch("maps", op.maps, op.src.size[0]);
    expect_size("bgr", op.bgr, op.src.size[0], op.src.size[2], op.src.size[3]);
    expect_channels("half", op.half, op.maps.size[1] + 6);
    expect_channels("full", op.full, 6);
    expect_size("half", op.half, op.indices.size[2], half_side(), half_side());
    expect_size("full", op.full, op.indices.size[2], full_side(), full_side());
    return op;
  }

  size_t workspace(const nvinfer1::Dims*) const { return 0; }
  static void run(const Call& op, void*, CudaStream cuda_stream) { patch_crop(op, cuda_stream); }

 private:
  int half_side() const { return kernel_ == 3 ? 8 : 2; }
  int full_side() const { return kernel_ == 3 ? 8 : 4; }

  int32_t kernel_ = 3;
  int32_t type_ = 1;
  FrameLayout frame_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* patch_crop_creator() {
  static Creator<PatchCropFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
