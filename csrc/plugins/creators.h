// The creators that the library offers, one an op.
#pragma once

#include <NvInferRuntime.h>

namespace trtmatte::plugins {

nvinfer1::IPluginCreatorInterface* frame_sample_creator();
nvinfer1::IPluginCreatorInterface* guided_upsample_creator();
nvinfer1::IPluginCreatorInterface* matte_upsample_creator();
nvinfer1::IPluginCreatorInterface* patch_select_creator();
nvinfer1::IPluginCreatorInterface* patch_crop_creator();
nvinfer1::IPluginCreatorInterface* patch_scatter_creator();

}  // namespace trtmatte::plugins
