#include "ops/cpu/clean.h"
#include "ops/cpu/resample.h"
#include "ops/math/alpha.h"
#include "ops/matte_upsample/matte_upsample.h"
#include "ops/matte_upsample/matte_upsample_math.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

// linear and area
struct Form {
  const MatteUpsample& op;
  Filter rows;
  Filter across;
  Columns columns{};

  explicit Form(const MatteUpsample& of)
      : op(of),
        rows{of.method, make_axis(of.alpha.size[2], of.frame.size[2]), 1.0f},
        across{of.method, make_axis(of.alpha.size[3], of.frame.size[3]), 1.0f} {}

  // Returns true if each pixel is a mean over a rectangle. Otherwise it lies between two neighbours along each axis.
  bool shrinks() const {
    constexpr int64_t kOnePixel = int64_t{1} << 32;
    return op.method == Method::kArea && (rows.axis.step > kOnePixel || across.axis.step > kOnePixel);
  }
  static Tap tap_of(const Filter& filter, int i) {
    if (filter.method == Method::kLinear) return tap_at(filter.axis, i);
    const TapRange range = tap_range(filter, i);
    return Tap{range.begin, range.end - 1, range.end - range.begin == 2 ? 0.5f : 0.0f};
  }

  int maps() const { return op.alpha.size[1]; }
  int small_width() const { return op.alpha.size[3]; }
  size_t shared_bytes() const { return Columns::bytes(op.frame.size[3]); }
  size_t worker_bytes() const {
    return static_cast<size_t>(maps()) * Arena::size_for<float>(small_width() + kRowPadding) +
           Arena::size_for<float>(2 * small_width());
  }
  void build(Arena& arena) {
    columns.build(across.axis.out, arena, [this](int i) { return tap_of(across, i); });
  }

  struct Row {
    const Form& form;
    float* maps[kAlphaOfColour]{};
    float* spare;
    int image = 0;
    TapRange rows{};
    Line means{};

    Row(const Form& of, Arena& arena) : form(of) {
      for (int c = 0; c < of.maps(); ++c) maps[c] = arena.take<float>(of.small_width() + kRowPadding);
      spare = arena.take<float>(2 * of.small_width());
    }

    void begin(int n, int y) {
      image = n;
      rows = tap_range(form.rows, y);
      if (form.shrinks()) return;
      for (int c = 0; c < form.maps(); ++c) lerp_row(form.op.alpha, n, c, tap_of(form.rows, y), spare, maps[c]);
    }

    void tile(int, int, int x, int count) {
      if (!form.shrinks()) return;
      for (int i = 0; i < count; ++i) means.v[i] = mean_of(x + i);
    }

    MattePixels at(int x, int i, const Floats (&rgb)[3]) const {
      const Floats colour[3] = {clamp01(rgb[0]), clamp01(rgb[1]), clamp01(rgb[2])};
      return MattePixels{{colour[0], colour[1], colour[2]}, alpha_at(x, i, colour)};
    }

    Floats alpha_at(int x, int i, const Floats (&colour)[3]) const {
      if (form.shrinks()) return clamp01(Floats::load(means.v + i));
      const Stretched stretched(form.columns, x + i);
      if (form.maps() == 1) return clamp01(stretched(maps[0]));
      const Floats slope[3] = {stretched(maps[0]), stretched(maps[1]), stretched(maps[2])};
      return alpha_of_colour(colour, slope, stretched(maps[3]));
    }

    float mean_of(int x) const {
      const auto load = [this](int row, int column) {
        float value;
        load_channel(form.op.alpha, image, 0, row, column, 1, &value);
        return value;
      };
      return area_mean(rows, tap_range(form.across, x), load);
    }
  };
};

// Note [Two passes]: the first pass makes rows as wide as the frame, from all rows of the alpha. The second one is part
// of the matte. With the columns first, rows of the frame's number are summed and widened, and the matte reads them.
struct TwoPasses {
  const MatteUpsample& op;
  Parallel& parallel;
  Filter rows;
  Filter across;
  bool down_first;
  Taps down{};
  float* wide = nullptr;

  TwoPasses(const MatteUpsample& of, Parallel& on)
      : op(of),
        parallel(on),
        rows{of.method, make_axis(of.alpha.size[2], of.frame.size[2]), 1.0f},
        across{of.method, make_axis(of.alpha.size[3], of.frame.size[3]), 1.0f},
        down_first(columns_first(rows.axis, across.axis)) {}

