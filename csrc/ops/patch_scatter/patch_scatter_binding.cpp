#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "ops/patch_scatter/patch_scatter.h"

namespace py = pybind11;

namespace trtmatte {
namespace {

void bound(const py::object& coarse, const py::object& patches, const py::object& indices, const py::object& frame,
           const py::dict& out, const py::object& background, const std::string& frame_layout,
           const std::string& layout, const std::string& color, const py::object& cuda_stream,
           const py::object& workspace) {
  Call call(cuda_stream, color);
  PatchScatter op;
  op.frame = call.frame(frame, "frame", frame_layout);
  op.coarse = call.maps(coarse, "coarse", 4);
  expect_multiple_of_4(op.frame, "frame");
  const Size size = size_of_frame(op.frame);
  expect_batch(op.coarse, "coarse", size.batch);
  op.indices = call.plain(indices, "indices", false, DType::kInt32, {-1, 3});
  op.patches = call.maps(patches, "patches", 4);
  expect_batch(op.patches, "patches", op.indices.size[2]);
  if (op.patches.size[2] != kPatch || op.patches.size[3] != kPatch) {
    throw FrameError("patches is " + size_text(op.patches) + "; expected patches of 4x4 pixels");
  }
  op.sinks = call.sinks(out, background, layout, size);
  void* memory = call.workspace(workspace, patch_scatter_workspace(op));
  static_cast<void>(memory);
  TRTMATTE_RUN(call, patch_scatter(op, pool), patch_scatter(op, memory, call.cuda_stream()));
}

int64_t workspace_bytes(int batch, int height, int width) {
  if (batch < 1 || height < 1 || width < 1 || height > kLongestSide || width > kLongestSide) {
    throw SettingError("the frames are " + std::to_string(batch) + " of " + std::to_string(width) + "x" +
                       std::to_string(height) + " pixels; expected at least 1, and sides of 1 to 65536");
  }
  PatchScatter op;
  op.frame.size[0] = batch;
  op.frame.size[2] = height;
  op.frame.size[3] = width;
  return static_cast<int64_t>(patch_scatter_workspace(op));
}

}  // namespace

void register_patch_scatter(py::module_& m) {
  m.def("patch_scatter", &bound, py::arg("coarse"), py::arg("patches"), py::arg("indices"), py::arg("frame"),
        py::kw_only(), py::arg("out"), py::arg("background") = py::none(), py::arg("frame_layout") = "",
        py::arg("layout") = "HWC", py::arg("color") = "rgb", py::arg("cuda_stream") = py::none(),
        py::arg("workspace") = py::none());
  m.def("patch_scatter_workspace", &workspace_bytes, py::arg("batch"), py::arg("height"), py::arg("width"));
}

}  // namespace trtmatte
