// Device queries and guards for the bindings.
#pragma once

namespace trtmatte {

// Returns the number of CUDA devices; 0 without a driver.
int device_count();

// Returns the device that owns this memory; -1 if none does.
int device_of(const void* memory);

// Makes later work on `cuda_stream` wait for the work that `other` has so far. Does not block the host.
void wait_for(void* cuda_stream, void* other);

// Makes a device current and restores the previous one at the end of the scope.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int device_;
  int before_ = 0;
};

}  // namespace trtmatte
