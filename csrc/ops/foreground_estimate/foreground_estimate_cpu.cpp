#include "ops/cpu/matte.h"
#include "ops/foreground_estimate/foreground_estimate.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

constexpr int kRowsAtOnce = 32;  // of a level, for one worker

// What the workers share while one image is estimated.
struct Form {
  const ForegroundEstimate& op;
  Axis rows;
  Columns columns{};
  ColourPyramid pyramid{};

  explicit Form(const ForegroundEstimate& of) : op(of), rows(make_axis(of.alpha.size[2], of.frame.size[2])) {}

  int width() const { return op.frame.size[3]; }
  int maps() const { return op.alpha.size[1]; }
  int map_floats() const { return op.alpha.size[3] + kRowPadding; }

  size_t shared_bytes() const { return Columns::bytes(width()) + Arena::size_for<float>(ColourPyramid::kFloats); }
  size_t worker_bytes() const {
    return kCellRows * kAlphaOfColour * Arena::size_for<float>(map_floats()) +
           Arena::size_for<float>(2 * op.alpha.size[3]) + kMoments * Arena::size_for<float>(round_up(width(), kTile));
  }
  void build(Arena& arena) {
    columns.build(make_axis(op.alpha.size[3], width()), arena);
    pyramid.memory = arena.take<float>(ColourPyramid::kFloats);
  }
};

// Sums the pixels of one row of cells down their columns, then along them.
class RowOfCells {
 public:
  RowOfCells(const Form& form, Arena& arena) : form_(form), source_(form.op.frame) {
    for (auto& row : maps_) {
      for (float*& map : row) map = arena.take<float>(form.map_floats());
    }
    spare_ = arena.take<float>(2 * form.op.alpha.size[3]);
    for (float*& sum : sums_) sum = arena.take<float>(round_up(form.width(), kTile));
  }

  void measure(int n, int cell) {
    for (int i = 0; i < kCellRows; ++i) {
      rows_[i] = row_of_cell(form_.op.frame.size[2], cell, i);
      const Tap tap = tap_at(form_.rows, rows_[i]);
      for (int c = 0; c < form_.maps(); ++c) lerp_row(form_.op.alpha, n, c, tap, spare_, maps_[i][c]);
    }
    for (int x = 0; x < form_.width(); x += kTile) {
      const int count = smaller(kTile, form_.width() - x);
      for (float* sum : sums_) memset(sum + x, 0, sizeof(Line));
      for (int i = 0; i < kCellRows; ++i) {
        source_.tile(n, rows_[i], x, count);
        for (int at = 0; at < count; at += kFloats) add_pixels(maps_[i], x, at);
      }
    }
    sum_cells(cell);
  }

 private:
  // Adds kFloats pixels from x + i on.
  void add_pixels(float* const (&maps)[kAlphaOfColour], int x, int i) {
    Floats rgb[3];
    source_.at(i, rgb);
    for (Floats& value : rgb) value = clamp01(value);
    const Stretched stretched(form_.columns, x + i);
    Floats alpha;
    if (form_.maps() == 1) {
      alpha = clamp01(stretched(maps[0]));
    } else {
      const Floats slope[3] = {stretched(maps[0]), stretched(maps[1]), stretched(maps[2])};
      alpha = alpha_of_colour(rgb, slope, stretched(maps[3]));
    }
    const auto add = [&](int moment, const Floats& value) {
      float* sum = sums_[moment] + x + i;
      (Floats::load(sum) + value).store(sum);
    };
    add(kAlpha, alpha);
    add(kMixed, alpha * (Floats(1.0f) - alpha));
    for (int c = 0; c < 3; ++c) {
      add(kColour + c, rgb[c]);
      add(kAlphaColour + c, alpha * rgb[c]);
    }
  }

  void sum_cells(int cell) const {
    for (int i = 0; i < kGrid; ++i) {
      const TapRange columns = columns_of_cell(form_.width(), i);
      const float share = 1.0f / static_cast<float>(kCellRows * (columns.end - columns.begin));
      for (int moment = 0; moment < kMoments; ++moment) {
        const float* sum = sums_[moment];
        float total = 0.0f;
        for (int x = columns.begin; x < columns.end; ++x) total += sum[x];
        form_.pyramid.moments(0, moment)[cell * kGrid + i] = total * share;
      }
    }
  }

