// Turns exceptions into messages and statuses, since no exception may cross TensorRT's ABI.
#pragma once

#include <NvInferRuntime.h>

#include <exception>

namespace trtmatte::plugins {

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// Writes to TensorRT's logger, or to stderr if there is no logger yet.
void log_error(const char* plugin, const char* message) noexcept;

// Returns function(), or `failed` if it throws.
template <typename Result, typename Function>
Result guarded(const char* plugin, Result failed, const Function& function) noexcept {
  try {
    return function();
  } catch (const std::exception& error) {
    log_error(plugin, error.what());
  } catch (...) {
    log_error(plugin, "an unknown error");
  }
  return failed;
}

}  // namespace trtmatte::plugins
