#include "bindings/call.h"

#include <algorithm>
#include <iterator>

namespace py = pybind11;

namespace trtmatte {

namespace {

constexpr int kWorkspaceAlignment = 16;

[[noreturn]] void refuse(const Array& array, const std::string& problem) {
  throw FrameError(array.name + " is " + array.describe() + "; " + problem);
}

// `dims` names the array's dimensions that become N, C, H, W; -1 stands for a missing one.
View view_of(const Array& array, const int (&dims)[4]) {
  View view;
  view.data = array.data;
  view.dtype = array.dtype;
  for (int i = 0; i < 4; ++i) {
    const int64_t size = dims[i] < 0 ? 1 : array.shape[static_cast<size_t>(dims[i])];
    if (size < 1) refuse(array, "expected at least one element in every dimension");
    const int64_t limit = i == 0 ? INT32_MAX : kLongestSide;
    if (size > limit) refuse(array, "expected sides of at most " + std::to_string(limit));
    view.size[i] = static_cast<int>(size);
    view.stride[i] = dims[i] < 0 ? 0 : array.strides[static_cast<size_t>(dims[i])];
  }
  return view;
}

bool is_layout(const std::string& layout) { return layout == "HWC" || layout == "CHW"; }

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
  }
  return text + ")";
}

void expect_outputs(const py::dict& out) {
  for (const auto& [key, array] : out) {
    const auto name = py::str(key).cast<std::string>();
    const bool known = std::any_of(std::begin(kOutputs), std::end(kOutputs),
                                   [&name](const Output& output) { return name == output.name; });
    if (!known) throw SettingError("output is '" + name + "'; expected one of " + kOutputNames);
  }
}

}  // namespace

Size size_of_frame(const View& frame) { return Size{frame.size[0], frame.size[2], frame.size[3]}; }

Call::Call(const py::object& cuda_stream, const std::string& color) : bgr_(color == "bgr") {
  if (color != "rgb" && color != "bgr") throw SettingError("color is '" + color + "'; expected 'rgb' or 'bgr'");
  if (!cuda_stream.is_none()) cuda_stream_ = reinterpret_cast<void*>(cuda_stream.cast<uintptr_t>());
}

const Array& Call::add(py::handle object, const char* name, bool written) {
  entries_.push_back(Entry{read_array(object, name, cuda_stream_), written});
  const Array& array = entries_.back().array;
  if (written) expect_writable(array);
  if (device_known_ && array.device != device_) {
    const auto place = [](int device) {
      return device < 0 ? std::string("the CPU") : "CUDA device " + std::to_string(device);
    };
    refuse(array, "it lives on " + place(array.device) + " while " + entries_.front().array.name + " lives on " +
                      place(device_) + ": move one of them");
  }
  device_ = array.device;
  device_known_ = true;
  if (!on_host() && !cuda_stream_) {
    throw FrameError(array.name + " lives on a CUDA device: pass the CUDA stream to work on (stream=…)");
  }
  return array;
}

View Call::picture(const Array& array, int channels, const std::string& layout) const {
  const size_t rank = array.shape.size();
  const auto wants = [&](const char* shapes) {
    refuse(array, "expected " + std::string(shapes) + " with " + std::to_string(channels) + " channel" +
                      (channels == 1 ? "" : "s"));
  };
  if (!layout.empty() && !is_layout(layout)) {
    throw SettingError("layout is '" + layout + "'; expected 'HWC' or 'CHW'");
  }
  if (channels == 1 && rank == 2) return view_of(array, {-1, -1, 0, 1});
  if (rank != 3 && rank != 4) wants("(H, W, C) or (C, H, W), with or without a batch in front,");
  const int first = rank == 4 ? 1 : 0;
  const int batch = rank == 4 ? 0 : -1;
  const bool last_fits = array.shape[rank - 1] == channels, first_fits = array.shape[first] == channels;
  const bool hwc = layout == "HWC" || (layout.empty() && last_fits);
  if (hwc ? !last_fits : !first_fits) {
    wants(layout.empty() ? "(H, W, C) or (C, H, W)" : layout == "HWC" ? "(H, W, C)" : "(C, H, W)");
  }
  return hwc ? view_of(array, {batch, first + 2, first, first + 1})
             : view_of(array, {batch, first, first + 1, first + 2});
}

View Call::frame(py::handle object, const char* name, const std::string& layout) {
  const Array& array = add(object, name, false);
  if (array.dtype == DType::kInt32) refuse(array, "expected uint8 (0…255), float16 or float32 (0…1)");
  return colours_of(picture(array, 3, layout), bgr_);
}

View Call::maps(py::handle object, const char* name, std::optional<int> channels) {
  const Array& array = add(object, name, false);
  const size_t rank = array.shape.size();
  if (array.dtype != DType::kFloat16 && array.dtype != DType::kFloat32) refuse(array, "expected float16 or float32");
  if (rank != 3 && rank != 4) refuse(array, "expected (N, C, h, w) or (C, h, w)");
  const View view = rank == 4 ? view_of(array, {0, 1, 2, 3}) : view_of(array, {-1, 0, 1, 2});
  if (channels && view.size[1] != *channels) refuse(array, "expected " + std::to_string(*channels) + " channels");
  return view;
}

