// The functions of CUDA's runtime that trtmatte calls, with the memory of the host as the device's.
//
// In a process that has loaded the fake driver (tests/native/fake_driver), work is put on its streams, and it knows
// what memory is the device's. Without it work is done at once, and all memory is the device's.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

using cudaStream_t = void*;
using cudaEvent_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9, cudaErrorUnknown = 999 };
constexpr unsigned cudaEventDisableTiming = 2;

namespace emulated {

// A function of the fake driver; null where it is not loaded.
template <typename... Arguments>
auto driver_function(const char* name) {
  static void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  static const bool is_fake = library != nullptr && dlsym(library, "fake_driver_submit") != nullptr;
  return reinterpret_cast<int (*)(Arguments...)>(is_fake ? dlsym(library, name) : nullptr);
}

// The driver's error of the last launch on this thread.
inline int& last_error() {
  static thread_local int error = 0;
  return error;
}

template <typename Work>
void submit(cudaStream_t stream, const Work& work) {
  using Function = void (*)(void*);
  static const auto put = driver_function<void*, Function, void*, Function>("fake_driver_submit");
  if (put == nullptr) return work();
  const int status = put(
      stream, [](void* held) { (*static_cast<Work*>(held))(); }, new Work(work),
      [](void* held) { delete static_cast<Work*>(held); });
  if (status != 0) last_error() = status;
}

// Calls a function of the driver; without it nothing has to be done.
template <typename... Arguments>
cudaError_t call_driver(const char* name, Arguments... arguments) {
  const auto function = driver_function<Arguments...>(name);
  return static_cast<cudaError_t>(function == nullptr ? 0 : function(arguments...));
}

}  // namespace emulated

inline cudaError_t cudaGetLastError() { return static_cast<cudaError_t>(std::exchange(emulated::last_error(), 0)); }
inline const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorInvalidConfiguration) return "invalid configuration argument";
  return error ? "an error of the fake driver" : "no error";
}
inline const char* cudaGetErrorName(cudaError_t error) {
  if (error == cudaErrorInvalidConfiguration) return "cudaErrorInvalidConfiguration";
  return error ? "cudaErrorUnknown" : "cudaSuccess";
}
inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
enum cudaMemoryType { cudaMemoryTypeUnregistered = 0, cudaMemoryTypeDevice = 2 };
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};
inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  constexpr int kMemoryType = 2;  // CU_POINTER_ATTRIBUTE_MEMORY_TYPE
  unsigned type = cudaMemoryTypeDevice;
  emulated::call_driver<void*, int, uintptr_t>("cuPointerGetAttribute", &type, kMemoryType,
                                               reinterpret_cast<uintptr_t>(memory));
  *attributes = {type == cudaMemoryTypeDevice ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, 0};
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  emulated::submit(stream, [=] { memset(to, value, bytes); });
  return cudaGetLastError();
}
inline cudaError_t cudaMalloc(void** memory, size_t bytes) { return *memory = malloc(bytes), cudaSuccess; }
inline cudaError_t cudaFree(void* memory) { return free(memory), cudaSuccess; }
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDefault = 4 };
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes) { return memset(to, value, bytes), cudaSuccess; }
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) { return *stream = nullptr, cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return emulated::call_driver<void**, unsigned>("cuEventCreate", event, flags);
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return emulated::call_driver<void*, void*>("cuEventRecord", event, stream);
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return emulated::call_driver<void*, void*, unsigned>("cuStreamWaitEvent", stream, event, flags);
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return emulated::call_driver<void*>("cuEventDestroy_v2", event);
}
