#include "ops/cpu/resample.h"
#include "ops/frame_sample/frame_sample.h"
#include "ops/frame_sample/frame_sample_math.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

// Normalises and stores a tile of the sample.
void store_sample(const FrameSample& op, Line* rgb, int n, int y, int x, int count) {
  for (int c = 0; c < 3; ++c) {
    float* v = rgb[c].v;
    for (int i = 0; i < count; ++i) v[i] = normalise(v[i], op.mean[c], op.scale[c]);
    store_channel(v, count, op.sample, n, c, y, x);
  }
}

// The left and right neighbours of each output column, as offsets into a row of the frame.
struct Neighbours {
  int64_t* first;
  int64_t* second;
  float* weight;

  static constexpr size_t bytes(int out) { return 2 * Arena::size_for<int64_t>(out) + Arena::size_for<float>(out); }
  Neighbours(const Axis& axis, int64_t stride, Arena& arena) {
    first = arena.take<int64_t>(axis.out);
    second = arena.take<int64_t>(axis.out);
    weight = arena.take<float>(axis.out);
    for (int i = 0; i < axis.out; ++i) {
      const Tap tap = tap_at(axis, i);
      first[i] = tap.first * stride;
      second[i] = tap.second * stride;
      weight[i] = tap.weight;
    }
  }
};

template <typename T>
void linear_tile(const FrameSample& op, const Neighbours& columns, const Tap& rows, int n, int x, int count,
                 Line* rgb) {
  for (int c = 0; c < 3; ++c) {
    const T* upper = pointer<const T>(op.frame, n, c, rows.first, 0);
    const T* lower = pointer<const T>(op.frame, n, c, rows.second, 0);
    for (int i = 0; i < count; ++i) {
      const int64_t a = columns.first[x + i], b = columns.second[x + i];
      rgb[c].v[i] = bilinear(load_value(upper[a]), load_value(upper[b]), load_value(lower[a]), load_value(lower[b]),
                             columns.weight[x + i], rows.weight);
    }
  }
}

void sample_linear(const FrameSample& op, Parallel& parallel) {
  const int height = op.rows.axis.out, width = op.columns.axis.out;
  Arena arena{static_cast<char*>(parallel.scratch(Neighbours::bytes(width)))};
  const Neighbours columns(op.columns.axis, op.frame.stride[3], arena);
  auto* tile = op.frame.dtype == DType::kUint8     ? &linear_tile<uint8_t>
               : op.frame.dtype == DType::kFloat16 ? &linear_tile<Half>
                                                   : &linear_tile<float>;
  parallel.for_each(int64_t{op.frame.size[0]} * height, 8, [&](int64_t begin, int64_t end, int) {
    Line rgb[3];
    for (int64_t item = begin; item < end; ++item) {
      const int n = static_cast<int>(item / height), y = static_cast<int>(item % height);
      const Tap rows = tap_at(op.rows.axis, y);
      for (int x = 0; x < width; x += kTile) {
        const int count = smaller(kTile, width - x);
        tile(op, columns, rows, n, x, count, rgb);
        store_sample(op, rgb, n, y, x, count);
      }
    }
  });
}

// Sums whole rows of the frame down the columns first, then along the resulting row.
void sample_weighted(const FrameSample& op, Parallel& parallel) {
  const int height = op.rows.axis.out, width = op.columns.axis.out, source_width = op.frame.size[3];
  const size_t per_worker = 3 * Arena::size_for<float>(source_width);
  Arena arena{static_cast<char*>(parallel.scratch(Taps::bytes(op.rows) + Taps::bytes(op.columns) +
                                                  per_worker * static_cast<size_t>(parallel.workers())))};
  Taps rows{}, columns{};
  rows.build(op.rows, arena);
  columns.build(op.columns, arena);
  parallel.for_each(int64_t{op.frame.size[0]} * height, 2, [&](int64_t begin, int64_t end, int worker) {
    Arena own{arena.next + per_worker * static_cast<size_t>(worker)};
    float* sums[3];
    for (float*& sum : sums) sum = own.take<float>(source_width);
    Line rgb[3];
    for (int64_t item = begin; item < end; ++item) {
      const int n = static_cast<int>(item / height), y = static_cast<int>(item % height);
      for (float* sum : sums) memset(sum, 0, sizeof(float) * static_cast<size_t>(source_width));
      for (int j = rows.range[y].begin; j < rows.range[y].end; ++j) {
        const float weight = rows.weights(y)[j - rows.range[y].begin];
        for (int x = 0; x < source_width; x += kTile) {
          const int count = smaller(kTile, source_width - x);
          load_rgb(op.frame, n, j, x, count, rgb);
          for (int c = 0; c < 3; ++c) {
            for (int i = 0; i < count; ++i) sums[c][x + i] += weight * rgb[c].v[i];
          }
        }
      }
      for (int x = 0; x < width; x += kTile) {
        const int count = smaller(kTile, width - x);
        for (int c = 0; c < 3; ++c) {
          for (int i = 0; i < count; ++i) {
            const TapRange range = columns.range[x + i];
            const float* weights = columns.weights(x + i);
            float value = 0.0f;
            for (int j = range.begin; j < range.end; ++j) value += weights[j - range.begin] * sums[c][j];
            rgb[c].v[i] = value;
          }
        }
        store_sample(op, rgb, n, y, x, count);
      }
    }
  });
}

