#include "ops/cpu/clean.h"
#include "ops/math/alpha.h"
#include "ops/matte_upsample/matte_upsample.h"
#include "ops/matte_upsample/matte_upsample_math.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

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

}  // namespace

void matte_upsample(const MatteUpsample& op, Parallel& parallel);
void matte_upsample(const MatteUpsample& op, Parallel& parallel) {
  Form form(op);
  write_clean_matte(op.frame, op.colours, op.sinks, parallel, form);
}

}  // namespace trtmatte::TRTMATTE_SIMD
