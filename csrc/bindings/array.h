// The caller's arrays, read without copying them: buffer protocol, __array_interface__, DLPack,
// __cuda_array_interface__.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/view.h"

namespace trtmatte {

struct Array {
  std::string name;
  void* data = nullptr;
  DType dtype = DType::kUint8;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements; 0 in dimensions of one element
  bool readonly = false;
  int device = kHost;        // the CUDA device of its memory
  void* ready_on = nullptr;  // a CUDA stream to wait for before reading; may be null
  std::shared_ptr<void> owner;

  static constexpr int kHost = -1;
  bool on_host() const { return device == kHost; }

  // What the protocols set. These check that sizes and steps can be multiplied and added without overflow.
  void set_dtype(const std::string& type);  // as numpy names it: "u1"
  void set_shape(std::vector<int64_t> sizes);
  void set_strides(std::vector<int64_t> steps);
  void set_byte_strides(std::vector<int64_t> steps);
  void set_packed();

  struct Range {
    intptr_t begin, end;
  };
  Range range() const;           // the addresses of all elements
  std::string describe() const;  // "uint8 (1080, 1920, 3)"

  // Throws a FrameError that begins with the array's name.
  [[noreturn]] void refuse(const std::string& problem) const;
};

// `cuda_stream` will use the array; DLPack producers make it wait for their work. Null on the host.
Array read_array(pybind11::handle object, const char* name, void* cuda_stream);

// Throws if the array cannot be written: it is read-only, or elements of it share memory.
void expect_writable(const Array& array);

// Throws if two arrays share memory, one of which is written. Channels of one picture may lie between each other.
void expect_apart(const Array& a, const Array& b);

const char* name_of(DType type);

}  // namespace trtmatte