// Note [Two passes]. Both work with steps of 1/255. With the rows first, all rows of the frame become narrow ones,
// which are stored as bytes, one channel after the other. With the columns first, each few rows of the sample are made
// at once.
class TwoPasses {
 public:
  TwoPasses(const FrameSample& op, Parallel& parallel)
      : op_(op),
        parallel_(parallel),
        height_(op.rows.axis.out),
        width_(op.columns.axis.out),
        source_width_(op.columns.axis.in) {
    const bool down_first = columns_first(op.rows.axis, op.columns.axis);
    const size_t narrow_bytes = down_first ? 0 : int64_t{op.rows.axis.in} * 3 * width_;
    const size_t row_floats = down_first ? side_by_side_floats(width_, 3) : 0;
    own_bytes_ = Arena::size_for<float>(side_by_side_floats(source_width_, 3)) + Arena::size_for<float>(row_floats);
    Arena arena{static_cast<char*>(parallel.scratch(Taps::bytes(op.rows) + Taps::bytes(op.columns) +
                                                    Arena::size_for<uint8_t>(narrow_bytes) +
                                                    own_bytes_ * static_cast<size_t>(parallel.workers())))};
    down_.build(op.rows, arena);
    along_.build(op.columns, arena);
    narrow_ = arena.take<uint8_t>(narrow_bytes);
    own_ = arena.next;
    for (int n = 0; n < op.frame.size[0]; ++n) down_first ? columns_then_rows(n) : rows_then_columns(n);
  }

 private:
  // Pixels that are put beside others at once, so that they stay in the first-level cache.
  static constexpr int kPart = 64;

  uint8_t* narrow(int y, int c) const { return narrow_ + (int64_t{y} * 3 + c) * width_; }
  Arena own(int worker) const { return Arena{own_ + own_bytes_ * static_cast<size_t>(worker)}; }

  void rows_then_columns(int n) const {
    const int source_height = op_.rows.axis.in;
    parallel_.for_each((source_height + kFloats - 1) / kFloats, 1, [&](int64_t begin, int64_t end, int worker) {
      auto* lanes = own(worker).take<float>(side_by_side_floats(source_width_, 3));
      for (int64_t group = begin; group < end; ++group) {
        const int y = static_cast<int>(group) * kFloats;
        resample_along(
            y, source_height, lanes, [&](int row, int x, int part, Line* rgb) { load_steps(n, row, x, part, rgb); },
            [&](int r, int c, int x, int step) { narrow(y + r, c)[x] = static_cast<uint8_t>(step); });
      }
    });
    parallel_.for_each(height_, 2, [&](int64_t begin, int64_t end, int) {
      for (int64_t y = begin; y < end; ++y) resample_down(n, static_cast<int>(y));
    });
  }

  void columns_then_rows(int n) const {
    parallel_.for_each((height_ + kFloats - 1) / kFloats, 1, [&](int64_t begin, int64_t end, int worker) {
      Arena arena = own(worker);
      auto* lanes = arena.take<float>(side_by_side_floats(source_width_, 3));
      auto* finished = arena.take<float>(side_by_side_floats(width_, 3));
      for (int64_t group = begin; group < end; ++group) {
        const int y = static_cast<int>(group) * kFloats;
        const auto row = [&](int r, int c) { return finished + (int64_t{r} * 3 + c) * width_; };
        resample_along(
            y, height_, lanes, [&](int at, int x, int part, Line* rgb) { sum_down(n, at, x, part, rgb); },
            [&](int r, int c, int x, int step) {
              row(r, c)[x] = normalise(byte_value(static_cast<float>(step)), op_.mean[c], op_.scale[c]);
            });
        for (int r = 0; r < smaller(kFloats, height_ - y); ++r) {
          for (int c = 0; c < 3; ++c) store_channel(row(r, c), width_, op_.sample, n, c, y + r, 0);
        }
      }
    });
  }

