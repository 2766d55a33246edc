// Drives every plugin of the library like TensorRT, but without TensorRT (host.h). With a CUDA device or emulated CUDA
// forms, compares the results of the plugins with those of the CPU forms.
//
//   plugin_test LIBRARY            all tests
//   plugin_test LIBRARY --fields   only lists the fields of each plugin, as name:type:count
#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <random>

#include "host.h"
#include "ops/foreground_estimate/foreground_estimate.h"
#include "ops/frame_sample/frame_sample.h"
#include "ops/guided_upsample/guided_upsample.h"
#include "ops/list.h"
#include "ops/matte_upsample/matte_upsample.h"
#include "ops/patch_crop/patch_crop.h"
#include "ops/patch_scatter/patch_scatter.h"
#include "ops/patch_select/patch_select.h"

namespace {

using namespace trtmatte;

constexpr int kBatch = 2, kHeight = 36, kWidth = 52;

std::map<std::string, Creator*> creators;
Log heard;
std::mt19937 random_bits{8};

float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_bits); }

Tensor maps(const Shape& shape, DataType type, TensorFormat format, float low, float high) {
  Tensor tensor{type, shape, {}, format};
  for (int64_t i = 0; i < count_of(shape); ++i) tensor.values.push_back(uniform(low, high));
  return rounded(tensor);
}

// ---------------------------------------------------------------------------------------------------------------------
// The CPU forms

class OneThread final : public Parallel {
 public:
  int workers() const override { return 1; }
  void* scratch(size_t bytes) override {
    memory_.resize(bytes + 64);
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory_.data()) + 63) / 64 * 64);
  }
  void run(int64_t items, int64_t, Work work, const void* context) override {
    if (items > 0) work(context, 0, items, 0);
  }

 private:
  std::vector<char> memory_;
};

OneThread one_thread;

// Returns a view of packed memory of any type as N C H W.
template <typename T>
View view(std::vector<T>& values, const Shape& shape, DType type) {
  View result;
  result.data = values.data();
  result.dtype = type;
  int64_t stride = 1;
  for (int i = 3; i >= 0; --i) {
    result.size[i] = static_cast<int>(shape[static_cast<size_t>(i)]);
    result.stride[i] = stride;
    stride *= result.size[i];
  }
  return result;
}

View view(Tensor& tensor) { return view(tensor.values, tensor.shape, DType::kFloat32); }

// A picture of bytes, N C H W and RGB, for the CPU forms.
struct Bytes {
  Shape shape;
  std::vector<uint8_t> values;

  explicit Bytes(const Shape& of) : shape(of), values(static_cast<size_t>(count_of(of))) {}
  View bytes() { return view(values, shape, DType::kUint8); }
};

Bytes random_picture() {
  Bytes picture({kBatch, 3, kHeight, kWidth});
  for (uint8_t& each : picture.values) each = static_cast<uint8_t>(random_bits() & 0xff);
  return picture;
}

// ---------------------------------------------------------------------------------------------------------------------
// The plugins: conversions between a picture and a layout

struct Layout {
  bool hwc;
  bool bgr;
  int range;
  DataType type;

  std::vector<int32_t> channels() const { return bgr ? std::vector<int32_t>{2, 1, 0} : std::vector<int32_t>{0, 1, 2}; }
  Shape shape(const Shape& nchw) const { return hwc ? Shape{nchw[0], nchw[2], nchw[3], nchw[1]} : nchw; }

  // Returns the position of element i of the tensor in an N C H W picture.
  size_t place(size_t i, const Shape& nchw) const {
    const auto channels = static_cast<size_t>(nchw[1]);
    const auto pixels = static_cast<size_t>(nchw[2] * nchw[3]);
    size_t c = hwc ? i % channels : i / pixels % channels;
    const size_t pixel = hwc ? i / channels % pixels : i % pixels;
    const size_t n = i / channels / pixels;
    if (bgr && channels >= 3 && c < 3) c = 2 - c;
    return (n * channels + c) * pixels + pixel;
  }

  Tensor tensor(const Bytes& picture) const {
    Tensor result{type, shape(picture.shape), {}};
    for (size_t i = 0; i < picture.values.size(); ++i) {
      const float value = picture.values[place(i, picture.shape)];
      result.values.push_back(range == 255 ? value : value / 255.0f);
    }
    return rounded(result);
  }

  std::string text() const {
    return std::string(hwc ? "HWC" : "CHW") + (bgr ? " BGR " : " RGB ") + std::to_string(range) +
           (type == DataType::kHALF ? " half" : " float");
  }
};

std::vector<int32_t> element(DataType type) { return {type == DataType::kHALF ? 10 : 1}; }

