// Errors on their way to Python; the bindings give each kind its class.
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
