// Weighted sums over many source pixels: the weights of an axis, and the pass along rows, many rows at once.
#pragma once

#include "base/parallel.h"
#include "ops/cpu/lines.h"
#include "ops/math/taps.h"

namespace trtmatte::TRTMATTE_SIMD {

// The normalised weights of all source pixels of each output pixel, along one axis.
struct Taps {
  TapRange* range;
  int64_t* start;  // position of an output pixel's first weight
  float* weight;

  static int most(const Filter& filter) {
    const float step = static_cast<float>(filter.axis.step) * 0x1p-32f, support = filter_support(filter);
    const float reach = 2.0f * (step > support ? step : support) + 4.0f;
    return reach < static_cast<float>(filter.axis.in) ? static_cast<int>(reach) : filter.axis.in;
  }
  static size_t bytes(const Filter& filter) {
    const auto out = static_cast<size_t>(filter.axis.out);
    return Arena::size_for<TapRange>(out) + Arena::size_for<int64_t>(out) +
           Arena::size_for<float>(out * static_cast<size_t>(most(filter)));
  }

  void build(const Filter& filter, Arena& arena) {
    const int out = filter.axis.out;
    range = arena.take<TapRange>(out);
    start = arena.take<int64_t>(out);
    weight = arena.take<float>(static_cast<size_t>(out) * static_cast<size_t>(most(filter)));
    int64_t next = 0;
    for (int i = 0; i < out; ++i) {
      range[i] = tap_range(filter, i);
      start[i] = next;
      if (in_two_passes(filter.method)) {
        next += round_weights(filter, i, weight + next);
        continue;
      }
      float sum = 0.0f;
      for (int j = range[i].begin; j < range[i].end; ++j) sum += weight[next++] = tap_weight(filter, i, j);
      for (int64_t k = start[i]; k < next; ++k) weight[k] /= sum;
    }
  }
  const float* weights(int i) const { return weight + start[i]; }

 private:
  // Rounds to 22 bits after the point, as Pillow does: where black meets white, that decides between two bytes.
  int round_weights(const Filter& filter, int i, float* to) const {
    const int begin = range[i].begin, count = range[i].end - begin;
    const Axis& axis = filter.axis;
    const bool plain = axis.step == make_axis(axis.in, axis.out).step;  // the exact step is known
    const double step = plain ? static_cast<double>(axis.in) / axis.out : static_cast<double>(axis.step) * 0x1p-32;
    const double centre = (i + 0.5) * step;
    double sum = 0.0;
    for (int j = 0; j < count; ++j) sum += two_pass_weight(filter.method, begin + j + 0.5 - centre, step);
    for (int j = 0; j < count; ++j) {
      const double share = two_pass_weight(filter.method, begin + j + 0.5 - centre, step) / sum;
      to[j] = static_cast<float>(__builtin_rint(share * 0x1p22) * 0x1p-22);
    }
    return count;
  }
};

// Note [Rows side by side]
// The pass along the rows takes kFloats rows at once, one in each lane of a vector: the columns that an output pixel
// reads, and their weights, are the same for all of them. Row r of channel c of pixel x is at
// (x * channels + c) * kFloats + r.
static inline size_t side_by_side_floats(int width, int channels) {
  return static_cast<size_t>(width) * static_cast<size_t>(channels) * kFloats;
}

// Puts a row, or a part of it from x on, beside the others.
static inline void put_beside(const float* from, int count, float* rows, int x, int channels, int c, int r) {
  float* to = rows + (static_cast<int64_t>(x) * channels + c) * kFloats + r;
  for (int i = 0; i < count; ++i) to[static_cast<int64_t>(i) * channels * kFloats] = from[i];
}

// Calls store(x, sums) for each output pixel of an axis, with one vector of sums a channel.
template <int channels, typename Store>
static inline void resample_rows(const Taps& columns, int out, const float* rows, const Store& store) {
  for (int x = 0; x < out; ++x) {
    const TapRange range = columns.range[x];
    const float* weights = columns.weights(x);
    const float* at = rows + static_cast<int64_t>(range.begin) * channels * kFloats;
    Floats sums[channels];
    for (Floats& sum : sums) sum = 0.0f;
    for (int j = 0; j < range.end - range.begin; ++j) {
      const Floats weight(weights[j]);
      for (Floats& sum : sums) {
        sum = sum + weight * Floats::load(at);
        at += kFloats;
      }
    }
    store(x, sums);
  }
}

}  // namespace trtmatte::TRTMATTE_SIMD
