// One call of an op: its arrays are read, checked against each other, and the op is run where they live.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/launch.h"
#include "base/view.h"
#include "bindings/array.h"
#include "ops/math/outputs.h"
#include "runtime/thread_pool.h"
#ifdef TRTMATTE_WITH_CUDA
#include "runtime/cuda.h"
#endif

namespace trtmatte {

struct Size {
  int batch;
  int height;
  int width;
};

class Call {
 public:
  // `stream` is None or the number of a CUDA stream; `layout` and `color` are those of frames and mattes.
  Call(const pybind11::object& cuda_stream, const std::string& color);

  // A picture that is read: uint8 or float, three channels. An empty layout is inferred.
  View frame(pybind11::handle object, const char* name, const std::string& layout);
  // Small maps that are read: float [N,C,h,w] or [C,h,w].
  View maps(pybind11::handle object, const char* name, std::optional<int> channels);
  // Anything else that is read or written, with its exact dimensions (-1: any).
  View plain(pybind11::handle object, const char* name, bool written, DType dtype, std::vector<int64_t> shape);
  // Float maps that are written: [N,C,h,w] (or [C,h,w] if N is 1).
  View written_maps(pybind11::handle object, const char* name, const std::vector<int64_t>& shape);
  // The arrays of a matte for a frame of this size. `out` has an array, or None, by the name of each wanted output.
  Sinks sinks(const pybind11::dict& out, pybind11::handle background, const std::string& layout, const Size& frame);

  // Memory that a CUDA form works in; at least `bytes`. On the host there is none.
  void* workspace(pybind11::handle object, size_t bytes);

  CudaStream cuda_stream() const { return CudaStream{cuda_stream_}; }

  bool on_host() const { return device_ == Array::kHost; }

  // After everything was read: refuses outputs that overlap another array.
  void check_overlap() const;

  // Checks the arrays and calls cpu(pool) or cuda(), without the GIL.
  template <typename Cpu, typename Cuda>
  void run(const Cpu& cpu, const Cuda& cuda) {
    check_overlap();
    const pybind11::gil_scoped_release unlocked;
    if (on_host()) {
      ThreadPool& pool = ThreadPool::instance();
      const ThreadPool::Lease lease = pool.lease();
      cpu(pool);
      return;
    }
#ifdef TRTMATTE_WITH_CUDA
    const DeviceGuard guard(device_);
    for (const Entry& entry : entries_) {
      if (entry.array.ready_on) wait_for(cuda_stream_, entry.array.ready_on);
    }
    cuda();
#else
    static_cast<void>(cuda);
#endif
  }

 private:
  struct Entry {
    Array array;
    bool written;
  };

  const Array& add(pybind11::handle object, const char* name, bool written);
  View picture(const Array& array, int channels, const std::string& layout) const;
  OutputView output(pybind11::handle object, const Output& output, const std::string& layout, const Size& size);

  void* cuda_stream_ = nullptr;
  bool bgr_ = false;
  int device_ = Array::kHost;
  bool device_known_ = false;
  std::vector<Entry> entries_;
};

// Every sample the network sees, and every matte, belongs to a frame of this size.
Size size_of_frame(const View& frame);

}  // namespace trtmatte
