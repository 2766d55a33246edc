// The outputs of the ops that write a matte, and the arrays that receive them.
//
// A new output is one row in TRTMATTE_OUTPUTS. The CPU and the CUDA forms, the bindings and the plugins follow from it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/view.h"
#include "ops/math/pixel_math.h"

namespace trtmatte {

// X(name, channels, reads_background, value of each channel...), in the order of the ONNX nodes.
//
// name                the output's name in Python, in ONNX nodes and in error messages
// channels            1, 3 (colours) or 4 (colours, then alpha)
// reads_background    true if a value below reads background[]
// values              expressions of fgr[3], pha and background[3], all in 0...1; each result must be in 0...1
#define TRTMATTE_OUTPUTS(X)                                                                   \
  X(fgr, 3, false, fgr[0], fgr[1], fgr[2])                                                    \
  X(pha, 1, false, pha)                                                                       \
  X(rgba, 4, false, fgr[0], fgr[1], fgr[2], pha)                                              \
  X(composite, 3, true, blend(fgr[0], pha, background[0]), blend(fgr[1], pha, background[1]), \
    blend(fgr[2], pha, background[2]))

struct Output {
  const char* name;
  int channels;
  bool reads_background;
};

#define TRTMATTE_OUTPUT(name, channels, reads_background, ...) Output{#name, channels, reads_background},
inline constexpr Output kOutputs[] = {TRTMATTE_OUTPUTS(TRTMATTE_OUTPUT)};
#undef TRTMATTE_OUTPUT

constexpr int kOutputCount = sizeof kOutputs / sizeof *kOutputs;

// "fgr, pha, rgba, composite", for error messages.
#define TRTMATTE_OUTPUT_NAME(name, ...) ", " #name
inline constexpr const char* kOutputNames = (TRTMATTE_OUTPUTS(TRTMATTE_OUTPUT_NAME)) + 2;
#undef TRTMATTE_OUTPUT_NAME

// The positions of outputs in kOutputs: output::fgr, output::pha, ...
namespace output {
#define TRTMATTE_OUTPUT_NUMBER(name, ...) name,
enum Number : int { TRTMATTE_OUTPUTS(TRTMATTE_OUTPUT_NUMBER) };
#undef TRTMATTE_OUTPUT_NUMBER
}  // namespace output

// The clamped foreground and alpha of one pixel, or of several pixels at once.
template <typename Value>
struct MattePixel {
  Value fgr[3];
  Value pha;
};

template <int number>
using OutputNumber = std::integral_constant<int, number>;

// output_values(OutputNumber<output::rgba>(), pixel, background, values) computes the channels of one output.
#define TRTMATTE_OUTPUT_VALUES(name, channels, reads_background, ...)                                      \
  static_assert(channels == 1 || channels == 3 || channels == 4, "an output has 1, 3 or 4 channels");      \
  template <typename Value>                                                                                \
  TRTMATTE_HD void output_values(OutputNumber<output::name>, const MattePixel<Value>& pixel,               \
                                 [[maybe_unused]] const Value(&background)[3], Value(&values)[channels]) { \
    [[maybe_unused]] const Value(&fgr)[3] = pixel.fgr;                                                     \
    [[maybe_unused]] const Value& pha = pixel.pha;                                                         \
    const Value computed[] = {__VA_ARGS__};                                                                \
    static_assert(sizeof computed == sizeof values, "an output has as many values as channels");           \
    for (int c = 0; c < channels; ++c) values[c] = computed[c];                                            \
  }
TRTMATTE_OUTPUTS(TRTMATTE_OUTPUT_VALUES)
#undef TRTMATTE_OUTPUT_VALUES

// Note [Channel order]
// The channels of a view are red, green, blue. For BGR in memory the view starts at the last colour and its channel
// stride is negative. Alpha stays last in BGRA, so that no stride reaches all four channels. An OutputView therefore
// stores the position of alpha apart. Use the functions below; other code should not compute it.
struct OutputView : View {
  int64_t alpha = 0;  // elements from red to alpha; for outputs of four channels
};

// Returns the colours of a picture that has its channels in the order of memory: RGB(A), or BGR(A) if `bgr`.
inline View colours_of(View picture, bool bgr) {
  picture.size[1] = 3;
  if (bgr) {
    picture.data = static_cast<char*>(picture.data) + 2 * picture.stride[1] * size_of(picture.dtype);
    picture.stride[1] = -picture.stride[1];
  }
  return picture;
}

// Returns the view of an output of 1, 3 or 4 channels, in the order of memory like above.
inline OutputView output_view(const View& picture, bool bgr) {
  if (picture.size[1] < 3) return OutputView{picture};
  return OutputView{colours_of(picture, bgr), bgr ? picture.stride[1] : 3 * picture.stride[1]};
}

// Returns the elements from the first channel to channel c.
TRTMATTE_HD int64_t channel_offset(const OutputView& view, int c) { return c < 3 ? c * view.stride[1] : view.alpha; }

// Returns true if alpha follows the colours in memory. The colours must be one element apart.
TRTMATTE_HD bool alpha_follows(const OutputView& view) {
  return view.alpha == (view.stride[1] < 0 ? 2 * view.stride[1] : 0) + 3;
}

// The arrays that an op writes. An output without data is not wanted.
struct Sinks {
  OutputView output[kOutputCount];
  View background;  // of any size, batch 1 or the frame's; read only for outputs that need it
};

static inline bool reads_background(const Sinks& sinks) {
  bool reads = false;
  for (int i = 0; i < kOutputCount; ++i) reads = reads || (kOutputs[i].reads_background && sinks.output[i]);
  return reads;
}

// Report if an output shows the colours of the foreground: all but alpha do.
static inline bool shows_foreground(const Sinks& sinks) {
  bool shows = false;
  for (int i = 0; i < kOutputCount; ++i) shows = shows || (kOutputs[i].channels > 1 && sinks.output[i]);
  return shows;
}

}  // namespace trtmatte
