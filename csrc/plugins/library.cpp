// The symbols that TensorRT looks for in a plugin library (IPluginRegistry::loadLibrary, trtexec --dynamicPlugins). The
// library uses only interfaces of TensorRT and does not link to it.
#include <cstdio>

#include "plugins/creators.h"
#include "plugins/log.h"

#ifdef _WIN32
#define TRTMATTE_EXPORT extern "C" __declspec(dllexport)
#define TRTMATTE_CALLER nullptr
#else
#include <dlfcn.h>
#define TRTMATTE_EXPORT extern "C" __attribute__((visibility("default")))
#define TRTMATTE_CALLER __builtin_return_address(0)
#endif

namespace {

// Returns the major version of the TensorRT that calls this library; 0 if it is unknown. Python loads TensorRT without
// making its symbols global, so that only the library of the caller finds them.
int running_major(const void* caller) {
  int major = 0;
#ifndef _WIN32
  Dl_info info;
  void* library = dladdr(caller, &info) ? dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : nullptr;
  if (void* symbol = dlsym(library ? library : RTLD_DEFAULT, "getInferLibVersion")) {
    major = reinterpret_cast<int32_t (*)()>(symbol)() / 10000;
  }
  if (library) dlclose(library);
#endif
  return major;
}

// Returns true if this library works with that TensorRT. Interfaces keep their memory layout only within a major
// version: that of ILoggerFinder changed from 10 to 11. Versions below 10 are those of TensorRT-RTX, which may be in
// the same process.
bool fits(int running) { return running < 10 || running == NV_TENSORRT_MAJOR; }

}  // namespace

// Returns no creators to another major version of TensorRT, which then reports that it does not know our ops.
TRTMATTE_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  using namespace trtmatte::plugins;
#define TRTMATTE_CREATOR(name, Op, compilation) name##_creator(),
  static nvinfer1::IPluginCreatorInterface* const creators[] = {TRTMATTE_OPS(TRTMATTE_CREATOR)};
#undef TRTMATTE_CREATOR
  count = static_cast<int32_t>(sizeof creators / sizeof *creators);
  const int running = running_major(TRTMATTE_CALLER);
  if (!fits(running)) {
    count = 0;
    char message[160];
    snprintf(message, sizeof message, "built for TensorRT %d, loaded by %d: build trtmatte with that version's headers",
             NV_TENSORRT_MAJOR, running);
    log_error("trtmatte's plugins", message);
  }
  return creators;
}

TRTMATTE_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  if (fits(running_major(TRTMATTE_CALLER))) trtmatte::plugins::set_logger_finder(finder);
}

// Returns the version of the headers that the library was built with, as 1000 * major + minor.
TRTMATTE_EXPORT int32_t trtmatteTensorRTVersion() { return 1000 * NV_TENSORRT_MAJOR + NV_TENSORRT_MINOR; }
