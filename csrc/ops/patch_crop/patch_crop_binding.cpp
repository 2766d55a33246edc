#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "ops/patch_crop/patch_crop.h"

namespace py = pybind11;

namespace trtmatte {
namespace {

void bound(const py::object& maps, const py::object& src, const py::object& bgr, const py::object& indices,
           const py::object& half, const py::object& full, int kernel, const std::string& frame_layout,
           const std::string& color, const py::object& cuda_stream) {
  Call call(cuda_stream, color);
  PatchCrop op;
  op.src = call.frame(src, "src", frame_layout);
  op.bgr = call.frame(bgr, "bgr", frame_layout);
  op.maps = call.maps(maps, "maps", {});
  if (kernel != 1 && kernel != 3) throw SettingError("kernel is " + std::to_string(kernel) + "; expected 1 or 3");
  expect_multiple_of_4(op.src, "src");
  expect_same_size(op.src, "src", op.bgr, "bgr");
  expect_batch(op.maps, "maps", op.src.size[0]);
  op.indices = call.plain(indices, "indices", false, DType::kInt32, {-1, 3});
  const int64_t patches = op.indices.size[2], half_side = kernel == 3 ? 8 : 2, full_side = kernel == 3 ? 8 : 4;
  op.half = call.written_maps(half, "half", {patches, op.maps.size[1] + 6, half_side, half_side});
  op.full = call.written_maps(full, "full", {patches, 6, full_side, full_side});
  TRTMATTE_RUN(call, patch_crop(op, pool), patch_crop(op, call.cuda_stream()));
}

}  // namespace

void register_patch_crop(py::module_& m) {
  m.def("patch_crop", &bound, py::arg("maps"), py::arg("src"), py::arg("bgr"), py::arg("indices"), py::arg("half"),
        py::arg("full"), py::kw_only(), py::arg("kernel") = 3, py::arg("frame_layout") = "", py::arg("color") = "rgb",
        py::arg("cuda_stream") = py::none());
}

}  // namespace trtmatte
