// One call of an op: reads its arrays, checks them against each other and runs the op on their device.
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
  // `cuda_stream` is None or the number of a CUDA stream. `color` is the order of channels of frames and mattes.
  Call(const pybind11::object& cuda_stream, const std::string& color);

  // Reads a picture of uint8 or floats with three channels. An empty layout is inferred.
  View frame(pybind11::handle object, const char* name, const std::string& layout);
  // Reads small float maps [N,C,h,w] or [C,h,w].
  View maps(pybind11::handle object, const char* name, std::optional<int> channels);
  // Reads any other array, with its exact dimensions (-1: any).
  View plain(pybind11::handle object, const char* name, bool written, DType dtype, std::vector<int64_t> shape);
  // Reads float maps to be written: [N,C,h,w] (or [C,h,w] if N is 1).
  View written_maps(pybind11::handle object, const char* name, const std::vector<int64_t>& shape);
  // Reads the arrays of a matte for a frame of this size: `out` has an array or None by the name of an output.
  Sinks sinks(const pybind11::dict& out, pybind11::handle background, const std::string& layout, const Size& frame);

  // Reads the workspace of a CUDA form, of at least `bytes`. Returns null on the host.
  void* workspace(pybind11::handle object, size_t bytes);

  CudaStream cuda_stream() const { return CudaStream{cuda_stream_}; }

  bool on_host() const { return device_ == Array::kHost; }

  // Throws if an array that is written overlaps another one. Call it after reading all arrays.
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

Size size_of_frame(const View& frame);

}  // namespace trtmatte
