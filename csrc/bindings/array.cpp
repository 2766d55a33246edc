#include "bindings/array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>

#include "base/errors.h"
#include "bindings/dlpack.h"
#ifdef TRTMATTE_WITH_CUDA
#include "runtime/cuda.h"
#endif

namespace py = pybind11;

namespace trtmatte {

namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& problem) {
  throw FrameError(name + " " + problem);
}

// `kind` is u, f or i, as in numpy's type strings.
DType dtype_of(const std::string& name, char kind, int64_t size) {
  if (kind == 'u' && size == 1) return DType::kUint8;
  if (kind == 'f' && size == 2) return DType::kFloat16;
  if (kind == 'f' && size == 4) return DType::kFloat32;
  if (kind == 'i' && size == 4) return DType::kInt32;
  refuse(name, std::string("holds values of type '") + kind + std::to_string(size) +
                   "'; expected uint8, float16, float32 (or int32 for indices): convert it, for example with astype");
}

std::vector<int64_t> packed_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t next = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = next;
    next *= shape[i];
  }
  return strides;
}

void set_byte_strides(Array& array, std::vector<int64_t> strides) {
  const int64_t size = size_of(array.dtype);
  if (strides.size() != array.shape.size()) refuse(array.name, "has another number of strides than dimensions");
  for (int64_t& stride : strides) {
    if (stride % size != 0) refuse(array.name, "has strides that are not multiples of its item size: pass a copy");
    stride /= size;
  }
  array.strides = std::move(strides);
}

Array from_buffer(py::handle object, const char* name) {
  auto* view = new Py_buffer;
  const std::shared_ptr<void> owner(view, [](void* held) {
    const py::gil_scoped_acquire gil;
    auto* buffer = static_cast<Py_buffer*>(held);
    PyBuffer_Release(buffer);
    delete buffer;
  });
  view->obj = nullptr;
  bool readonly = false;
  if (PyObject_GetBuffer(object.ptr(), view, PyBUF_FULL) != 0) {
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
  if (kind == '?') refuse(name, "holds values of format '" + format + "'; expected uint8, float16, float32 or int32");
  array.dtype = dtype_of(name, kind, view->itemsize);
  array.shape.assign(view->shape, view->shape + view->ndim);
  if (view->suboffsets) refuse(name, "is an indirect buffer: pass a copy");
  if (view->strides) {
    set_byte_strides(array, std::vector<int64_t>(view->strides, view->strides + view->ndim));
  } else {
    array.strides = packed_strides(array.shape);  // ctypes omits them
  }
  return array;
}

// Reads the dictionary of __array_interface__ or __cuda_array_interface__, which have the same entries.
Array from_interface(py::handle object, const py::dict& interface, const char* name) {
  Array array;
  array.name = name;
  const auto type = interface["typestr"].cast<std::string>();
  if (type.size() < 3 || type[0] == '>')
    refuse(name, "holds values of type '" + type + "'; expected little-endian values");
  array.dtype = dtype_of(name, type[1], std::atoi(type.c_str() + 2));
  array.shape = interface["shape"].cast<std::vector<int64_t>>();
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    set_byte_strides(array, interface["strides"].cast<std::vector<int64_t>>());
  } else {
    array.strides = packed_strides(array.shape);
  }
  const py::object data = interface.contains("data") ? py::object(interface["data"]) : py::none();
  if (py::isinstance<py::tuple>(data)) {
    const auto pair = data.cast<py::tuple>();
    array.data = reinterpret_cast<void*>(pair[0].cast<uintptr_t>());
    array.readonly = pair[1].cast<bool>();
    auto* held = new py::object(py::reinterpret_borrow<py::object>(object));
    array.owner = std::shared_ptr<void>(held, [](void* kept) {
      const py::gil_scoped_acquire gil;
      delete static_cast<py::object*>(kept);
    });
  } else {
    const Array bytes = from_buffer(data.is_none() ? object : py::handle(data), name);
    const int64_t offset = interface.contains("offset") ? interface["offset"].cast<int64_t>() : 0;
    array.data = static_cast<char*>(bytes.data) + offset;
    array.readonly = bytes.readonly;
    array.owner = bytes.owner;
    const Array::Range inner = array.range(), outer = bytes.range();
    if (inner.begin < outer.begin || inner.end > outer.end) refuse(name, "reaches beyond its own buffer");
  }
  return array;
}

Array from_cuda_interface(py::handle object, const char* name) {
  const auto interface = object.attr("__cuda_array_interface__").cast<py::dict>();
  Array array = from_interface(object, interface, name);
#ifdef TRTMATTE_WITH_CUDA
  array.device = device_of(array.data);
  if (array.on_host()) refuse(name, "has a __cuda_array_interface__, but its memory belongs to no CUDA device");
#else
  array.device = 0;  // any number will do: read_array refuses the array
#endif
  if (interface.contains("stream") && !interface["stream"].is_none()) {
    const auto handle = interface["stream"].cast<uintptr_t>();
    if (handle == 0) refuse(name, "names stream 0 in its __cuda_array_interface__, which the protocol forbids");
    array.ready_on = reinterpret_cast<void*>(handle);
  }
  return array;
}

template <typename Managed>
std::shared_ptr<void> take_over(PyObject* capsule, const char* label, const char* used) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, label));
  if (!managed) throw py::error_already_set();
  PyCapsule_SetName(capsule, used);
  return std::shared_ptr<void>(managed, [](void* held) {
    const py::gil_scoped_acquire gil;
    auto* kept = static_cast<Managed*>(held);
    if (kept->deleter) kept->deleter(kept);
  });
}

