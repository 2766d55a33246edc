#include "bindings/protocols.h"

#include "base/errors.h"
#include "bindings/dlpack.h"
#ifdef TRTMATTE_WITH_CUDA
#include "runtime/cuda.h"
#endif

namespace py = pybind11;

namespace trtmatte {

namespace {

std::string type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

Array from_buffer(py::handle object, const char* name) {
  auto* view = new Py_buffer{};
  const std::shared_ptr<void> owner(view, [](void* held) {
    const py::gil_scoped_acquire gil;
    auto* buffer = static_cast<Py_buffer*>(held);
    PyBuffer_Release(buffer);
    delete buffer;
  });
  bool readonly = false;
  if (PyObject_GetBuffer(object.ptr(), view, PyBUF_FULL) != 0) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) throw py::error_already_set();
    PyErr_Clear();
    readonly = true;
    if (PyObject_GetBuffer(object.ptr(), view, PyBUF_FULL_RO) != 0) throw py::error_already_set();
  }
  Array array;
  array.name = name;
  array.data = view->buf;
  array.readonly = readonly || view->readonly;
  array.owner = owner;
  std::string format = view->format ? view->format : "B";
  if (!format.empty() && std::string("@=<").find(format[0]) != std::string::npos) format.erase(0, 1);
  const char kind = format == "B"                    ? 'u'
                    : format == "e" || format == "f" ? 'f'
                    : format == "i" || format == "l" ? 'i'
                                                     : '?';
  if (kind == '?') {
    array.refuse("holds values of format '" + format + "'; expected uint8, float16, float32 or int32");
  }
  array.set_dtype(kind + std::to_string(view->itemsize));
  if (view->suboffsets) array.refuse("is an indirect buffer: pass a copy");
  if (view->ndim > 0 && !view->shape) array.refuse("is a buffer without sizes");
  array.set_shape(std::vector<int64_t>(view->shape, view->shape + view->ndim));
  if (view->strides) {
    array.set_byte_strides(std::vector<int64_t>(view->strides, view->strides + view->ndim));
  } else {
    array.set_packed();  // ctypes omits them
  }
  return array;
}

[[noreturn]] void break_protocol(const Array& array, const std::string& entry, const std::string& problem) {
  array.refuse("does not follow its array protocol: its " + entry + " is " + problem);
}

// Reads a tuple of numbers. Other sequences could be endless, or have another length with each look.
std::vector<int64_t> numbers_of(const Array& array, const char* entry, const py::object& value) {
  if (!PyTuple_CheckExact(value.ptr()) && !PyList_CheckExact(value.ptr())) {
    break_protocol(array, entry, "a " + type_name(value) + "; expected a tuple");
  }
  const auto tuple = py::reinterpret_steal<py::tuple>(PySequence_Tuple(value.ptr()));
  if (!tuple) throw py::error_already_set();
  std::vector<int64_t> numbers;
  for (const py::handle each : tuple) numbers.push_back(each.cast<int64_t>());
  return numbers;
}

void set_type(Array& array, const py::object& value) {
  if (!py::isinstance<py::str>(value)) break_protocol(array, "typestr", "a " + type_name(value) + "; expected a str");
  const auto type = value.cast<std::string>();
  if (type.empty() || std::string("<|=").find(type[0]) == std::string::npos) {
    array.refuse("holds values of type '" + type + "'; expected little-endian values");
  }
  array.set_dtype(type.substr(1));
}

// The memory of an interface that gives a buffer instead of a pointer: the elements must lie in it.
void set_memory(Array& array, const Array& bytes, int64_t offset) {
  const Array::Range outer = bytes.range();
  if (offset < 0 || offset > outer.end - outer.begin) array.refuse("reaches beyond its own buffer");
  array.data = static_cast<char*>(bytes.data) + offset;
  array.readonly = bytes.readonly;
  array.owner = bytes.owner;
  const Array::Range inner = array.range();
  if (inner.begin < outer.begin || inner.end > outer.end) array.refuse("reaches beyond its own buffer");
}

