#include "bindings/dlpack.h"

#include "bindings/protocols.h"

namespace py = pybind11;

namespace trtmatte {

namespace {

constexpr int kMostDimensions = 64;
constexpr uint64_t kLargestOffset = uint64_t{1} << 62;

template <typename Managed>
std::shared_ptr<void> take_over(PyObject* capsule, const char* label, const char* used) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, label));
  if (!managed || PyCapsule_SetName(capsule, used) != 0) throw py::error_already_set();
  return std::shared_ptr<void>(managed, [](void* held) {
    const py::gil_scoped_acquire gil;
    auto* kept = static_cast<Managed*>(held);
    if (kept->deleter) kept->deleter(kept);
  });
}

py::object capsule_of(py::handle object, int device_type, void* cuda_stream) {
  py::dict arguments;
  if (device_type == dlpack::kCuda && cuda_stream) arguments["stream"] = reinterpret_cast<uintptr_t>(cuda_stream);
  try {
    return object.attr("__dlpack__")(**arguments, py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& error) {
    // Producers older than DLPack 1.0 have no max_version.
    if (!error.matches(PyExc_TypeError)) throw;
    return object.attr("__dlpack__")(**arguments);
  }
}

int device_of(const Array& array, const dlpack::Tensor& tensor) {
  switch (tensor.device_type) {
    case dlpack::kCpu:
    case dlpack::kCudaHost:
      return Array::kHost;
    case dlpack::kCuda:
    case dlpack::kCudaManaged:
      if (tensor.device_id >= 0) return tensor.device_id;
      [[fallthrough]];
    default:
      array.refuse("lives on the device " + std::to_string(tensor.device_id) + " of DLPack's type " +
                   std::to_string(tensor.device_type) + ", which is neither the CPU nor CUDA");
  }
}

std::string type_of(const dlpack::Tensor& tensor) {
  constexpr char kinds[] = {'i', 'u', 'f'};
  const std::string kind =
      tensor.code < sizeof kinds ? std::string(1, kinds[tensor.code]) : "code " + std::to_string(tensor.code) + " of ";
  return tensor.bits % 8 == 0 ? kind + std::to_string(tensor.bits / 8) : kind + std::to_string(tensor.bits) + " bits";
}

}  // namespace

Array from_dlpack(py::handle object, const char* name, int device_type, void* cuda_stream) {
  const py::object capsule = capsule_of(object, device_type, cuda_stream);
  Array array;
  array.name = name;
  const dlpack::Tensor* tensor;
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    array.owner = take_over<dlpack::ManagedVersioned>(capsule.ptr(), "dltensor_versioned", "used_dltensor_versioned");
    const auto* managed = static_cast<dlpack::ManagedVersioned*>(array.owner.get());
    if (managed->major != 1) array.refuse("uses DLPack " + std::to_string(managed->major) + "; expected version 1");
    array.readonly = (managed->flags & dlpack::kReadOnly) != 0;
    tensor = &managed->tensor;
  } else {
    array.owner = take_over<dlpack::Managed>(capsule.ptr(), "dltensor", "used_dltensor");
    tensor = &static_cast<dlpack::Managed*>(array.owner.get())->tensor;
  }
  if (tensor->lanes != 1) array.refuse("holds vectors; expected single values");
  array.device = device_of(array, *tensor);
  array.set_dtype(type_of(*tensor));
  if (tensor->ndim < 0 || tensor->ndim > kMostDimensions || (tensor->ndim > 0 && !tensor->shape)) {
    array.refuse("has " + std::to_string(tensor->ndim) + " dimensions without sizes");
  }
  array.set_shape(std::vector<int64_t>(tensor->shape, tensor->shape + tensor->ndim));
  if (tensor->strides) {
    array.set_strides(std::vector<int64_t>(tensor->strides, tensor->strides + tensor->ndim));
  } else {
    array.set_packed();
  }
  // Added as a number: the sum need not lie in memory.
  const auto start = reinterpret_cast<uintptr_t>(tensor->data);
  if (tensor->byte_offset > kLargestOffset) array.refuse("has an offset that reaches beyond any memory");
  if (start != 0) array.data = reinterpret_cast<void*>(start + static_cast<uintptr_t>(tensor->byte_offset));
  return array;
}

}  // namespace trtmatte