Settings frame_settings(const Layout& layout) {
  return Settings()
      .ints("frame_perm", layout.hwc ? std::vector<int32_t>{0, 3, 1, 2} : std::vector<int32_t>{0, 1, 2, 3})
      .ints("frame_channels", layout.channels())
      .ints("frame_range", {layout.range});
}

// Returns the setting matte_wanted for these outputs.
std::vector<int32_t> wanted_outputs(const std::vector<int>& numbers) {
  std::vector<int32_t> wanted(kOutputCount, 0);
  for (const int number : numbers) wanted[static_cast<size_t>(number)] = 1;
  return wanted;
}

const std::vector<int32_t> kAllWanted(kOutputCount, 1);

Settings matte_settings(const Layout& layout, const std::vector<int32_t>& wanted = kAllWanted) {
  return frame_settings(layout)
      .ints("matte_perm", layout.hwc ? std::vector<int32_t>{0, 2, 3, 1} : std::vector<int32_t>{0, 1, 2, 3})
      .ints("matte_channels", layout.channels())
      .ints("matte_range", {layout.range})
      .ints("matte_type", element(layout.type))
      .ints("matte_wanted", wanted);
}

// Receives a matte from the CPU form and compares it with the plugin's.
struct Matte {
  std::vector<Bytes> outputs;
  Tensor background = maps({1, 3, 5, 7}, DataType::kFLOAT, TensorFormat::kLINEAR, 0.0f, 1.0f);

  Matte() {
    for (const Output& output : kOutputs) outputs.emplace_back(Shape{kBatch, output.channels, kHeight, kWidth});
  }

  Sinks sinks() {
    Sinks sinks;
    for (size_t i = 0; i < outputs.size(); ++i) sinks.output[i] = output_view(outputs[i].bytes(), false);
    sinks.background = view(background);
    return sinks;
  }

  void compare(const std::string& plugin, const Layout& layout, const std::vector<Tensor>& tensors,
               const std::vector<int32_t>& wanted = kAllWanted) const {
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string name = plugin + " (" + layout.text() + "): output " + kOutputs[i].name;
      const Bytes& expected = outputs[i];
      const Tensor& got = tensors[i];
      if (!wanted[i]) {
        expect(count_of(got.shape) == 1, name + " is not wanted");
        continue;
      }
      expect(got.shape == layout.shape(expected.shape) && got.type == layout.type, name + "'s shape");
      if (got.values.empty()) continue;
      size_t other = 0;
      float worst = 0.0f;
      for (size_t at = 0; at < got.values.size(); ++at) {
        const float value = layout.range == 255 ? got.values[at] : got.values[at] * 255.0f;
        const float off = std::fabs(value - static_cast<float>(expected.values[layout.place(at, expected.shape)]));
        worst = off > worst ? off : worst;
        other += layout.range == 255 ? off != 0.0f : off > 0.6f;
      }
      // Allow one level of difference, where the sums of the two forms lie on different sides of a half.
      expect(worst <= 1.0f && other * 1000 <= got.values.size(),
             name + ": off by " + std::to_string(worst) + ", " + std::to_string(other) + " values");
    }
  }
};

const std::vector<Layout> kLayouts = {{true, false, 255, DataType::kHALF},  {true, false, 255, DataType::kFLOAT},
                                      {true, true, 255, DataType::kHALF},   {false, true, 255, DataType::kFLOAT},
                                      {false, false, 255, DataType::kHALF}, {true, true, 1, DataType::kFLOAT},
                                      {false, false, 1, DataType::kHALF}};

struct MapKind {
  DataType type;
  TensorFormat format;
};
const std::vector<MapKind> kMapKinds = {{DataType::kFLOAT, TensorFormat::kLINEAR},
                                        {DataType::kHALF, TensorFormat::kLINEAR},
                                        {DataType::kFLOAT, TensorFormat::kHWC},
                                        {DataType::kHALF, TensorFormat::kHWC8}};

void compare_maps(const std::string& name, const Tensor& got, const std::vector<float>& expected, float tolerance) {
  if (got.values.empty()) return;
  float worst = 0.0f;
  for (size_t i = 0; i < expected.size(); ++i) worst = std::fmax(worst, std::fabs(got.values[i] - expected[i]));
  expect(got.values.size() == expected.size() && worst <= tolerance, name + ": off by " + std::to_string(worst));
}

// ---------------------------------------------------------------------------------------------------------------------
// One test for each op

