#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "ops/guided_upsample/guided_upsample.h"

namespace py = pybind11;

namespace trtmatte {
namespace {

void bound(const py::object& frame, const py::object& A, const py::object& b, const py::dict& out,
           const py::object& background, const std::string& frame_layout, const std::string& layout,
           const std::string& color, const py::object& cuda_stream) {
  Call call(cuda_stream, color);
  GuidedUpsample op;
  op.frame = call.frame(frame, "frame", frame_layout);
  op.A = call.maps(A, "A", 4);
  op.b = call.maps(b, "b", 4);
  const Size size = size_of_frame(op.frame);
  expect_batch(op.A, "A", size.batch);
  expect_same_size(op.A, "A", op.b, "b");
  op.sinks = call.sinks(out, background, layout, size);
  TRTMATTE_RUN(call, guided_upsample(op, pool), guided_upsample(op, call.cuda_stream()));
}

}  // namespace

void register_guided_upsample(py::module_& m) {
  m.def("guided_upsample", &bound, py::arg("frame"), py::arg("A"), py::arg("b"), py::kw_only(), py::arg("out"),
        py::arg("background") = py::none(), py::arg("frame_layout") = "", py::arg("layout") = "HWC",
        py::arg("color") = "rgb", py::arg("cuda_stream") = py::none());
}

}  // namespace trtmatte
