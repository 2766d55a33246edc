// Arrays of other people, without copies: buffer protocol, __array_interface__, DLPack, __cuda_array_interface__.
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
  int device = kHost;        // the CUDA device it lives on
  void* ready_on = nullptr;  // a stream whose work so far must be done first; null if there is none
  std::shared_ptr<void> owner;

  static constexpr int kHost = -1;
  bool on_host() const { return device == kHost; }

  struct Range {
    intptr_t begin, end;
  };
  Range range() const;           // the addresses between which all elements lie
  std::string describe() const;  // "uint8 (1080, 1920, 3)"
};

// `stream` is where the array is going to be used (DLPack's producers wait on it); null on the host.
Array read_array(pybind11::handle object, const char* name, void* cuda_stream);

const char* name_of(DType type);

}  // namespace trtmatte
