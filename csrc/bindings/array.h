// Reads the caller's arrays without copying them: buffer protocol, __array_interface__, DLPack,
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
  std::vector<int64_t> strides;  // in elements
  bool readonly = false;
  int device = kHost;        // the CUDA device of its memory
  void* ready_on = nullptr;  // a CUDA stream to wait for before reading; may be null
  std::shared_ptr<void> owner;

  static constexpr int kHost = -1;
  bool on_host() const { return device == kHost; }

  struct Range {
    intptr_t begin, end;
  };
  Range range() const;           // the addresses of all elements
  std::string describe() const;  // "uint8 (1080, 1920, 3)"
};

// `cuda_stream` will use the array; DLPack producers make it wait for their work. Null on the host.
Array read_array(pybind11::handle object, const char* name, void* cuda_stream);

const char* name_of(DType type);

}  // namespace trtmatte