View Call::plain(py::handle object, const char* name, bool written, DType dtype, std::vector<int64_t> shape) {
  const Array& array = add(object, name, written);
  const auto expected = [&] { return "expected " + std::string(name_of(dtype)) + " " + shape_text(shape); };
  if (array.dtype != dtype || array.shape.size() != shape.size()) refuse(array, expected());
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] >= 0 && array.shape[i] != shape[i]) refuse(array, expected());
  }
  const int rank = static_cast<int>(shape.size());
  View view;
  view.data = array.data;
  view.dtype = array.dtype;
  int64_t packed = 1;
  for (int i = 3; i >= 0; --i) {
    const int dim = i - (4 - rank);
    const int64_t size = dim < 0 ? 1 : array.shape[static_cast<size_t>(dim)];
    if (size > INT32_MAX) refuse(array, "expected sizes of at most " + std::to_string(INT32_MAX));
    view.size[i] = static_cast<int>(size);
    view.stride[i] = dim < 0 ? 0 : array.strides[static_cast<size_t>(dim)];
    if (written && view.size[i] > 1 && view.stride[i] != packed)
      refuse(array, "expected packed memory: pass a contiguous array");
    packed *= view.size[i];
  }
  return view;
}

View Call::written_maps(py::handle object, const char* name, const std::vector<int64_t>& shape) {
  const Array& array = add(object, name, true);
  if (array.dtype != DType::kFloat16 && array.dtype != DType::kFloat32) refuse(array, "expected float16 or float32");
  std::vector<int64_t> got = array.shape;
  if (got.size() == 3 && shape[0] == 1) got.insert(got.begin(), 1);
  const bool fits = got.size() == shape.size() && std::equal(got.begin(), got.end(), shape.begin(),
                                                             [](int64_t a, int64_t b) { return b < 0 || a == b; });
  if (!fits) refuse(array, "expected " + shape_text(shape));
  return array.shape.size() == 4 ? view_of(array, {0, 1, 2, 3}) : view_of(array, {-1, 0, 1, 2});
}

OutputView Call::output(py::handle object, const Output& output, const std::string& layout, const Size& size) {
  const Array& array = add(object, output.name, true);
  if (array.dtype == DType::kInt32) refuse(array, "expected uint8, float16 or float32");
  const View view = picture(array, output.channels, layout);
  if (view.size[0] != size.batch || view.size[2] != size.height || view.size[3] != size.width) {
    refuse(array, "expected the frame's batch of " + std::to_string(size.batch) + " and its size of " +
                      std::to_string(size.width) + "x" + std::to_string(size.height));
  }
  return output_view(view, bgr_);
}

Sinks Call::sinks(const py::dict& out, py::handle background, const std::string& layout, const Size& size) {
  expect_outputs(out);
  Sinks sinks;
  const Output* reader = nullptr;  // an output that needs the background
  bool any = false;
  for (int i = 0; i < kOutputCount; ++i) {
    const py::handle object = PyDict_GetItemString(out.ptr(), kOutputs[i].name);
    if (!object || object.is_none()) continue;
    sinks.output[i] = output(object, kOutputs[i], layout, size);
    if (kOutputs[i].reads_background) reader = &kOutputs[i];
    any = true;
  }
  if (!any) throw FrameError(std::string("no output was given; expected at least one of ") + kOutputNames);
  if (reader) {
    if (background.is_none()) {
      throw FrameError(std::string(reader->name) + " needs a background: a colour, or a picture of any size");
    }
    sinks.background = frame(background, "background", "");
    if (sinks.background.size[0] != 1 && sinks.background.size[0] != size.batch) {
      refuse(entries_.back().array, "expected one picture, or " + std::to_string(size.batch) + ", one for each frame");
    }
  }
  return sinks;
}

void* Call::workspace(py::handle object, size_t bytes) {
  if (on_host()) return nullptr;
  if (object.is_none()) {
    throw FrameError("workspace is missing; expected at least " + std::to_string(bytes) +
                     " bytes (uint8) on the device");
  }
  const Array& array = add(object, "workspace", true);
  int64_t held = size_of(array.dtype);
  for (const int64_t size : array.shape) held *= size;
  if (held < static_cast<int64_t>(bytes)) refuse(array, "expected at least " + std::to_string(bytes) + " bytes");
  const Array::Range range = array.range();
  if (range.end - range.begin != held) refuse(array, "expected packed memory: pass a contiguous array");
  if (range.begin % kWorkspaceAlignment != 0) {
    refuse(array, "expected an address that is a multiple of " + std::to_string(kWorkspaceAlignment));
  }
  return reinterpret_cast<void*>(range.begin);
}

void Call::check_overlap() const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (!entries_[i].written && !entries_[j].written) continue;
      expect_apart(entries_[j].array, entries_[i].array);
    }
  }
}

}  // namespace trtmatte
