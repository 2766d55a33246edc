#include "runtime/cuda.h"

#include "base/cuda_check.h"

namespace trtmatte {

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // clear the error: a missing driver means no devices
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
  cudaEventDestroy(reached);  // CUDA releases it once the event has happened
  cuda_check(status, "waiting for another stream");
}

// Calls cudaSetDevice only if the device changes: it would replace the caller's own context by the runtime's.
DeviceGuard::DeviceGuard(int device) : device_(device) {
  cuda_check(cudaGetDevice(&before_), "getting the current CUDA device");
  if (device_ != before_) cuda_check(cudaSetDevice(device_), "setting the CUDA device");
}

DeviceGuard::~DeviceGuard() {
  if (device_ != before_) cudaSetDevice(before_);
}

}  // namespace trtmatte