// RVM's downsampling: explicit steps that do not follow from the sizes.
Settings sample_settings(const Layout& layout, int method, DataType type) {
  return frame_settings(layout)
      .ints("height", {9})
      .ints("width", {13})
      .ints("step_y", {4, 1})
      .longs("step_x", {52, 13})
      .ints("method", {method})
      .floats("sigma", {2.0f})
      .floats("mean", {0.485f, 0.456f, 0.406f})
      .floats("std", {0.229f, 0.224f, 0.225f})
      .ints("type", element(type));
}

void test_frame_sample() {
  for (const Layout& layout : kLayouts) {
    for (int method = 0; method < 6; ++method) {
      const bool half = (method + layout.range) % 2 != 0;
      const DataType type = half ? DataType::kHALF : DataType::kFLOAT;
      Bytes frame = random_picture();
      const auto outputs =
          live(*creators["TrtMatteFrameSample"], sample_settings(layout, method, type), {layout.tensor(frame)});
      expect(outputs[0].shape == Shape({kBatch, 3, 9, 13}) && outputs[0].type == type, "FrameSample's output");

      std::vector<float> expected(static_cast<size_t>(count_of(outputs[0].shape)));
      FrameSample op;
      op.frame = frame.bytes();
      op.sample = view(expected, outputs[0].shape, DType::kFloat32);
      op.rows = Filter{static_cast<Method>(method), make_axis(kHeight, 9), 2.0f};
      op.columns = Filter{static_cast<Method>(method), make_axis(kWidth, 13), 2.0f};
      const float mean[] = {0.485f, 0.456f, 0.406f}, std[] = {0.229f, 0.224f, 0.225f};
      for (int c = 0; c < 3; ++c) op.mean[c] = mean[c], op.scale[c] = 1.0f / std[c];
      frame_sample(op, one_thread);
      // A frame in 0...1 as half has already lost the last bits of some bytes.
      const bool coarse = half || (layout.range == 1 && layout.type == DataType::kHALF);
      // Lanczos and bicubic round to steps of 1/255, here divided by the smallest deviation.
      const float step = method > 3 ? 1.001f / 255.0f / 0.224f : 0.0f;
      compare_maps("FrameSample (" + layout.text() + ")", outputs[0], expected, step + (coarse ? 4e-3f : 1e-5f));
    }
  }
}

void test_guided_upsample() {
  for (const Layout& layout : kLayouts) {
    for (const MapKind& kind : kMapKinds) {
      Bytes frame = random_picture();
      Tensor A = maps({kBatch, 4, 9, 13}, kind.type, kind.format, -1.0f, 1.0f);
      Tensor b = maps({kBatch, 4, 9, 13}, kind.type, kind.format, 0.0f, 1.0f);
      Matte matte;
      GuidedUpsample op{frame.bytes(), view(A), view(b), matte.sinks()};
      guided_upsample(op, one_thread);
      const auto outputs = live(*creators["TrtMatteGuidedUpsample"], matte_settings(layout),
                                {layout.tensor(frame), A, b, matte.background});
      matte.compare("GuidedUpsample", layout, outputs);
    }
  }
}

void test_foreground_estimate() {
  for (const Layout& layout : kLayouts) {
    for (const int channels : {1, 4}) {
      const MapKind& kind = kMapKinds[static_cast<size_t>(layout.hwc + layout.bgr + (channels == 4))];
      const DataType type = channels == 1 ? DataType::kHALF : DataType::kFLOAT;
      Bytes frame = random_picture();
      Tensor alpha = maps({kBatch, channels, 10, 11}, kind.type, kind.format, -0.2f, 0.8f);
      const auto outputs = live(*creators["TrtMatteForegroundEstimate"],
                                frame_settings(layout).ints("type", element(type)), {layout.tensor(frame), alpha});
      expect(outputs[0].shape == Shape({kBatch, kEstimates, kGrid, kGrid}) && outputs[0].type == type,
             "ForegroundEstimate's output");
      std::vector<float> expected(static_cast<size_t>(count_of(outputs[0].shape)));
      ForegroundEstimate op{frame.bytes(), view(alpha), view(expected, outputs[0].shape, DType::kFloat32)};
      foreground_estimate(op, one_thread);
      const bool coarse = type == DataType::kHALF || (layout.range == 1 && layout.type == DataType::kHALF);
      compare_maps("ForegroundEstimate (" + layout.text() + ")", outputs[0], expected, coarse ? 8e-3f : 1e-4f);
    }
  }
}