  int small_width() const { return across.axis.in; }
  int wide_height() const { return down_first ? rows.axis.out : rows.axis.in; }
  int wide_row() const { return round_up(across.axis.out, kLanes); }
  int64_t wide_rows() const { return int64_t{op.alpha.size[0]} * wide_height(); }
  size_t beside() const { return side_by_side_floats(small_width(), 1); }
  size_t own_bytes() const { return Arena::size_for<float>(beside()) + 2 * Arena::size_for<float>(small_width()); }
  size_t shared_bytes() const {
    const size_t floats = static_cast<size_t>(wide_rows()) * static_cast<size_t>(wide_row());
    return Taps::bytes(rows) + Taps::bytes(across) + Arena::size_for<float>(floats) +
           own_bytes() * static_cast<size_t>(parallel.workers());
  }
  size_t worker_bytes() const { return 0; }

  void build(Arena& arena) {
    Taps along{};
    down.build(rows, arena);
    along.build(across, arena);
    wide = arena.take<float>(static_cast<size_t>(wide_rows()) * static_cast<size_t>(wide_row()));
    char* own_memory = arena.take<char>(own_bytes() * static_cast<size_t>(parallel.workers()));
    parallel.for_each((wide_rows() + kFloats - 1) / kFloats, 1, [&](int64_t begin, int64_t end, int worker) {
      Arena own{own_memory + own_bytes() * static_cast<size_t>(worker)};
      float* lanes = own.take<float>(beside());
      float* line = own.take<float>(small_width());
      float* spare = own.take<float>(small_width());
      for (int64_t group = begin; group < end; ++group) widen(along, group * kFloats, lanes, line, spare);
    });
  }

  // Computes kFloats rows, or those that are left.
  void widen(const Taps& along, int64_t first, float* lanes, float* line, float* spare) const {
    const int64_t left = wide_rows() - first;
    const int count = left < kFloats ? static_cast<int>(left) : kFloats;
    for (int r = 0; r < kFloats; ++r) {
      if (r < count) {
        const int64_t row = first + r;
        const int n = static_cast<int>(row / wide_height()), y = static_cast<int>(row % wide_height());
        if (down_first) {
          sum_down(n, y, spare, line);
        } else {
          load_channel(op.alpha, n, 0, y, 0, small_width(), line);
        }
      }
      put_beside(line, small_width(), lanes, 0, 1, 0, r);
    }
    resample_rows<1>(along, across.axis.out, lanes, [&](int x, const Floats(&sums)[1]) {
      alignas(64) float values[kFloats];
      clamp01(sums[0]).store(values);
      for (int r = 0; r < count; ++r) wide[(first + r) * wide_row() + x] = values[r];
    });
  }

  void sum_down(int n, int y, float* spare, float* sums) const {
    const TapRange range = down.range[y];
    const float* weights = down.weights(y);
    for (int x = 0; x < small_width(); ++x) sums[x] = 0.0f;
    for (int j = range.begin; j < range.end; ++j) {
      load_channel(op.alpha, n, 0, j, 0, small_width(), spare);
      const float weight = weights[j - range.begin];
      for (int x = 0; x < small_width(); ++x) sums[x] += weight * spare[x];
    }
    for (int x = 0; x < small_width(); ++x) sums[x] = trtmatte::clamp01(sums[x]);
  }

  struct Row {
    static constexpr float kAlone = 1.0f;
    const TwoPasses& form;
    const float* first = nullptr;
    const float* weights = nullptr;
    int count = 0;

    Row(const TwoPasses& of, Arena&) : form(of) {}

    void begin(int n, int y) {
      const TapRange range = form.down_first ? TapRange{y, y + 1} : form.down.range[y];
      first = form.wide + (int64_t{n} * form.wide_height() + range.begin) * form.wide_row();
      weights = form.down_first ? &kAlone : form.down.weights(y);
      count = range.end - range.begin;
    }

    void tile(int, int, int, int) {}

    MattePixels at(int x, int i, const Floats (&rgb)[3]) const {
      const float* from = first + x + i;
      Floats sum = 0.0f;
      for (int j = 0; j < count; ++j, from += form.wide_row()) sum = sum + Floats(weights[j]) * Floats::load(from);
      return MattePixels{{clamp01(rgb[0]), clamp01(rgb[1]), clamp01(rgb[2])}, clamp01(sum)};
    }
  };
};

}  // namespace

void matte_upsample(const MatteUpsample& op, Parallel& parallel);
void matte_upsample(const MatteUpsample& op, Parallel& parallel) {
  if (in_two_passes(op.method)) {
    TwoPasses form(op, parallel);
    write_clean_matte(op.frame, op.colours, op.sinks, parallel, form);
  } else {
    Form form(op);
    write_clean_matte(op.frame, op.colours, op.sinks, parallel, form);
  }
}

}  // namespace trtmatte::TRTMATTE_SIMD
