// The little of CUDA's runtime that the bindings need.
#pragma once

namespace trtmatte {

// 0 where there is no driver.
int device_count();

// The device that memory belongs to; -1 if it belongs to none.
int device_of(const void* memory);

// What comes on `stream` from here on waits for what `other` has been given so far. The host does not wait.
void wait_for(void* cuda_stream, void* other);

// Makes a device the current one, for a while.
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
