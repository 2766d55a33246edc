#include "plugins/log.h"

#include <atomic>
#include <cstdio>

namespace trtmatte::plugins {

namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

nvinfer1::ILogger* find_logger() noexcept {
  try {
    nvinfer1::ILoggerFinder* finder = logger_finder.load();
    return finder ? finder->findLogger() : nullptr;
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder.store(finder); }

void log_error(const char* plugin, const char* message) noexcept {
  char text[1024];
  snprintf(text, sizeof text, "%s: %s", plugin, message);
  if (nvinfer1::ILogger* logger = find_logger()) {
    logger->log(nvinfer1::ILogger::Severity::kERROR, text);
  } else {
    fprintf(stderr, "%s\n", text);
  }
}

}  // namespace trtmatte::plugins
