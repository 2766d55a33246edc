#include "plugins/pictures.h"

namespace trtmatte::plugins {

using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::IDimensionExpr;
using nvinfer1::PluginTensorDesc;

namespace {

constexpr int kChannels[MatteLayout::kOutputs] = {3, 1, 4, 3};
constexpr const char* kNames[MatteLayout::kOutputs] = {"fgr", "pha", "rgba", "composite"};

void expect_permutation(const char* name, const int32_t (&perm)[4]) {
  int found = 0;
  for (const int32_t each : perm) found |= each >= 0 && each < 4 ? 1 << each : 0;
  if (found != 15) throw SettingError(std::string(name) + " is not a permutation of 0, 1, 2, 3");
}

void expect_rgb_or_bgr(const char* name, const int32_t (&channels)[3]) {
  const bool fits = channels[1] == 1 && channels[0] == 2 - channels[2] && (channels[0] == 0 || channels[0] == 2);
  if (!fits) throw SettingError(std::string(name) + " is neither 0, 1, 2 nor 2, 1, 0");
}

void expect_range(const char* name, int32_t range) {
  if (range != 1 && range != 255) {
    throw SettingError(std::string(name) + " is " + std::to_string(range) + "; expected 255 or 1");
  }
}

// The first three channels, red first.
View colours(View view, const int32_t (&channels)[3]) {
  view.size[1] = 3;
  if (channels[0] == 2) {
    view.data = static_cast<char*>(view.data) + 2 * view.stride[1] * size_of(view.dtype);
    view.stride[1] = -view.stride[1];
  }
  return view;
}

View in_range(View view, int32_t range) {
  if (range == 255) view.dtype = view.dtype == DType::kFloat16 ? DType::kByteFloat16 : DType::kByteFloat32;
  return view;
}

}  // namespace

DataType output_type(const char* name, int32_t element) {
  if (element == 1) return DataType::kFLOAT;
  if (element == 10) return DataType::kHALF;
  throw SettingError(std::string(name) + " is " + std::to_string(element) +
                     "; expected 1 (float32) or 10 (float16): TensorRT's plugins give no bytes, cast them outside");
}

void FrameLayout::check() const {
  expect_permutation("frame_perm", perm);
  expect_rgb_or_bgr("frame_channels", channels);
  expect_range("frame_range", range);
}

View FrameLayout::view(const char* name, const PluginTensorDesc& tensor, void* data) const {
  const View frame = permuted(view_of(name, tensor, data), perm);
  expect_channels(name, frame, 3);
  return in_range(colours(frame, channels), range);
}

void MatteLayout::check() const {
  expect_permutation("matte_perm", perm);
  expect_rgb_or_bgr("matte_channels", channels);
  expect_range("matte_range", range);
  static_cast<void>(output_type());
  bool any = false;
  for (const int32_t each : wanted) {
    if (each != 0 && each != 1) throw SettingError("matte_wanted is not of zeros and ones");
    any = any || each;
  }
  if (!any) throw SettingError("matte_wanted names no output; expected at least one of fgr, pha, rgba, composite");
}

void MatteLayout::shape(const FrameLayout& frame_layout, const DimsExprs& frame, DimsExprs* outputs,
                        nvinfer1::IExprBuilder& builder) const {
  for (int i = 0; i < kOutputs; ++i) {
    const IDimensionExpr* size[4] = {frame.d[frame_layout.batch_at()], builder.constant(kChannels[i]),
                                     frame.d[frame_layout.height_at()], frame.d[frame_layout.width_at()]};
    outputs[i].nbDims = 4;
    for (int dim = 0; dim < 4; ++dim) outputs[i].d[dim] = wanted[i] ? size[perm[dim]] : builder.constant(1);
  }
}

Sinks MatteLayout::sinks(const Tensors& tensors, int background, const View& frame) const {
  int32_t inverse[4];
  for (int i = 0; i < 4; ++i) inverse[perm[i]] = i;
  View views[kOutputs];
  for (int i = 0; i < kOutputs; ++i) {
    if (!wanted[i]) continue;
    views[i] = in_range(permuted(view_of(kNames[i], tensors.out[i], tensors.output(i)), inverse), range);
    expect_channels(kNames[i], views[i], kChannels[i]);
    expect_size(kNames[i], views[i], frame.size[0], frame.size[2], frame.size[3]);
  }
  Sinks sinks;
  sinks.pha = views[1];
  if (wanted[0]) sinks.fgr = colours(views[0], channels);
  if (wanted[2]) {
    sinks.rgba = colours(views[2], channels);
    sinks.rgba_alpha = views[2];
    sinks.rgba_alpha.size[1] = 1;
    sinks.rgba_alpha.data = static_cast<char*>(views[2].data) + 3 * views[2].stride[1] * size_of(views[2].dtype);
  }
  if (wanted[3]) sinks.composite = colours(views[3], channels);
  sinks.background = view_of("background", tensors.in[background], tensors.input(background));
  expect_channels("background", sinks.background, 3);
  if (sinks.background.size[0] != 1) expect_batch("background", sinks.background, frame.size[0]);
  return sinks;
}

}  // namespace trtmatte::plugins
