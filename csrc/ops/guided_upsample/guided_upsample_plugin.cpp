#include "ops/guided_upsample/guided_upsample.h"
#include "plugins/creators.h"
#include "plugins/pictures.h"
#include "plugins/plugin.h"

namespace trtmatte::plugins {
namespace {

class GuidedUpsampleFace : public MatteFace<0> {
 public:
  static constexpr const char* kName = "TrtMatteGuidedUpsample";
  static constexpr Slot kInputs[] = {Slot::kPicture, Slot::kMaps, Slot::kMaps, Slot::kPicture};
  using Call = GuidedUpsample;

  Call call(const Tensors& tensors) const {
    Call op;
    op.frame = frame_.view("frame", tensors.in[0], tensors.input(0));
    op.A = view_of("A", tensors.in[1], tensors.input(1));
    op.b = view_of("b", tensors.in[2], tensors.input(2));
    expect_channels("A", op.A, 4);
    expect_channels("b", op.b, 4);
    expect_batch("A", op.A, op.frame.size[0]);
    expect_size("b", op.b, op.A.size[0], op.A.size[2], op.A.size[3]);
    op.sinks = matte_.sinks(tensors, 3, op.frame);
    return op;
  }

  static void run(const Call& op, void*, CudaStream cuda_stream) { guided_upsample(op, cuda_stream); }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* guided_upsample_creator() {
  static Creator<GuidedUpsampleFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
