#include "ops/cpu/lines.h"
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
  Taps(const Filter& filter, Arena& arena) {
    const int out = filter.axis.out;
    range = arena.take<TapRange>(out);
    start = arena.take<int64_t>(out);
    weight = arena.take<float>(static_cast<size_t>(out) * static_cast<size_t>(most(filter)));
    int64_t next = 0;
    for (int i = 0; i < out; ++i) {
      range[i] = tap_range(filter, i);
      start[i] = next;
      float sum = 0.0f;
      for (int j = range[i].begin; j < range[i].end; ++j) sum += weight[next++] = tap_weight(filter, i, j);
      for (int64_t k = start[i]; k < next; ++k) weight[k] /= sum;
    }
  }
  const float* weights(int i) const { return weight + start[i]; }
};

// Sums whole rows of the frame down the columns first, then along the resulting row.
void sample_weighted(const FrameSample& op, Parallel& parallel) {
  const int height = op.rows.axis.out, width = op.columns.axis.out, source_width = op.frame.size[3];
  const size_t per_worker = 3 * Arena::size_for<float>(source_width);
  Arena arena{static_cast<char*>(parallel.scratch(Taps::bytes(op.rows) + Taps::bytes(op.columns) +
                                                  per_worker * static_cast<size_t>(parallel.workers())))};
  const Taps rows(op.rows, arena), columns(op.columns, arena);
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

}  // namespace

void frame_sample(const FrameSample& op, Parallel& parallel);
void frame_sample(const FrameSample& op, Parallel& parallel) {
  if (op.rows.method == Method::kLinear) {
    sample_linear(op, parallel);
  } else {
    sample_weighted(op, parallel);
  }
}

}  // namespace trtmatte::TRTMATTE_SIMD
