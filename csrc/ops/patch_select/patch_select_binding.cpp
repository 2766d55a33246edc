#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "ops/patch_select/patch_select.h"

namespace py = pybind11;

namespace trtmatte {
namespace {

void bound(const py::object& err, const py::object& indices, const py::object& count, const py::object& ref, int rows,
           int columns, const std::string& mode, int k, float threshold, bool prevent_oversampling,
           const py::object& workspace, const py::object& cuda_stream) {
  Call call(cuda_stream, "rgb");
  PatchSelect op;
  op.err = call.maps(err, "err", 1);
  op.rows = rows;
  op.columns = columns;
  expect_countable(op);
  if (mode != "sampling" && mode != "thresholding") {
    throw SettingError("mode is '" + mode + "'; expected 'sampling' or 'thresholding'");
  }
  op.mode = mode == "sampling" ? SelectMode::kSampling : SelectMode::kThresholding;
  op.k = k;
  op.threshold = threshold;
  op.prevent_oversampling = prevent_oversampling;
  if (op.mode == SelectMode::kSampling && (k < 1 || k > grid_of(op))) {
    throw SettingError("k is " + std::to_string(k) + "; expected 1 to " + std::to_string(grid_of(op)) +
                       ", the number of patches of an image: sample fewer pixels, or give a larger picture");
  }
  if (threshold != threshold) throw SettingError("threshold is not a number");
  op.indices = call.plain(indices, "indices", true, DType::kInt32, {-1, 3});
  op.count = call.plain(count, "count", true, DType::kInt32, {1});
  if (!ref.is_none()) op.ref = call.plain(ref, "ref", true, DType::kFloat32, {op.err.size[0], 1, rows, columns});
  void* memory = call.workspace(workspace, patch_select_workspace(op));
  static_cast<void>(memory);
  TRTMATTE_RUN(call, patch_select(op, pool), patch_select(op, memory, call.cuda_stream()));
}

int64_t workspace_bytes(int batch, int rows, int columns) {
  if (batch < 1) throw SettingError("batch is " + std::to_string(batch) + "; expected at least 1");
  PatchSelect op;
  op.err.size[0] = batch;
  op.rows = rows;
  op.columns = columns;
  expect_countable(op);
  return static_cast<int64_t>(patch_select_workspace(op));
}

}  // namespace

void register_patch_select(py::module_& m) {
  m.def("patch_select", &bound, py::arg("err"), py::arg("indices"), py::arg("count"), py::arg("ref") = py::none(),
        py::kw_only(), py::arg("rows"), py::arg("columns"), py::arg("mode") = "sampling", py::arg("k") = 1,
        py::arg("threshold") = 0.1f, py::arg("prevent_oversampling") = true, py::arg("workspace") = py::none(),
        py::arg("cuda_stream") = py::none());
  m.def("patch_select_workspace", &workspace_bytes, py::arg("batch"), py::arg("rows"), py::arg("columns"));
}

}  // namespace trtmatte