  // Resamples kFloats rows, or those that are left before `end`. load(row, x, part, rgb) makes a part of a row, and
  // store(r, c, x, step) takes a pixel of row y + r.
  template <typename Load, typename Store>
  void resample_along(int y, int end, float* lanes, const Load& load, const Store& store) const {
    const int count = smaller(kFloats, end - y);
    for (int x = 0; x < source_width_; x += kPart) {
      const int part = smaller(kPart, source_width_ - x);
      for (int r = 0; r < kFloats; ++r) {
        Line rgb[3];
        load(smaller(y + r, end - 1), x, part, rgb);
        for (int c = 0; c < 3; ++c) put_beside(rgb[c].v, part, lanes, x, 3, c, r);
      }
    }
    resample_rows<3>(along_, width_, lanes, [&](int x, const Floats(&sums)[3]) {
      for (int c = 0; c < 3; ++c) {
        alignas(64) float values[kFloats];
        sums[c].store(values);
        int steps[kFloats];
        for (int r = 0; r < kFloats; ++r) steps[r] = whole_step(values[r]);
        for (int r = 0; r < count; ++r) store(r, c, x, steps[r]);
      }
    });
  }

  void load_steps(int n, int y, int x, int count, Line* rgb) const {
    load_rgb(op_.frame, n, y, x, count, rgb);
    for (int c = 0; c < 3; ++c) to_steps(rgb[c].v, count, op_.frame.dtype == DType::kUint8);
  }

  // Sums a part of the frame's columns.
  void sum_down(int n, int y, int x, int count, Line* sums) const {
    const TapRange rows = down_.range[y];
    for (int c = 0; c < 3; ++c) memset(sums[c].v, 0, sizeof(float) * static_cast<size_t>(count));
    for (int j = rows.begin; j < rows.end; ++j) {
      Line rgb[3];
      load_steps(n, j, x, count, rgb);
      const float weight = down_.weights(y)[j - rows.begin];
      for (int c = 0; c < 3; ++c) {
        for (int i = 0; i < count; ++i) sums[c].v[i] += weight * rgb[c].v[i];
      }
    }
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < count; ++i) sums[c].v[i] = static_cast<float>(whole_step(sums[c].v[i]));
    }
  }

  void resample_down(int n, int y) const {
    const TapRange rows = down_.range[y];
    const float* weights = down_.weights(y);
    Line rgb[3];
    for (int x = 0; x < width_; x += kTile) {
      const int count = smaller(kTile, width_ - x);
      for (int c = 0; c < 3; ++c) {
        float* sums = rgb[c].v;
        for (int i = 0; i < count; ++i) sums[i] = 0.0f;
        for (int j = rows.begin; j < rows.end; ++j) {
          const uint8_t* from = narrow(j, c) + x;
          const float weight = weights[j - rows.begin];
          for (int i = 0; i < count; ++i) sums[i] += weight * static_cast<float>(from[i]);
        }
        for (int i = 0; i < count; ++i) sums[i] = byte_value(static_cast<float>(whole_step(sums[i])));
      }
      store_sample(op_, rgb, n, y, x, count);
    }
  }

  // Bytes become whole numbers again: adding 2^23 rounds them.
  static void to_steps(float* values, int count, bool bytes) {
    if (bytes) {
      for (int i = 0; i < count; ++i) values[i] = values[i] * 255.0f + 0x1p23f - 0x1p23f;
    } else {
      for (int i = 0; i < count; ++i) values[i] *= 255.0f;
    }
  }

  const FrameSample& op_;
  Parallel& parallel_;
  int height_, width_, source_width_;
  size_t own_bytes_ = 0;
  char* own_ = nullptr;
  Taps down_{}, along_{};
  uint8_t* narrow_ = nullptr;
};

}  // namespace

void frame_sample(const FrameSample& op, Parallel& parallel);
void frame_sample(const FrameSample& op, Parallel& parallel) {
  if (op.rows.method == Method::kLinear) {
    sample_linear(op, parallel);
  } else if (in_two_passes(op.rows.method)) {
    TwoPasses(op, parallel);
  } else {
    sample_weighted(op, parallel);
  }
}

}  // namespace trtmatte::TRTMATTE_SIMD