// Reads the dictionary of __array_interface__ or __cuda_array_interface__, which have the same entries. A copy of it,
// which does not change while it is read.
Array from_interface(py::handle object, const py::object& given, const char* name) {
  Array array;
  array.name = name;
  if (!PyDict_Check(given.ptr())) break_protocol(array, "interface", "a " + type_name(given) + "; expected a dict");
  const auto interface = py::reinterpret_steal<py::dict>(PyDict_Copy(given.ptr()));
  if (!interface) throw py::error_already_set();
  const auto entry = [&](const char* key) {
    return interface.contains(key) ? py::object(interface[key]) : py::object(py::none());
  };
  if (!entry("mask").is_none()) array.refuse("has a mask, which is not read: pass its values, for example filled(0)");
  set_type(array, interface["typestr"]);
  array.set_shape(numbers_of(array, "shape", interface["shape"]));
  if (const py::object strides = entry("strides"); !strides.is_none()) {
    array.set_byte_strides(numbers_of(array, "strides", strides));
  } else {
    array.set_packed();
  }
  const py::object data = entry("data");
  if (!py::isinstance<py::tuple>(data)) {
    const py::object offset = entry("offset");
    set_memory(array, from_buffer(data.is_none() ? object : py::handle(data), name),
               offset.is_none() ? 0 : offset.cast<int64_t>());
    return array;
  }
  const auto pair = data.cast<py::tuple>();
  if (pair.size() != 2) break_protocol(array, "data", "a tuple of " + std::to_string(pair.size()) + "; expected two");
  array.data = reinterpret_cast<void*>(pair[0].cast<uintptr_t>());
  array.readonly = pair[1].cast<bool>();
  auto* held = new py::object(py::reinterpret_borrow<py::object>(object));
  array.owner = std::shared_ptr<void>(held, [](void* kept) {
    const py::gil_scoped_acquire gil;
    delete static_cast<py::object*>(kept);
  });
  return array;
}

void expect_cuda_built(const char* name) {
#ifdef TRTMATTE_WITH_CUDA
  static_cast<void>(name);
#else
  throw BackendError(std::string(name) +
                     " lives on a CUDA device, but trtmatte was built without CUDA: pass arrays on the CPU, or "
                     "install it where nvcc is found (trtmatte.cuda_built() tells you if it was built with CUDA)");
#endif
}

Array from_cuda_interface(py::handle object, const py::object& given, const char* name) {
  Array array = from_interface(object, given, name);
  expect_cuda_built(name);
#ifdef TRTMATTE_WITH_CUDA
  array.device = device_of(array.data);
  if (array.on_host()) array.refuse("has a __cuda_array_interface__, but its memory belongs to no CUDA device");
#endif
  const py::object stream = given.attr("get")("stream");
  if (!stream.is_none()) {
    const auto handle = stream.cast<uintptr_t>();
    if (handle == 0) array.refuse("names stream 0 in its __cuda_array_interface__, which the protocol forbids");
    array.ready_on = reinterpret_cast<void*>(handle);
  }
  return array;
}

// Returns an attribute, or none if there is no such. Another error than that is passed on, unlike by py::hasattr.
py::object find(py::handle object, const char* attribute) {
  auto found = py::reinterpret_steal<py::object>(PyObject_GetAttrString(object.ptr(), attribute));
  if (found) return found;
  if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw py::error_already_set();
  PyErr_Clear();
  return py::none();
}

// numpy's own arrays, but not its subclasses, are buffers and nothing else.
bool is_plain(py::handle object) {
  static const py::handle type = py::object(py::module_::import("numpy").attr("ndarray")).release();
  return py::type::handle_of(object).is(type);
}

bool is_cuda(int device_type) { return device_type == dlpack::kCuda || device_type == dlpack::kCudaManaged; }

}  // namespace

Array read_protocol(py::handle object, const char* name, void* cuda_stream) {
  if (is_plain(object)) return from_buffer(object, name);
  // Masked arrays have the buffer protocol, which tells nothing of the mask.
  if (!find(object, "mask").is_none()) {
    throw FrameError(std::string(name) + " has a mask, which is not read: pass its values, for example filled(0)");
  }
  if (const py::object device = find(object, "__dlpack_device__"); !device.is_none()) {
    const int device_type = device().cast<py::tuple>()[0].cast<int>();
    if (is_cuda(device_type)) expect_cuda_built(name);
    if (!is_cuda(device_type) && device_type != dlpack::kCpu && device_type != dlpack::kCudaHost) {
      throw FrameError(std::string(name) +
                       " lives on a device that is neither the CPU nor CUDA: move it to one of them");
    }
    // prefer the buffer protocol: it reports read-only arrays, which older DLPack cannot
    if (is_cuda(device_type) || !PyObject_CheckBuffer(object.ptr())) {
      Array array = from_dlpack(object, name, is_cuda(device_type) ? dlpack::kCuda : device_type, cuda_stream);
      if (!array.on_host()) expect_cuda_built(name);
      return array;
    }
  }
  if (const py::object interface = find(object, "__cuda_array_interface__"); !interface.is_none()) {
    return from_cuda_interface(object, interface, name);
  }
  if (PyObject_CheckBuffer(object.ptr())) return from_buffer(object, name);
  if (const py::object interface = find(object, "__array_interface__"); !interface.is_none()) {
    return from_interface(object, interface, name);
  }
  throw FrameError(std::string(name) + " is a " + type_name(object) +
                   "; expected an array: numpy, torch, CuPy, a PIL image, or anything with DLPack, "
                   "__cuda_array_interface__, __array_interface__ or the buffer protocol. trtmatte.from_device gives a "
                   "pointer to a CUDA device its shape");
}

}  // namespace trtmatte
