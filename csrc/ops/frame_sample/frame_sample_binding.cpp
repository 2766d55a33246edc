#include <array>
#include <optional>
#include <utility>

#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "ops/frame_sample/frame_sample.h"

namespace py = pybind11;

namespace trtmatte {
namespace {

constexpr float kSmallestSigma = 0.25f;  // a smaller one may give no source pixel a weight
constexpr float kLargestSigma = 65536.0f;

Filter filter_of(Method method, int in, int out, const std::optional<std::pair<int64_t, int64_t>>& step, float sigma,
                 const char* name) {
  if (!step) return Filter{method, make_axis(in, out), sigma};
  constexpr int64_t kMost = int64_t{1} << 30;
  if (step->first < 1 || step->second < 1 || step->first > kMost || step->second > kMost) {
    throw SettingError(std::string(name) + " is " + std::to_string(step->first) + "/" + std::to_string(step->second) +
                       "; expected a fraction of positive numbers below 2^30");
  }
  if ((out - 1) * step->first >= in * step->second) {
    throw SettingError(std::string(name) + " is " + std::to_string(step->first) + "/" + std::to_string(step->second) +
                       "; expected one with which " + std::to_string(out) + " samples fit into " + std::to_string(in) +
                       " pixels");
  }
  return Filter{method, make_axis(in, out, step->first, step->second), sigma};
}

void bound(const py::object& frame, const py::object& sample, const std::optional<std::pair<int64_t, int64_t>>& step_y,
           const std::optional<std::pair<int64_t, int64_t>>& step_x, const std::string& method, float sigma,
           const std::array<float, 3>& mean, const std::array<float, 3>& std, const std::string& frame_layout,
           const std::string& color, const py::object& cuda_stream) {
  Call call(cuda_stream, color);
  FrameSample op;
  op.frame = call.frame(frame, "frame", frame_layout);
  op.sample = call.written_maps(sample, "sample", {op.frame.size[0], 3, -1, -1});
  const Method chosen = method_named(method);
  if (chosen == Method::kGaussian && !(sigma >= kSmallestSigma && sigma <= kLargestSigma)) {
    throw SettingError("sigma is " + std::to_string(sigma) + "; expected 0.25 to 65536 source pixels");
  }
  op.rows = filter_of(chosen, op.frame.size[2], op.sample.size[2], step_y, sigma, "step_y");
  op.columns = filter_of(chosen, op.frame.size[3], op.sample.size[3], step_x, sigma, "step_x");
  for (size_t c = 0; c < 3; ++c) {
    if (!(std[c] > 0.0f)) throw SettingError("std is " + std::to_string(std[c]) + "; expected numbers above 0");
    op.mean[c] = mean[c];
    op.scale[c] = 1.0f / std[c];
  }
  TRTMATTE_RUN(call, frame_sample(op, pool), frame_sample(op, call.cuda_stream()));
}

}  // namespace

void register_frame_sample(py::module_& m) {
  m.def("frame_sample", &bound, py::arg("frame"), py::arg("sample"), py::kw_only(), py::arg("step_y") = py::none(),
        py::arg("step_x") = py::none(), py::arg("method") = "linear", py::arg("sigma") = 1.0f,
        py::arg("mean") = std::array<float, 3>{0.0f, 0.0f, 0.0f},
        py::arg("std") = std::array<float, 3>{1.0f, 1.0f, 1.0f}, py::arg("frame_layout") = "", py::arg("color") = "rgb",
        py::arg("cuda_stream") = py::none());
}

}  // namespace trtmatte
