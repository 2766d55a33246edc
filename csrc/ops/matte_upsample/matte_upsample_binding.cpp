#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "ops/matte_upsample/matte_upsample.h"
#include "ops/matte_upsample/matte_upsample_math.h"

namespace py = pybind11;

namespace trtmatte {
namespace {

void bound(const py::object& frame, const py::object& alpha, const py::object& colours, const std::string& method,
           const py::dict& out, const py::object& background, const std::string& frame_layout,
           const std::string& layout, const std::string& color, const py::object& cuda_stream) {
  Call call(cuda_stream, color);
  MatteUpsample op;
  op.frame = call.frame(frame, "frame", frame_layout);
  op.alpha = call.maps(alpha, "alpha", std::nullopt);
  expect_alpha(op.alpha, "alpha");
  if (!colours.is_none()) op.colours = call.maps(colours, "colours", 6);
  op.method = method_named(method);
  if (!upsamples(op.method)) {
    throw SettingError("method is '" + method + "'; expected 'linear', 'area', 'lanczos' or 'bicubic'");
  }
  if (op.alpha.size[1] == kAlphaOfColour && op.method != Method::kLinear) {
    throw SettingError("method is '" + method + "'; alpha has 4 channels, which are sampled with 'linear' alone");
  }
  const Size size = size_of_frame(op.frame);
  expect_batch(op.alpha, "alpha", size.batch);
  if (op.colours) expect_batch(op.colours, "colours", size.batch);
  op.sinks = call.sinks(out, background, layout, size);
  TRTMATTE_RUN(call, matte_upsample(op, pool), matte_upsample(op, call.cuda_stream()));
}

}  // namespace

void register_matte_upsample(py::module_& m) {
  m.def("matte_upsample", &bound, py::arg("frame"), py::arg("alpha"), py::arg("colours") = py::none(), py::kw_only(),
        py::arg("method") = "linear", py::arg("out"), py::arg("background") = py::none(), py::arg("frame_layout") = "",
        py::arg("layout") = "HWC", py::arg("color") = "rgb", py::arg("cuda_stream") = py::none());
}

}  // namespace trtmatte
