// Memory that arrays share, with themselves or with each other.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/errors.h"
#include "bindings/array.h"

namespace trtmatte {

namespace {

// Returns true if each step goes beyond all elements of the smaller steps. Other strides may be free of overlaps too,
// but no picture has them.
bool elements_lie_apart(const Array& array) {
  std::vector<std::pair<int64_t, int64_t>> axes;  // step and size
  for (size_t i = 0; i < array.shape.size(); ++i) {
    if (array.shape[i] == 0) return true;
    if (array.shape[i] > 1) axes.emplace_back(std::abs(array.strides[i]), array.shape[i]);
  }
  std::sort(axes.begin(), axes.end());
  int64_t extent = 1;
  for (const auto& [step, size] : axes) {
    if (step < extent) return false;
    extent += step * (size - 1);
  }
  return true;
}

// Returns true if two arrays are channels of one picture, for example alpha beside its colours: they have the same
// steps from pixel to pixel and use different bytes within a pixel.
bool interleaved(const Array& a, const Array& b) {
  const int64_t item = size_of(a.dtype);
  if (a.dtype != b.dtype) return false;
  // Returns the bytes that one pixel spans and sets `step` to the distance between pixels.
  const auto pixel = [item](const Array& array, int64_t& step) {
    step = 0;
    for (size_t i = 0; i < array.shape.size(); ++i) {
      const int64_t stride = std::abs(array.strides[i]) * item;
      if (array.shape[i] > 4 && (step == 0 || stride < step)) step = stride;
    }
    int64_t extent = item;
    for (size_t i = 0; i < array.shape.size(); ++i) {
      const int64_t stride = std::abs(array.strides[i]) * item;
      if (array.shape[i] <= 4 && stride < step) extent += (array.shape[i] - 1) * stride;
    }
    return extent;
  };
  int64_t step_a, step_b;
  const int64_t extent_a = pixel(a, step_a), extent_b = pixel(b, step_b);
  if (step_a == 0 || step_a != step_b || extent_a >= step_a || extent_b >= step_b) return false;
  const auto in_step = [item, step = step_a](const Array& array) {
    for (size_t i = 0; i < array.shape.size(); ++i) {
      const int64_t stride = std::abs(array.strides[i]) * item;
      if (array.shape[i] > 1 && stride >= step && stride % step != 0) return false;
    }
    return true;
  };
  if (!in_step(a) || !in_step(b)) return false;
  const int64_t distance = ((b.range().begin - a.range().begin) % step_a + step_a) % step_a;
  return distance >= extent_a && distance + extent_b <= step_a;
}

}  // namespace

void expect_writable(const Array& array) {
  const auto refuse = [&](const char* problem) { throw FrameError(array.name + " is " + array.describe() + problem); };
  if (array.readonly) refuse("; it is read-only: pass a writable array");
  if (!elements_lie_apart(array)) refuse("; its elements share memory: pass a copy");
}

void expect_apart(const Array& a, const Array& b) {
  const Array::Range first = a.range(), second = b.range();
  if (first.end <= second.begin || second.end <= first.begin || interleaved(a, b)) return;
  throw FrameError(b.name + " overlaps " + a.name + " in memory; expected arrays of their own: pass a copy of one");
}

}  // namespace trtmatte