void test_matte_upsample() {
  for (const Layout& layout : kLayouts) {
    for (const int method : {0, 1, 4, 5}) {
      const MapKind& kind = kMapKinds[static_cast<size_t>(method % 2 + layout.hwc + layout.bgr)];
      Bytes frame = random_picture();
      Tensor alpha = maps({kBatch, 1, 10, 11}, kind.type, kind.format, -0.2f, 1.2f);
      Matte matte;
      Tensor colours = maps({kBatch, 6, method ? 8 : 1, method ? 7 : 1}, kind.type, kind.format, 0.0f, 1.0f);
      MatteUpsample op{frame.bytes(), view(alpha), view(colours), static_cast<Method>(method), matte.sinks()};
      matte_upsample(op, one_thread);
      for (const std::vector<int32_t>& wanted :
           {wanted_outputs({output::fgr, output::pha}), wanted_outputs({output::rgba}), kAllWanted}) {
        const auto outputs =
            live(*creators["TrtMatteMatteUpsample"], matte_settings(layout, wanted).ints("method", {method}),
                 {layout.tensor(frame), alpha, colours, matte.background});
        matte.compare("MatteUpsample", layout, outputs, wanted);
      }
    }
  }
}

Settings select_settings(const PatchSelect& op, int capacity) {
  return Settings()
      .ints("height", {op.rows})
      .ints("width", {op.columns})
      .ints("mode", {static_cast<int32_t>(op.mode)})
      .ints("k", {op.k})
      .floats("threshold", {op.threshold})
      .ints("prevent_oversampling", {op.prevent_oversampling})
      .ints("capacity", {capacity});
}

void test_patch_select(PatchSelect op, const MapKind& kind, int batch, int height, int width, int capacity) {
  Tensor err = maps({batch, 1, height, width}, kind.type, kind.format, -0.3f, 1.0f);
  std::vector<int32_t> indices(static_cast<size_t>(3 * capacity)), count(1);
  std::vector<float> ref(static_cast<size_t>(batch) * static_cast<size_t>(op.rows) * static_cast<size_t>(op.columns));
  op.err = view(err);
  op.indices = view(indices, {1, 1, capacity, 3}, DType::kInt32);
  op.count = view(count, {1, 1, 1, 1}, DType::kInt32);
  op.ref = view(ref, {batch, 1, op.rows, op.columns}, DType::kFloat32);
  patch_select(op, one_thread);

  const auto outputs = live(*creators["TrtMattePatchSelect"], select_settings(op, capacity), {err});
  expect(outputs[0].type == DataType::kINT32 && outputs[0].shape == Shape({capacity, 3}), "PatchSelect's indices");
  expect(outputs[1].type == DataType::kINT32 && outputs[1].shape == Shape({1}), "PatchSelect's count");
  expect(outputs[2].type == DataType::kFLOAT && outputs[2].shape == Shape({batch, 1, op.rows, op.columns}),
         "PatchSelect's ref");
  if (outputs[0].values.empty()) return;
  const std::string name = "PatchSelect of " + std::to_string(op.k);
  expect(outputs[0].values == std::vector<float>(indices.begin(), indices.end()), name + ": the same indices");
  expect(outputs[1].values[0] == static_cast<float>(count[0]), name + ": the same count");
  expect(outputs[2].values == ref, name + ": the same ref");
}

void test_patch_select() {
  PatchSelect op;
  op.rows = 21;
  op.columns = 34;
  for (const MapKind& kind : kMapKinds) {
    for (const bool prevent : {false, true}) {
      op.prevent_oversampling = prevent;
      op.mode = SelectMode::kSampling;
      op.k = 600;
      test_patch_select(op, kind, kBatch, 9, 13, 2 * op.k);
      op.mode = SelectMode::kThresholding;
      op.threshold = 0.4f;
      test_patch_select(op, kind, kBatch, 9, 13, 300);
    }
  }
  // BackgroundMattingV2's default settings: 80,000 pixels of an HD frame, 320,000 of a 4K frame.
  op.mode = SelectMode::kSampling;
  op.rows = 270, op.columns = 480, op.k = 5000;
  test_patch_select(op, kMapKinds[1], 1, 68, 120, op.k);
  op.rows = 540, op.columns = 960, op.k = 20000;
  test_patch_select(op, kMapKinds[1], 1, 135, 240, op.k);
}

constexpr int kPatches = 40;

// Makes indices of which the last ones are unused, like those of PatchSelect.
Tensor random_indices() {
  Tensor indices{DataType::kINT32, {kPatches, 3}, {}};
  for (int k = 0; k < kPatches; ++k) {
    const bool used = k < kPatches - 5;
    const int sides[] = {kBatch, kHeight / 4, kWidth / 4};
    for (const int side : sides) {
      indices.values.push_back(used ? static_cast<float>(random_bits() % static_cast<unsigned>(side)) : -1.0f);
    }
  }
  return indices;
}