  const Form& form_;
  Source source_;
  int rows_[kCellRows] = {};
  float* maps_[kCellRows][kAlphaOfColour];
  float* spare_;
  float* sums_[kMoments];
};

// Makes a row of a level's means out of two rows of the level below.
void halve(const ColourPyramid& pyramid, int level, int y) {
  const int side = side_of_level(level);
  for (int moment = 0; moment < kMoments; ++moment) {
    const float* upper = pyramid.moments(level - 1, moment) + int64_t{4} * y * side;
    const float* lower = upper + 2 * side;
    float* to = pyramid.moments(level, moment) + int64_t{y} * side;
    for (int x = 0; x < side; ++x) {
      to[x] = 0.25f * (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]);
    }
  }
}

// A row of the level above, sampled linearly to a row of this one.
void double_row(const float* coarse, int side, int y, float* to) {
  const int half = side / 2, near = y / 2, next = y % 2 ? smaller(near + 1, half - 1) : larger(near - 1, 0);
  const float* a = coarse + near * half;
  const float* b = coarse + next * half;
  alignas(64) float row[kGrid / 2 + 2];
  for (int x = 0; x < half; ++x) row[x + 1] = 0.75f * a[x] + 0.25f * b[x];
  row[0] = row[1];
  row[half + 1] = row[half];
  for (int x = 0; x < half; ++x) {
    to[2 * x] = 0.75f * row[x + 1] + 0.25f * row[x];
    to[2 * x + 1] = 0.75f * row[x + 1] + 0.25f * row[x + 2];
  }
}

// Finds the colours of one row of a level.
void solve_row(const Form& form, int n, int level, int y) {
  const ColourPyramid& pyramid = form.pyramid;
  const int side = side_of_level(level);
  const int64_t at = int64_t{y} * side;
  alignas(64) float colours[kEstimates][kGrid];
  for (int i = 0; i < kEstimates; ++i) {
    if (level == kGridLevels - 1) {
      colours[i][0] = *pyramid.moments(level, kColour + i % 3);
    } else {
      double_row(pyramid.colours(level + 1, i), side, y, colours[i]);
    }
  }
  const float* alpha = pyramid.moments(level, kAlpha) + at;
  const float* mixed = pyramid.moments(level, kMixed) + at;
  for (int c = 0; c < 3; ++c) {
    const float* colour = pyramid.moments(level, kColour + c) + at;
    const float* alpha_colour = pyramid.moments(level, kAlphaColour + c) + at;
    float* foreground = colours[c];
    float* background = colours[3 + c];
    for (int x = 0; x < side; ++x) {
      CellSystem(alpha[x], mixed[x]).solve(colour[x], alpha_colour[x], foreground[x], background[x]);
    }
  }
  for (int i = 0; i < kEstimates; ++i) {
    if (level == 0) {
      store_channel(colours[i], side, form.op.colours, n, i, y, 0);
    } else {
      memcpy(pyramid.colours(level, i) + at, colours[i], sizeof(float) * static_cast<size_t>(side));
    }
  }
}

}  // namespace

void foreground_estimate(const ForegroundEstimate& op, Parallel& parallel);
void foreground_estimate(const ForegroundEstimate& op, Parallel& parallel) {
  Form form(op);
  Arena shared{static_cast<char*>(
      parallel.scratch(form.shared_bytes() + form.worker_bytes() * static_cast<size_t>(parallel.workers())))};
  form.build(shared);
  for (int n = 0; n < op.frame.size[0]; ++n) {
    parallel.for_each(kGrid, 8, [&](int64_t begin, int64_t end, int worker) {
      Arena own{shared.next + form.worker_bytes() * static_cast<size_t>(worker)};
      RowOfCells row(form, own);
      for (int64_t cell = begin; cell < end; ++cell) row.measure(n, static_cast<int>(cell));
    });
    for (int level = 1; level < kGridLevels; ++level) {
      parallel.for_each(side_of_level(level), kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
        for (int64_t y = begin; y < end; ++y) halve(form.pyramid, level, static_cast<int>(y));
      });
    }
    for (int level = kGridLevels - 1; level >= 0; --level) {
      parallel.for_each(side_of_level(level), kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
        for (int64_t y = begin; y < end; ++y) solve_row(form, n, level, static_cast<int>(y));
      });
    }
  }
}

}  // namespace trtmatte::TRTMATTE_SIMD
