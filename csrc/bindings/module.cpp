#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>

#include "base/errors.h"
#include "bindings/array.h"
#include "bindings/register.h"
#include "ops/cpu/simd_level.h"
#include "ops/math/outputs.h"
#include "runtime/copy.h"
#include "runtime/thread_pool.h"
#ifdef TRTMATTE_WITH_CUDA
#include "runtime/cuda.h"
#endif

namespace py = pybind11;

namespace trtmatte {
namespace {

const char* level_name(SimdLevel level) {
  return level == SimdLevel::kAvx512 ? "avx512" : level == SimdLevel::kAvx2 ? "avx2" : "baseline";
}

void choose_level(const std::string& name) {
  for (const SimdLevel level : {SimdLevel::kBaseline, SimdLevel::kAvx2, SimdLevel::kAvx512}) {
    if (name != level_name(level)) continue;
    if (level > best_simd_level()) {
      throw BackendError("this build cannot run '" + name + "' on this processor; it can run up to '" +
                         level_name(best_simd_level()) + "'");
    }
    return set_simd_level(level);
  }
  throw SettingError("instruction set '" + name + "' is unknown; expected 'baseline', 'avx2' or 'avx512'");
}

void choose_threads(int threads) {
  if (threads < 1 || threads > 1024) {
    throw SettingError("number of threads is " + std::to_string(threads) + "; expected 1 to 1024");
  }
  const py::gil_scoped_release unlocked;
  ThreadPool::instance().set_threads(threads);
}

std::vector<int64_t> byte_strides(const Array& array) {
  std::vector<int64_t> strides = array.strides;
  for (int64_t& stride : strides) stride *= size_of(array.dtype);
  return strides;
}

void copy_array(const py::object& to_object, const py::object& from_object) {
  const Array to = read_array(to_object, "to", nullptr), from = read_array(from_object, "source", nullptr);
  if (!to.on_host() || !from.on_host()) throw FrameError("copy takes arrays of the host");
  if (to.shape != from.shape || to.dtype != from.dtype) {
    throw FrameError("source is " + from.describe() + "; expected " + to.describe() + " as to");
  }
  expect_writable(to);
  expect_apart(to, from);
  const Copy copy{to.data, from.data, size_of(to.dtype), to.shape, byte_strides(to), byte_strides(from)};
  const py::gil_scoped_release unlocked;
  ThreadPool& pool = ThreadPool::instance();
  const ThreadPool::Lease lease = pool.lease();
  run_copy(copy, pool);
}

// What numpy may see of an array, after all checks.
py::buffer_info buffer_of(Array& array) {
  if (!array.on_host()) array.refuse("lives on a CUDA device; expected an array on the CPU");
  constexpr const char* kFormats[] = {"B", "e", "f", "i"};
  return py::buffer_info(array.data, size_of(array.dtype), kFormats[static_cast<int>(array.dtype)],
                         static_cast<py::ssize_t>(array.shape.size()), array.shape, byte_strides(array),
                         array.readonly);
}

// Throws if a session's outputs, by their names, cannot be written, or share memory with each other or with an input.
void expect_room(const py::dict& outputs, const py::dict& inputs) {
  std::vector<Array> arrays;
  const auto read = [&](const py::dict& named) {
    for (const auto& [name, object] : named) {
      arrays.push_back(read_array(object, name.cast<std::string>().c_str(), nullptr));
    }
  };
  read(outputs);
  const size_t written = arrays.size();
  read(inputs);
  for (size_t i = 0; i < written; ++i) {
    expect_writable(arrays[i]);
    for (size_t j = i + 1; j < arrays.size(); ++j) expect_apart(arrays[j], arrays[i]);
  }
}

// Messages may hold pieces of names that are no valid text.
void set_python_error(const char* kind, const char* message) {
  const auto text = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(message, static_cast<Py_ssize_t>(strlen(message)), "backslashreplace"));
  if (text) PyErr_SetObject(py::module_::import("trtmatte.errors").attr(kind).ptr(), text.ptr());
}

void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const FrameError& e) {
    set_python_error("FrameError", e.what());
  } catch (const SettingError& e) {
    set_python_error("SettingError", e.what());
  } catch (const BackendError& e) {
    set_python_error("BackendError", e.what());
  }
}

}  // namespace
}  // namespace trtmatte

PYBIND11_MODULE(_core, m) {
  using namespace trtmatte;
  m.doc() = "The native ops. Use trtmatte.ops, which is their face.";
  py::register_exception_translator(&translate);

#ifdef TRTMATTE_WITH_CUDA
  m.attr("CUDA_BUILT") = true;
  m.attr("CUDA_ARCHITECTURES") = TRTMATTE_CUDA_ARCHITECTURES;
  m.def("cuda_device_count", &device_count);
#else
  m.attr("CUDA_BUILT") = false;
  m.attr("CUDA_ARCHITECTURES") = "";
  m.def("cuda_device_count", [] { return 0; });
#endif
  py::dict outputs;
  for (const Output& output : kOutputs) outputs[output.name] = output.channels;
  m.attr("OUTPUTS") = outputs;
  m.def("set_num_threads", &choose_threads, py::arg("threads"));
  m.def("get_num_threads", [] { return ThreadPool::instance().workers(); });
  m.def("available_processors", &available_processors);
  m.def("copy", &copy_array, py::arg("to"), py::arg("source"));
  py::class_<Array>(m, "Array", py::buffer_protocol()).def_buffer(&buffer_of).def_readonly("shape", &Array::shape);
  m.def(
      "read", [](const py::object& object, const char* name) { return read_array(object, name, nullptr); },
      py::arg("array"), py::arg("name"));
  m.def("expect_room", &expect_room, py::arg("outputs"), py::arg("inputs"));
  m.def("allocations", [] { return ThreadPool::instance().allocations(); });
  m.def("set_instruction_set", &choose_level, py::arg("name"));
  m.def("instruction_set", [] { return level_name(simd_level()); });
  m.def("best_instruction_set", [] { return level_name(best_simd_level()); });

#define TRTMATTE_REGISTER(name, Op, compilation) register_##name(m);
  TRTMATTE_OPS(TRTMATTE_REGISTER)
#undef TRTMATTE_REGISTER
}