void test_patch_crop() {
  for (const Layout& layout : kLayouts) {
    for (const int kernel : {1, 3}) {
      for (const MapKind& kind : kMapKinds) {
        Bytes src = random_picture(), bgr = random_picture();
        Tensor small = maps({kBatch, 37, 9, 13}, kind.type, kind.format, -1.0f, 1.0f);
        Tensor indices = random_indices();
        const auto settings = frame_settings(layout).ints("kernel", {kernel}).ints("type", element(kind.type));
        const auto outputs =
            live(*creators["TrtMattePatchCrop"], settings, {small, layout.tensor(src), layout.tensor(bgr), indices});
        const int half_side = kernel == 3 ? 8 : 2, full_side = kernel == 3 ? 8 : 4;
        const Shape half{kPatches, 43, half_side, half_side}, full{kPatches, 6, full_side, full_side};
        expect(outputs[0].shape == half && outputs[1].shape == full, "PatchCrop's outputs");
        expect(outputs[0].type == kind.type && outputs[1].type == kind.type, "PatchCrop's types");

        std::vector<int32_t> places(indices.values.begin(), indices.values.end());
        std::vector<float> half_values(static_cast<size_t>(count_of(half)));
        std::vector<float> full_values(static_cast<size_t>(count_of(full)));
        PatchCrop op{view(small),
                     src.bytes(),
                     bgr.bytes(),
                     view(places, {1, 1, kPatches, 3}, DType::kInt32),
                     view(half_values, half, DType::kFloat32),
                     view(full_values, full, DType::kFloat32)};
        patch_crop(op, one_thread);
        const bool coarse = kind.type == DataType::kHALF || (layout.range == 1 && layout.type == DataType::kHALF);
        compare_maps("PatchCrop's half", outputs[0], half_values, coarse ? 1e-3f : 1e-5f);
        compare_maps("PatchCrop's full", outputs[1], full_values, coarse ? 1e-3f : 1e-5f);
      }
    }
  }
}

