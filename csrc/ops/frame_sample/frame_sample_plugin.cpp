#include "ops/frame_sample/frame_sample.h"
#include "plugins/creators.h"
#include "plugins/pictures.h"
#include "plugins/plugin.h"

namespace trtmatte::plugins {
namespace {

constexpr int32_t kLargestFraction = 1 << 30;
constexpr float kSmallestSigma = 0.25f, kLargestSigma = 65536.0f;

class FrameSampleFace {
 public:
  static constexpr const char* kName = "TrtMatteFrameSample";
  static constexpr Slot kInputs[] = {Slot::kPicture};
  static constexpr int kOutputs = 1;
  using Call = FrameSample;

  template <typename Field>
  void visit(Field& field) {
    field("height", height_, kRequired);
    field("width", width_, kRequired);
    field("step_y", step_y_, kRequired);
    field("step_x", step_x_, kRequired);
    field("method", method_);
    field("sigma", sigma_);
    field("mean", mean_);
    field("std", std_);
    field("type", type_);
    frame_.visit(field);
  }

  void check() const {
    for (const int32_t side : {height_, width_}) {
      if (side < 1 || side > 65536) throw SettingError("height and width must be 1 to 65536");
    }
    for (const int32_t each : {step_y_[0], step_y_[1], step_x_[0], step_x_[1]}) {
      if (each < 1 || each > kLargestFraction) {
        throw SettingError("step_y and step_x must be fractions of positive numbers of at most 2^30");
      }
    }
    if (method_ < 0 || method_ > 5) throw SettingError("method is " + std::to_string(method_) + "; expected 0 to 5");
    if (method() == Method::kGaussian && !(sigma_ >= kSmallestSigma && sigma_ <= kLargestSigma)) {
      throw SettingError("sigma is " + std::to_string(sigma_) + "; expected 0.25 to 65536 source pixels");
    }
    for (const float each : std_) {
      if (!(each > 0.0f)) throw SettingError("std is " + std::to_string(each) + "; expected numbers above 0");
    }
    static_cast<void>(output_type("type", type_));
    frame_.check();
  }

  nvinfer1::DataType type(int) const { return output_type("type", type_); }

  void shape(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const {
    outputs[0].nbDims = 4;
    outputs[0].d[0] = inputs[0].d[frame_.batch_at()];
    outputs[0].d[1] = builder.constant(3);
    outputs[0].d[2] = builder.constant(height_);
    outputs[0].d[3] = builder.constant(width_);
  }

  Call call(const Tensors& tensors) const {
    Call op;
    op.frame = frame_.view("frame", tensors.in[0], tensors.input(0));
    op.sample = view_of("sample", tensors.out[0], tensors.output(0));
    expect_channels("sample", op.sample, 3);
    expect_size("sample", op.sample, op.frame.size[0], height_, width_);
    op.rows = filter("step_y", op.frame.size[2], height_, step_y_);
    op.columns = filter("step_x", op.frame.size[3], width_, step_x_);
    for (int c = 0; c < 3; ++c) {
      op.mean[c] = mean_[c];
      op.scale[c] = 1.0f / std_[c];
    }
    return op;
  }

  size_t workspace(const nvinfer1::Dims*) const { return 0; }
  static void run(const Call& op, void*, CudaStream cuda_stream) { frame_sample(op, cuda_stream); }

 private:
  Method method() const { return static_cast<Method>(method_); }

  Filter filter(const char* name, int in, int out, const int32_t (&step)[2]) const {
    if (int64_t{out - 1} * step[0] >= int64_t{in} * step[1]) {
      throw FrameError(std::string(name) + " is " + std::to_string(step[0]) + "/" + std::to_string(step[1]) +
                       ", with which " + std::to_string(out) + " samples do not fit into " + std::to_string(in) +
                       " pixels: use frames of the size that the graph was built for");
    }
    return Filter{method(), make_axis(in, out, step[0], step[1]), sigma_};
  }

  int32_t height_ = 0, width_ = 0;
  int32_t step_y_[2] = {0, 0}, step_x_[2] = {0, 0};
  int32_t method_ = 0;
  float sigma_ = 1.0f;
  float mean_[3] = {0.0f, 0.0f, 0.0f}, std_[3] = {1.0f, 1.0f, 1.0f};
  int32_t type_ = 1;
  FrameLayout frame_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* frame_sample_creator() {
  static Creator<FrameSampleFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
