// Checks and conversions that the bindings of several ops share.
#pragma once

#include <pybind11/stl.h>

#include <string>

#include "bindings/call.h"
#include "ops/math/alpha.h"
#include "ops/math/taps.h"

namespace trtmatte {

inline Method method_named(const std::string& name) {
  if (name == "linear") return Method::kLinear;
  if (name == "area") return Method::kArea;
  if (name == "antialias") return Method::kAntialias;
  if (name == "gaussian") return Method::kGaussian;
  if (name == "lanczos") return Method::kLanczos;
  if (name == "bicubic") return Method::kBicubic;
  throw SettingError("method is '" + name +
                     "'; expected 'linear', 'area', 'antialias', 'gaussian', 'lanczos' or 'bicubic'");
}

inline std::string size_text(const View& view) {
  return std::to_string(view.size[0]) + "x" + std::to_string(view.size[1]) + "x" + std::to_string(view.size[2]) + "x" +
         std::to_string(view.size[3]);
}

inline void expect_batch(const View& view, const char* name, int batch) {
  if (view.size[0] == batch) return;
  throw FrameError(std::string(name) + " has a batch of " + std::to_string(view.size[0]) + "; expected " +
                   std::to_string(batch));
}

// Note [Alpha as a function of colour]
inline void expect_alpha(const View& view, const char* name) {
  if (view.size[1] == 1 || view.size[1] == kAlphaOfColour) return;
  throw FrameError(std::string(name) + " is " + size_text(view) +
                   "; expected 1 channel, or 4: alpha's slopes for red, green and blue, and its offset");
}

inline void expect_same_size(const View& a, const char* a_name, const View& b, const char* b_name) {
  for (int i = 0; i < 4; ++i) {
    if (a.size[i] == b.size[i]) continue;
    throw FrameError(std::string(b_name) + " is " + size_text(b) + "; expected the size of " + a_name + ", " +
                     size_text(a));
  }
}

inline void expect_multiple_of_4(const View& frame, const char* name) {
  if (frame.size[2] % 4 == 0 && frame.size[3] % 4 == 0) return;
  throw FrameError(std::string(name) + " is " + std::to_string(frame.size[3]) + "x" + std::to_string(frame.size[2]) +
                   " pixels; expected both sides to be multiples of 4: crop or pad it");
}

// Runs the expression `cpu`, which may use `pool`, for arrays on the CPU, and `cuda` for arrays on a CUDA device.
#ifdef TRTMATTE_WITH_CUDA
#define TRTMATTE_RUN(call, cpu, cuda) (call).run([&](ThreadPool& pool) { cpu; }, [&] { cuda; })
#else
#define TRTMATTE_RUN(call, cpu, cuda) (call).run([&](ThreadPool& pool) { cpu; }, [] {})
#endif

}  // namespace trtmatte