void test_patch_scatter() {
  for (const Layout& layout : kLayouts) {
    for (const MapKind& kind : kMapKinds) {
      Bytes frame = random_picture();
      Tensor coarse = maps({kBatch, 4, 9, 13}, kind.type, kind.format, -0.2f, 1.0f);
      Tensor patches = maps({kPatches, 4, 4, 4}, kind.type, kind.format, -0.2f, 1.0f);
      Tensor indices = random_indices();
      std::vector<int32_t> places(indices.values.begin(), indices.values.end());
      Matte matte;
      PatchScatter op{view(coarse), view(patches), view(places, {1, 1, kPatches, 3}, DType::kInt32), frame.bytes(),
                      matte.sinks()};
      patch_scatter(op, one_thread);
      const auto outputs = live(*creators["TrtMattePatchScatter"], matte_settings(layout),
                                {coarse, patches, indices, layout.tensor(frame), matte.background});
      matte.compare("PatchScatter", layout, outputs);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Refusals

// Returns valid settings of each op, with all of its fields.
std::map<std::string, Settings> good_settings() {
  const Layout layout = kLayouts[0];
  PatchSelect select;
  select.rows = select.columns = 10;
  select.k = 4;
  return {{"TrtMatteForegroundEstimate", frame_settings(layout).ints("type", {1})},
          {"TrtMatteFrameSample", sample_settings(layout, 0, DataType::kFLOAT)},
          {"TrtMatteGuidedUpsample", matte_settings(layout)},
          {"TrtMatteMatteUpsample", matte_settings(layout).ints("method", {0})},
          {"TrtMattePatchSelect", select_settings(select, 4)},
          {"TrtMattePatchCrop", frame_settings(layout).ints("kernel", {3}).ints("type", {1})},
          {"TrtMattePatchScatter", matte_settings(layout)}};
}

void refuses(const std::string& plugin, const Settings& settings, const std::string& message,
             TensorRTPhase phase = TensorRTPhase::kBUILD) {
  heard.messages.clear();
  expect(make(*creators[plugin], settings, phase) == nullptr, plugin + " refuses: " + message);
  expect(heard.heard(plugin, message),
         plugin + " says: " + message + "; it said " + (heard.messages.empty() ? "nothing" : heard.messages.back()));
}

void test_refusals() {
  for (const auto& [plugin, good] : good_settings()) {
    expect(make(*creators[plugin], good) != nullptr, plugin + " takes good settings");
    refuses(plugin, Settings(good).ints("surprise", {1}), "the field surprise is unknown");
    const nvinfer1::PluginFieldCollection* names = creators[plugin]->getFieldNames();
    for (int i = 0; i < names->nbFields; ++i) {
      const nvinfer1::PluginField& field = names->fields[i];
      const std::string name = field.name;
      const auto with = [&, &as = good](const Settings& wrong) { return Settings(as).with(wrong); };
      const std::string the_field = "the field " + name;
      const auto length = static_cast<size_t>(field.length);
      refuses(plugin, Settings(good).without(name), the_field + " is missing", TensorRTPhase::kRUNTIME);
      refuses(plugin, Settings(good).twice(name), the_field + " is given twice");
      refuses(plugin, with(Settings().ints(name.c_str(), std::vector<int32_t>(length + 1, 1))), the_field + " has ");
      refuses(plugin, with(Settings().ints(name.c_str(), {})), the_field + " has ");
      if (field.type == nvinfer1::PluginFieldType::kINT32) {
        refuses(plugin, with(Settings().floats(name.c_str(), std::vector<float>(length, 1.0f))),
                the_field + " must be int32");
        refuses(plugin, with(Settings().longs(name.c_str(), std::vector<int64_t>(length, int64_t{1} << 40))),
                the_field + " must be int32");
      } else {
        refuses(plugin, with(Settings().ints(name.c_str(), std::vector<int32_t>(length, 1))),
                the_field + " must be float32");
      }
    }
    const nvinfer1::PluginFieldCollection hollow{3, nullptr};
    heard.messages.clear();
    expect(creators[plugin]->createPlugin("a node", nullptr, TensorRTPhase::kBUILD) == nullptr &&
               heard.heard(plugin, "malformed"),
           plugin + " refuses no fields at all");
    expect(creators[plugin]->createPlugin("a node", &hollow, TensorRTPhase::kRUNTIME) == nullptr,
           plugin + " refuses fields without memory");
    Settings nameless = good;
    auto fields = nameless.collection();
    std::vector<nvinfer1::PluginField> list(fields.fields, fields.fields + fields.nbFields);
    list.emplace_back();
    fields = {static_cast<int32_t>(list.size()), list.data()};
    expect(creators[plugin]->createPlugin("a node", &fields, TensorRTPhase::kBUILD) == nullptr,
           plugin + " refuses a field without a name");
  }

  const auto bad = [all = good_settings()](const std::string& plugin, const Settings& wrong, const char* message) {
    refuses(plugin, Settings(all.at(plugin)).with(wrong), message);
  };
  const std::string sample = "TrtMatteFrameSample", guided = "TrtMatteGuidedUpsample", select = "TrtMattePatchSelect";
  bad(sample, Settings().ints("height", {0}), "height and width");
  bad(sample, Settings().ints("step_x", {1, 0}), "fractions");
  bad(sample, Settings().ints("method", {6}), "method is 6");
  bad(sample, Settings().ints("method", {3}).floats("sigma", {NAN}), "sigma");
  bad(sample, Settings().floats("std", {1.0f, 0.0f, 1.0f}), "std");
  bad(sample, Settings().ints("type", {2}), "type is 2");
  bad(sample, Settings().ints("frame_perm", {0, 1, 1, 2}), "frame_perm");
  bad(sample, Settings().ints("frame_perm", {0, 1, 2, 400}), "frame_perm");
  bad(sample, Settings().ints("frame_channels", {1, 0, 2}), "frame_channels");
  bad(sample, Settings().ints("frame_range", {256}), "frame_range is 256");
  bad(guided, Settings().ints("matte_type", {2}), "cast them outside");
  bad(guided, Settings().ints("matte_perm", {-1, 2, 3, 1}), "matte_perm");
  bad(guided, Settings().ints("matte_wanted", wanted_outputs({})), "at least one");
  bad(guided, Settings().ints("matte_wanted", std::vector<int32_t>(kOutputCount, 2)), "zeros and ones");
  bad("TrtMatteMatteUpsample", Settings().ints("method", {2}), "method is 2");
  bad("TrtMattePatchCrop", Settings().ints("kernel", {2}), "kernel is 2");
  bad(select, Settings().ints("k", {101}), "k is 101");
  bad(select, Settings().ints("k", {0}), "k is 0");
  bad(select, Settings().ints("height", {1 << 15}), "patch grid");
  bad(select, Settings().ints("mode", {2}), "mode is 2");
  bad(select, Settings().ints("capacity", {0}), "capacity is 0");
  bad(select, Settings().floats("threshold", {NAN}), "threshold");
}

// Missing settings get their defaults in ONNX, but not in a plan.
void test_defaults() {
  const auto all = good_settings();
  const Plugin short_one =
      make(*creators["TrtMatteFrameSample"],
           Settings().ints("height", {9}).ints("width", {13}).ints("step_y", {4, 1}).ints("step_x", {4, 1}));
  expect(short_one != nullptr, "FrameSample with its required settings alone");
  refuses("TrtMatteFrameSample", Settings(all.at("TrtMatteFrameSample")).without("height"),
          "the field height is missing");
}

// Output shapes follow inputs whose sizes are unknown at first.
void test_dynamic_shapes() {
  auto all = good_settings();
  const Plugin guided = make(*creators["TrtMatteGuidedUpsample"], all["TrtMatteGuidedUpsample"]);
  OutputShapes matte(guided, {{1, 36, 52, 3}, {1, 4, 9, 13}, {1, 4, 9, 13}, {1, 3, 1, 1}});
  const auto larger = matte.of({{3, 720, 1280, 3}, {3, 4, 90, 160}, {3, 4, 90, 160}, {1, 3, 1, 1}});
  std::vector<Shape> expected;
  for (const Output& output : kOutputs) expected.push_back({3, 720, 1280, output.channels});
  expect(larger == expected, "a matte's shape follows its frame's");

  const Plugin crop = make(*creators["TrtMattePatchCrop"], all["TrtMattePatchCrop"]);
  OutputShapes patches(crop, {{1, 36, 9, 13}, {1, 36, 52, 3}, {1, 36, 52, 3}, {40, 3}});
  const auto more = patches.of({{2, 50, 9, 13}, {2, 36, 52, 3}, {2, 36, 52, 3}, {70, 3}});
  expect(more == std::vector<Shape>({{70, 56, 8, 8}, {70, 6, 8, 8}}), "patches are as many as indices");

  OutputShapes flat(crop, {{1, 36, 9, 13}, {36, 52, 3}, {1, 36, 52, 3}, {40, 3}});
  expect(flat.status != 0, "a frame of three dimensions is refused");
  OutputShapes few(crop, {{1, 36, 9, 13}});
  expect(few.status != 0, "a node with too few inputs is refused");
}

// onShapeChange refuses shapes that do not fit, each with a message that tells why.
void test_shapes_that_do_not_fit() {
  auto all = good_settings();
  const auto refused = [&](const std::string& name, const std::vector<Tensor>& in, const std::vector<Shape>& out,
                           DataType type, const std::string& message) {
    const Plugin plugin = make(*creators[name], all[name]);
    std::vector<nvinfer1::PluginTensorDesc> inputs, outputs;
    for (const Tensor& tensor : in) inputs.push_back(tensor.desc());
    for (const Shape& shape : out) outputs.push_back(Tensor{type, shape, {}}.desc());
    heard.messages.clear();
    const int status = runtime_of(plugin)->onShapeChange(inputs.data(), static_cast<int32_t>(inputs.size()),
                                                         outputs.data(), static_cast<int32_t>(outputs.size()));
    expect(status != 0 && heard.heard(name, message), name + " refuses: " + message);
  };
  const auto half = [](Shape shape) { return Tensor{DataType::kHALF, std::move(shape), {}}; };
  const auto ints = [](Shape shape) { return Tensor{DataType::kINT32, std::move(shape), {}}; };
  refused("TrtMatteFrameSample", {half({1, 24, 52, 3})}, {{1, 3, 9, 13}}, DataType::kFLOAT,
          "do not fit into 24 pixels");
  refused("TrtMatteFrameSample", {half({1, 36, 52, 4})}, {{1, 3, 9, 13}}, DataType::kFLOAT, "4 channels");
  refused("TrtMatteFrameSample", {half({2, 36, 52, 3})}, {{1, 3, 9, 13}}, DataType::kFLOAT, "batch of 1; expected 2");
  refused("TrtMatteFrameSample", {half({1, 36, 70000, 3})}, {{1, 3, 9, 13}}, DataType::kFLOAT, "65536");
  std::vector<Shape> matte;
  for (const Output& output : kOutputs) matte.push_back({1, 36, 52, output.channels});
  const Tensor frame = half({1, 36, 52, 3}), background = half({1, 3, 1, 1});
  refused("TrtMatteGuidedUpsample", {frame, half({1, 3, 9, 13}), half({1, 4, 9, 13}), background}, matte,
          DataType::kHALF, "A has 3 channels");
  refused("TrtMatteGuidedUpsample", {frame, half({1, 4, 9, 13}), half({1, 4, 9, 12}), background}, matte,
          DataType::kHALF, "b is 12x9");
  refused("TrtMatteGuidedUpsample", {frame, half({1, 4, 9, 13}), half({1, 4, 9, 13}), half({2, 3, 1, 1})}, matte,
          DataType::kHALF, "background has a batch of 2");
  refused("TrtMatteMatteUpsample", {frame, half({1, 2, 9, 13}), half({1, 6, 8, 8}), background}, matte, DataType::kHALF,
          "2 channels");
  refused("TrtMatteMatteUpsample", {frame, half({1, 1, 9, 13}), half({1, 3, 8, 8}), background}, matte, DataType::kHALF,
          "colours has 3 channels");
  refused("TrtMatteForegroundEstimate", {frame, half({1, 2, 9, 13})}, {{1, 6, 128, 128}}, DataType::kFLOAT,
          "2 channels; expected 1 or 4");
  const Tensor odd = half({1, 36, 50, 3});
  refused("TrtMattePatchCrop", {half({1, 36, 9, 13}), odd, odd, ints({40, 3})}, {{40, 42, 8, 8}, {40, 6, 8, 8}},
          DataType::kFLOAT, "multiples of 4");
  refused("TrtMattePatchScatter", {half({1, 4, 9, 13}), half({39, 4, 4, 4}), ints({40, 3}), frame, background}, matte,
          DataType::kHALF, "batch of 39; expected 40");
  refused("TrtMattePatchScatter", {half({1, 4, 9, 13}), half({40, 4, 4, 4}), ints({40, 2}), frame, background}, matte,
          DataType::kHALF, "(40, 2); expected (K, 3)");
}

int32_t running_version = 10000 * NV_TENSORRT_MAJOR;

template <typename Function>
Function symbol(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

// Replaces the function of TensorRT's library that the plugins call.
extern "C" __attribute__((visibility("default"))) int32_t getInferLibVersion() { return running_version; }

int main(int argc, char** argv) try {
  if (argc < 2) return fprintf(stderr, "usage: plugin_test LIBRARY [--fields]\n"), 2;
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
  const auto get = symbol<nvinfer1::IPluginCreatorInterface* const* (*)(int32_t&)>(library, "getCreators");
  const auto set = symbol<void (*)(nvinfer1::ILoggerFinder*)>(library, "setLoggerFinder");
  const auto version = symbol<int32_t (*)()>(library, "trtmatteTensorRTVersion");
  if (!get || !set || !version) return fprintf(stderr, "a symbol is missing\n"), 2;

  int32_t count = 0;
  nvinfer1::IPluginCreatorInterface* const* list = get(count);
  for (int32_t i = 0; i < count; ++i) {
    auto* creator = static_cast<Creator*>(list[i]);
    creators[creator->getPluginName()] = creator;
    expect(creator->getPluginVersion() == std::string("1"), "a creator's version");
    expect(creator->getPluginNamespace() == std::string("trtmatte"), "a creator's namespace");
    expect(creator->getInterfaceInfo().kind == std::string("PLUGIN CREATOR_V3ONE"), "a creator's interface");
  }
  if (argc > 2) {
    for (const auto& [name, creator] : creators) {
      printf("%s", name.c_str());
      const nvinfer1::PluginFieldCollection* fields = creator->getFieldNames();
      for (int32_t i = 0; i < fields->nbFields; ++i) {
        const nvinfer1::PluginField& field = fields->fields[i];
        const bool whole = field.type == nvinfer1::PluginFieldType::kINT32;
        printf(" %s:%s:%d", field.name, whole ? "int" : "float", field.length);
      }
      printf("\n");
    }
    return 0;
  }
#define ONE_OP(name, Op, compilation) +1
  constexpr int kOps = TRTMATTE_OPS(ONE_OP);
#undef ONE_OP
  if (!expect(count == kOps && creators.size() == kOps, "one creator for each op")) return 1;
  running_version = 10000 * (NV_TENSORRT_MAJOR == 10 ? 11 : 10);
  int32_t others = -1;
  get(others);
  expect(others == 0, "no creators for another major version of TensorRT");
  running_version = 10000 * NV_TENSORRT_MAJOR;
  expect(version() == 1000 * NV_TENSORRT_MAJOR + NV_TENSORRT_MINOR, "the version of the headers");

  LogFinder finder(heard);
  set(&finder);
  test_refusals();
  test_defaults();
  test_dynamic_shapes();
  test_shapes_that_do_not_fit();
  test_frame_sample();
  test_guided_upsample();
  test_foreground_estimate();
  test_matte_upsample();
  test_patch_select();
  test_patch_crop();
  test_patch_scatter();
  set(nullptr);

  const char* promised = getenv("TRTMATTE_REQUIRE_GPU");
  expect(has_device() || !promised || strcmp(promised, "1") != 0,
         "the CUDA device that TRTMATTE_REQUIRE_GPU=1 promises");
  printf(has_device() ? "values compared with the CPU forms\n" : "values not compared: no CUDA device was found\n");
  printf(failures ? "%d checks FAILED\n" : "all checks passed\n", failures);
  return failures ? 1 : 0;
} catch (const std::exception& error) {
  printf("FAILED: %s\n", error.what());
  return 1;
}
