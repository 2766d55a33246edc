// The exceptions of the core. The bindings translate each into the Python class of the same name.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

namespace trtmatte {

struct FrameError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct SettingError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct BackendError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Names the size that could not be had. Python sees its own MemoryError.
class MemoryError : public std::bad_alloc {
 public:
  explicit MemoryError(const std::string& message) : message_(message) {}
  const char* what() const noexcept override { return message_.what(); }

 private:
  std::runtime_error message_;  // copies of it cannot fail
};

}  // namespace trtmatte
