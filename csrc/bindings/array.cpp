#include "bindings/array.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "base/errors.h"
#include "bindings/protocols.h"

namespace py = pybind11;

namespace trtmatte {

namespace {

constexpr size_t kMostDimensions = 32;
constexpr uintptr_t kHighestAddress = uintptr_t{1} << 62;

constexpr std::array<std::pair<const char*, DType>, 4> kTypes{
    {{"u1", DType::kUint8}, {"f2", DType::kFloat16}, {"f4", DType::kFloat32}, {"i4", DType::kInt32}}};

// A pointer of a protocol cannot be checked, but its elements must have addresses.
void expect_addresses(const Array& array) {
  const bool empty = std::count(array.shape.begin(), array.shape.end(), 0) != 0;
  if (empty) return;
  const auto first = reinterpret_cast<uintptr_t>(array.data);
  if (first == 0) array.refuse("has no memory");
  if (first > kHighestAddress || array.range().begin <= 0) array.refuse("has addresses that no memory has");
  if (first % static_cast<size_t>(size_of(array.dtype)) != 0) {
    array.refuse("is not aligned to its item size: pass a copy");
  }
}

}  // namespace

void Array::refuse(const std::string& problem) const { throw FrameError(name + " " + problem); }

void Array::set_dtype(const std::string& type) {
  for (const auto& [text, known] : kTypes) {
    if (type != text) continue;
    dtype = known;
    return;
  }
  refuse("holds values of type '" + type +
         "'; expected uint8, float16, float32 (or int32 for indices): convert it, for example with astype");
}

void Array::set_shape(std::vector<int64_t> sizes) {
  if (sizes.size() > kMostDimensions) {
    refuse("has " + std::to_string(sizes.size()) + " dimensions; expected at most " + std::to_string(kMostDimensions));
  }
  int64_t elements = 1;
  for (const int64_t size : sizes) {
    if (size < 0) refuse("has a negative size");
    if (size > kMostElements / elements) refuse("has more elements than any memory: expected at most 2^46");
    elements *= std::max<int64_t>(size, 1);
  }
  shape = std::move(sizes);
}

void Array::set_strides(std::vector<int64_t> steps) {
  if (steps.size() != shape.size()) refuse("has another number of strides than dimensions");
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t most = kMostElements / std::max<int64_t>(shape[i] - 1, 1);
    if (shape[i] <= 1) {
      steps[i] = 0;
    } else if (steps[i] < -most || steps[i] > most) {
      refuse("has strides that reach beyond any memory");
    }
  }
  strides = std::move(steps);
}

void Array::set_byte_strides(std::vector<int64_t> steps) {
  for (int64_t& step : steps) {
    if (step % size_of(dtype) != 0) refuse("has strides that are not multiples of its item size: pass a copy");
    step /= size_of(dtype);
  }
  set_strides(std::move(steps));
}

void Array::set_packed() {
  std::vector<int64_t> steps(shape.size());
  int64_t next = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    steps[i] = next;
    next *= shape[i];
  }
  set_strides(std::move(steps));
}

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
  array.name = name;
  try {
    array = read_protocol(object, name, cuda_stream);
  } catch (py::error_already_set& error) {
    // An interrupt, or memory that is not there, is no fault of the array.
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    array.refuse(std::string("could not be read as an array: ") + error.what());
  } catch (py::cast_error& error) {
    array.refuse(std::string("does not follow its array protocol: ") + error.what());
  }
  expect_addresses(array);
  return array;
}

}  // namespace trtmatte
