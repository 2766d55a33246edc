#include "ops/patch_scatter/patch_scatter.h"
#include "plugins/creators.h"
#include "plugins/pictures.h"
#include "plugins/plugin.h"

namespace trtmatte::plugins {
namespace {

class PatchScatterFace : public MatteFace<3> {
 public:
  static constexpr const char* kName = "TrtMattePatchScatter";
  static constexpr Slot kInputs[] = {Slot::kMaps, Slot::kMaps, Slot::kIndices, Slot::kPicture, Slot::kPicture};
  using Call = PatchScatter;

  Call call(const Tensors& tensors) const {
    Call op;
    op.coarse = view_of("coarse", tensors.in[0], tensors.input(0));
    op.patches = view_of("patches", tensors.in[1], tensors.input(1));
    op.indices = indices_of("indices", tensors.in[2], tensors.input(2));
    op.frame = frame_.view("frame", tensors.in[3], tensors.input(3));
    expect_patches(op.frame);
    expect_channels("coarse", op.coarse, 4);
    expect_batch("coarse", op.coarse, op.frame.size[0]);
    expect_channels("patches", op.patches, 4);
    expect_size("patches", op.patches, op.indices.size[2], kPatch, kPatch);
    op.sinks = matte_.sinks(tensors, 4, op.frame);
    return op;
  }

  size_t workspace(const nvinfer1::Dims* largest) const {
    Call op;
    const int dims[4] = {frame_.batch_at(), 1, frame_.height_at(), frame_.width_at()};
    for (const int i : {0, 2, 3}) op.frame.size[i] = size_at("frame", largest[3], dims[i]);
    return patch_scatter_workspace(op);
  }
  static void run(const Call& op, void* workspace, CudaStream cuda_stream) {
    patch_scatter(op, workspace, cuda_stream);
  }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* patch_scatter_creator() {
  static Creator<PatchScatterFace> creator;
  return &creator;
}

}  // namespace trtmatte::plugins
