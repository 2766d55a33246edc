#include "runtime/cuda.h"

#include "base/cuda_check.h"

namespace trtmatte {

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // no driver is an answer, not an error to be found later
  return 0;
}

int device_of(const void* memory) {
  cudaPointerAttributes attributes;
  if (cudaPointerGetAttributes(&attributes, memory) == cudaSuccess && attributes.type != cudaMemoryTypeUnregistered) {
    return attributes.device;
  }
  cudaGetLastError();
  return -1;
}

void wait_for(void* cuda_stream, void* other) {
  if (cuda_stream == other) return;
  cudaEvent_t reached;
  cuda_check(cudaEventCreateWithFlags(&reached, cudaEventDisableTiming), "creating an event");
  cudaError_t status = cudaEventRecord(reached, static_cast<cudaStream_t>(other));
  if (status == cudaSuccess) status = cudaStreamWaitEvent(static_cast<cudaStream_t>(cuda_stream), reached, 0);
  cudaEventDestroy(reached);  // released when the event has happened
  cuda_check(status, "waiting for another stream");
}

// A device that is the current one already is left alone: to choose it would exchange the caller's own context for the
// runtime's.
DeviceGuard::DeviceGuard(int device) : device_(device) {
  cuda_check(cudaGetDevice(&before_), "asking for the current CUDA device");
  if (device_ != before_) cuda_check(cudaSetDevice(device_), "choosing the CUDA device");
}

DeviceGuard::~DeviceGuard() {
  if (device_ != before_) cudaSetDevice(before_);
}

}  // namespace trtmatte
