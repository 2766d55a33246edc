// What TensorRT looks for in a plugin library: IPluginRegistry::loadLibrary, trtexec --dynamicPlugins. The library does
// not need TensorRT's: all that it uses of it are interfaces.
#include "plugins/creators.h"
#include "plugins/shared/log.h"

#ifdef _WIN32
#define TRTMATTE_EXPORT extern "C" __declspec(dllexport)
#else
#define TRTMATTE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

TRTMATTE_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  using namespace trtmatte::plugins;
  static nvinfer1::IPluginCreatorInterface* const creators[] = {frame_sample_creator(),   guided_upsample_creator(),
                                                                matte_upsample_creator(), patch_select_creator(),
                                                                patch_crop_creator(),     patch_scatter_creator()};
  count = static_cast<int32_t>(sizeof creators / sizeof *creators);
  return creators;
}

TRTMATTE_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { trtmatte::plugins::set_logger_finder(finder); }

// The headers that it was compiled against, as 1000 * major + minor. Interfaces differ from major to major.
TRTMATTE_EXPORT int32_t trtmatteTensorRTVersion() { return 1000 * NV_TENSORRT_MAJOR + NV_TENSORRT_MINOR; }
