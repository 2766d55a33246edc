#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "ops/foreground_estimate/foreground_estimate.h"

namespace py = pybind11;

namespace trtmatte {
namespace {

void bound(const py::object& frame, const py::object& alpha, const py::object& colours, const std::string& frame_layout,
           const std::string& color, const py::object& workspace, const py::object& cuda_stream) {
  Call call(cuda_stream, color);
  ForegroundEstimate op;
  op.frame = call.frame(frame, "frame", frame_layout);
  op.alpha = call.maps(alpha, "alpha", std::nullopt);
  expect_alpha(op.alpha, "alpha");
  expect_batch(op.alpha, "alpha", op.frame.size[0]);
  op.colours = call.written_maps(colours, "colours", {op.frame.size[0], kEstimates, kGrid, kGrid});
  void* memory = call.workspace(workspace, kForegroundWorkspace);
  static_cast<void>(memory);
  TRTMATTE_RUN(call, foreground_estimate(op, pool), foreground_estimate(op, memory, call.cuda_stream()));
}

}  // namespace

void register_foreground_estimate(py::module_& m) {
  m.def("foreground_estimate", &bound, py::arg("frame"), py::arg("alpha"), py::arg("colours"), py::kw_only(),
        py::arg("frame_layout") = "", py::arg("color") = "rgb", py::arg("workspace") = py::none(),
        py::arg("cuda_stream") = py::none());
  m.def("foreground_estimate_workspace", [] { return static_cast<int64_t>(kForegroundWorkspace); });
}

}  // namespace trtmatte
