// No exception crosses TensorRT's ABI: what is thrown becomes a message and a status.
#pragma once

#include <NvInferRuntime.h>

#include <exception>

namespace trtmatte::plugins {

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// To TensorRT's logger, or to the standard error stream as long as there is none.
void log_error(const char* plugin, const char* message) noexcept;

// function()'s result, or `failed` if it throws.
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
