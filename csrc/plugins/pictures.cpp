#include "plugins/pictures.h"

namespace trtmatte::plugins {

using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::IDimensionExpr;
using nvinfer1::PluginTensorDesc;

namespace {

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

bool is_bgr(const int32_t (&channels)[3]) { return channels[0] == 2; }

View in_range(View view, int32_t range) {
  if (range == 255) view.dtype = view.dtype == DType::kFloat16 ? DType::kByteFloat16 : DType::kByteFloat32;
  return view;
}

}  // namespace

DataType output_type(const char* name, int32_t element) {
  if (element == 1) return DataType::kFLOAT;
  if (element == 10) return DataType::kHALF;
  throw SettingError(
      std::string(name) + " is " + std::to_string(element) +
      "; expected 1 (float32) or 10 (float16): plugins do not output bytes, cast them outside of the plugin");
}

void FrameLayout::check() const {
  expect_permutation("frame_perm", perm);
  expect_rgb_or_bgr("frame_channels", channels);
  expect_range("frame_range", range);
}

View FrameLayout::view(const char* name, const PluginTensorDesc& tensor, void* data) const {
  const View frame = permuted(view_of(name, tensor, data), perm);
  expect_channels(name, frame, 3);
  return in_range(colours_of(frame, is_bgr(channels)), range);
}

void MatteLayout::check() const {
  expect_permutation("matte_perm", perm);
  expect_rgb_or_bgr("matte_channels", channels);
  expect_range("matte_range", range);
  static_cast<void>(output_type());
  bool any = false;
  for (const int32_t each : wanted) {
    if (each != 0 && each != 1) throw SettingError("matte_wanted must consist of zeros and ones");
    any = any || each;
  }
  if (!any) {
    throw SettingError(std::string("matte_wanted names no output; expected at least one of ") + kOutputNames);
  }
}

void MatteLayout::shape(const FrameLayout& frame_layout, const DimsExprs& frame, DimsExprs* outputs,
                        nvinfer1::IExprBuilder& builder) const {
  for (int i = 0; i < kOutputCount; ++i) {
    const IDimensionExpr* size[4] = {frame.d[frame_layout.batch_at()], builder.constant(kOutputs[i].channels),
                                     frame.d[frame_layout.height_at()], frame.d[frame_layout.width_at()]};
    outputs[i].nbDims = 4;
    for (int dim = 0; dim < 4; ++dim) outputs[i].d[dim] = wanted[i] ? size[perm[dim]] : builder.constant(1);
  }
}

Sinks MatteLayout::sinks(const Tensors& tensors, int background, const View& frame) const {
  int32_t inverse[4];
  for (int i = 0; i < 4; ++i) inverse[perm[i]] = i;
  Sinks sinks;
  for (int i = 0; i < kOutputCount; ++i) {
    if (!wanted[i]) continue;
    const char* name = kOutputs[i].name;
    const View view = permuted(view_of(name, tensors.out[i], tensors.output(i)), inverse);
    expect_channels(name, view, kOutputs[i].channels);
    expect_size(name, view, frame.size[0], frame.size[2], frame.size[3]);
    sinks.output[i] = output_view(in_range(view, range), is_bgr(channels));
  }
  sinks.background = view_of("background", tensors.in[background], tensors.input(background));
  expect_channels("background", sinks.background, 3);
  if (sinks.background.size[0] != 1) expect_batch("background", sinks.background, frame.size[0]);
  return sinks;
}

}  // namespace trtmatte::plugins
