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

// Note [Two passes]. Both work with steps of 1/255; the first stores its rows as bytes, one channel after the other.
class TwoPasses {
 public:
  TwoPasses(const FrameSample& op, Parallel& parallel)
      : op_(op),
        height_(op.rows.axis.out),
        width_(op.columns.axis.out),
        lanes_floats_(side_by_side_floats(op.columns.axis.in, 3)) {
    const size_t per_worker = Arena::size_for<float>(lanes_floats_);
    const size_t bytes = static_cast<size_t>(op.rows.axis.in) * 3 * static_cast<size_t>(width_);
    Arena arena{static_cast<char*>(parallel.scratch(Taps::bytes(op.rows) + Taps::bytes(op.columns) +
                                                    Arena::size_for<uint8_t>(bytes) +
                                                    per_worker * static_cast<size_t>(parallel.workers())))};
    down_.build(op.rows, arena);
    along_.build(op.columns, arena);
    narrow_ = arena.take<uint8_t>(bytes);
    for (int n = 0; n < op.frame.size[0]; ++n) {
      parallel.for_each((op.rows.axis.in + kFloats - 1) / kFloats, 1, [&](int64_t begin, int64_t end, int worker) {
        Arena own{arena.next + per_worker * static_cast<size_t>(worker)};
        float* lanes = own.take<float>(lanes_floats_);
        for (int64_t group = begin; group < end; ++group) resample_along(n, static_cast<int>(group) * kFloats, lanes);
      });
      parallel.for_each(height_, 2, [&](int64_t begin, int64_t end, int) {
        for (int64_t y = begin; y < end; ++y) resample_down(n, static_cast<int>(y));
      });
    }
  }

 private:
  static constexpr int kPart =
      64;  // pixels that are put beside others at once, so that they stay in the first-level cache

  uint8_t* narrow(int y, int c) const { return narrow_ + (int64_t{y} * 3 + c) * width_; }

  void resample_along(int n, int y, float* lanes) const {
    const int source_width = op_.columns.axis.in, last = op_.rows.axis.in - 1, count = smaller(kFloats, last + 1 - y);
    for (int x = 0; x < source_width; x += kPart) {
      const int part = smaller(kPart, source_width - x);
      for (int r = 0; r < kFloats; ++r) {
        Line rgb[3];
        load_rgb(op_.frame, n, smaller(y + r, last), x, part, rgb);
        for (int c = 0; c < 3; ++c) {
          to_steps(rgb[c].v, part, op_.frame.dtype == DType::kUint8);
          put_beside(rgb[c].v, part, lanes, x, 3, c, r);
        }
      }
    }
    resample_rows<3>(along_, width_, lanes, [&](int x, const Floats(&sums)[3]) {
      for (int c = 0; c < 3; ++c) {
        alignas(64) float values[kFloats];
        sums[c].store(values);
        uint8_t steps[kFloats];
        for (int r = 0; r < kFloats; ++r) steps[r] = static_cast<uint8_t>(whole_step(values[r]));
        for (int r = 0; r < count; ++r) narrow(y + r, c)[x] = steps[r];
      }
    });
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
  int height_, width_;
  size_t lanes_floats_;
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
