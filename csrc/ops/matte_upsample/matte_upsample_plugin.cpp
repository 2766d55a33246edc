#include "ops/math/alpha.h"
#include "ops/matte_upsample/matte_upsample.h"
#include "ops/matte_upsample/matte_upsample_math.h"
#include "plugins/creators.h"
#include "plugins/pictures.h"
#include "plugins/plugin.h"

namespace trtmatte::plugins {
namespace {

class MatteUpsampleFace : public MatteFace<0> {
 public:
  static constexpr const char* kName = "TrtMatteMatteUpsample";
  static constexpr Slot kInputs[] = {Slot::kPicture, Slot::kMaps, Slot::kMaps, Slot::kPicture};
  using Call = MatteUpsample;

  template <typename Field>
  void visit(Field& field) {
    field("method", method_);
    MatteFace::visit(field);
  }

  void check() const {
    if (!upsamples(static_cast<Method>(method_))) {
      throw SettingError("method is " + std::to_string(method_) +
                         "; expected 0 (linear), 1 (area), 4 (lanczos) or 5 (bicubic)");
    }
    MatteFace::check();
  }

  Call call(const Tensors& tensors) const {
    Call op;
    op.frame = frame_.view("frame", tensors.in[0], tensors.input(0));
    op.alpha = view_of("alpha", tensors.in[1], tensors.input(1));
    op.colours = view_of("colours", tensors.in[2], tensors.input(2));
    expect_alpha("alpha", op.alpha);
    expect_channels("colours", op.colours, 6);
    expect_batch("alpha", op.alpha, op.frame.size[0]);
    expect_batch("colours", op.colours, op.frame.size[0]);
    op.method = static_cast<Method>(method_);
    if (op.alpha.size[1] == kAlphaOfColour && op.method != Method::kLinear) {
      throw FrameError("alpha has 4 channels, which are sampled with method 0 (linear) alone");
    }
    op.sinks = matte_.sinks(tensors, 3, op.frame);
    return op;
  }

  static void run(const Call& op, void*, CudaStream cuda_stream) { matte_upsample(op, cuda_stream); }

 private:
  int32_t method_ = 0;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* matte_upsample_creator() {
  static Creator<MatteUpsampleFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
