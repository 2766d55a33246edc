// <name>_creator() for each op of the list; csrc/ops/<name>/<name>_plugin.cpp defines it.
#pragma once

#include <NvInferRuntime.h>

#include "ops/list.h"

namespace trtmatte::plugins {

#define TRTMATTE_DECLARE_CREATOR(name, Op, compilation) nvinfer1::IPluginCreatorInterface* name##_creator();
TRTMATTE_OPS(TRTMATTE_DECLARE_CREATOR)
#undef TRTMATTE_DECLARE_CREATOR

}  // namespace trtmatte::plugins