Array from_dlpack(py::handle object, const char* name, int device_type, void* cuda_stream) {
  py::dict arguments;
  if (device_type == dlpack::kCuda && cuda_stream) arguments["stream"] = reinterpret_cast<uintptr_t>(cuda_stream);
  py::object capsule;
  try {
    capsule = object.attr("__dlpack__")(**arguments, py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& error) {
    // Producers older than DLPack 1.0 have no max_version.
    if (!error.matches(PyExc_TypeError)) throw;
    capsule = object.attr("__dlpack__")(**arguments);
  }
  Array array;
  array.name = name;
  const dlpack::Tensor* tensor;
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    array.owner = take_over<dlpack::ManagedVersioned>(capsule.ptr(), "dltensor_versioned", "used_dltensor_versioned");
    const auto* managed = static_cast<dlpack::ManagedVersioned*>(array.owner.get());
    if (managed->major != 1) refuse(name, "uses DLPack " + std::to_string(managed->major) + "; expected version 1");
    array.readonly = (managed->flags & dlpack::kReadOnly) != 0;
    tensor = &managed->tensor;
  } else {
    array.owner = take_over<dlpack::Managed>(capsule.ptr(), "dltensor", "used_dltensor");
    tensor = &static_cast<dlpack::Managed*>(array.owner.get())->tensor;
  }
  if (tensor->lanes != 1) refuse(name, "holds vectors; expected single values");
  const char kinds[] = {'i', 'u', 'f'};
  array.dtype = dtype_of(name, tensor->code < 3 ? kinds[tensor->code] : '?', tensor->bits / 8);
  array.data = static_cast<char*>(tensor->data) + tensor->byte_offset;
  array.shape.assign(tensor->shape, tensor->shape + tensor->ndim);
  array.strides = tensor->strides ? std::vector<int64_t>(tensor->strides, tensor->strides + tensor->ndim)
                                  : packed_strides(array.shape);
  const bool cuda = tensor->device_type == dlpack::kCuda || tensor->device_type == dlpack::kCudaManaged;
  array.device = cuda ? tensor->device_id : Array::kHost;
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

Array read(py::handle object, const char* name, void* cuda_stream) {
  if (py::hasattr(object, "__dlpack_device__")) {
    const int device_type = object.attr("__dlpack_device__")().cast<py::tuple>()[0].cast<int>();
    if (device_type == dlpack::kCuda || device_type == dlpack::kCudaManaged) {
      expect_cuda_built(name);
      return from_dlpack(object, name, dlpack::kCuda, cuda_stream);
    }
    if (device_type != dlpack::kCpu && device_type != dlpack::kCudaHost) {
      refuse(name, "lives on a device that is neither the CPU nor CUDA: move it to one of them");
    }
    // prefer the buffer protocol: it reports read-only arrays, which older DLPack cannot
    if (!PyObject_CheckBuffer(object.ptr())) return from_dlpack(object, name, device_type, cuda_stream);
  }
  if (py::hasattr(object, "__cuda_array_interface__")) return from_cuda_interface(object, name);
  if (PyObject_CheckBuffer(object.ptr())) return from_buffer(object, name);
  if (py::hasattr(object, "__array_interface__")) {
    return from_interface(object, object.attr("__array_interface__").cast<py::dict>(), name);
  }
  refuse(name, "is a " + py::type::of(object).attr("__name__").cast<std::string>() +
                   "; expected an array: numpy, torch, CuPy, a PIL image, or anything with DLPack, "
                   "__cuda_array_interface__, __array_interface__ or the buffer protocol");
}

}  // namespace

const char* name_of(DType type) {
  switch (type) {
    case DType::kUint8:
      return "uint8";
    case DType::kFloat16:
      return "float16";
    case DType::kFloat32:
      return "float32";
    default:
      return "int32";
  }
}

std::string Array::describe() const {
  std::string text = std::string(name_of(dtype)) + " (";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

Array::Range Array::range() const {
  const int64_t item = size_of(dtype);
  const auto first = reinterpret_cast<intptr_t>(data);
  Range range{first, first + item};
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return Range{first, first};
    const int64_t reach = (shape[i] - 1) * strides[i] * item;
    (reach < 0 ? range.begin : range.end) += reach;
  }
  return range;
}

Array read_array(py::handle object, const char* name, void* cuda_stream) {
  Array array;
  try {
    array = read(object, name, cuda_stream);
  } catch (py::error_already_set& error) {
    refuse(name, std::string("could not be read as an array: ") + error.what());
  } catch (py::cast_error& error) {
    refuse(name, std::string("does not follow its array protocol: ") + error.what());
  }
  if (!array.on_host()) expect_cuda_built(name);
  if (std::any_of(array.shape.begin(), array.shape.end(), [](int64_t size) { return size < 0; })) {
    refuse(name, "has a negative size");
  }
  if (!array.data && std::count(array.shape.begin(), array.shape.end(), 0) == 0) refuse(name, "has no memory");
  if (reinterpret_cast<uintptr_t>(array.data) % static_cast<size_t>(size_of(array.dtype)) != 0) {
    refuse(name, "is not aligned to its item size: pass a copy");
  }
  return array;
}

}  // namespace trtmatte
