// Registers trtmatte's plugins in a process that only opens libraries, as Triton's TensorRT backend and DeepStream do.
// docs/deploy.md has the commands. It looks for libtrtmatte_plugins.so beside itself, or where TRTMATTE_PLUGIN_LIBRARY
// says.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

std::string beside_this_library(const char* name) {
  static const char here = 0;
  Dl_info info{};
  const std::string path = dladdr(&here, &info) && info.dli_fname ? info.dli_fname : "";
  return path.substr(0, path.rfind('/') + 1) + name;
}

const bool registered = [] {
  const char* given = std::getenv("TRTMATTE_PLUGIN_LIBRARY");
  const std::string path = given ? given : beside_this_library("libtrtmatte_plugins.so");
  const bool loaded = getPluginRegistry()->loadLibrary(path.c_str()) != nullptr;
  std::fprintf(stderr, loaded ? "trtmatte: plugins of %s registered\n" : "trtmatte: %s cannot be loaded\n",
               path.c_str());
  return loaded;
}();

}  // namespace
