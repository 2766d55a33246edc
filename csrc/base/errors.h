// The exceptions of the core. The bindings translate each into the Python class of the same name.
#pragma once

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

}  // namespace trtmatte
