// The foreground without the old background, around the form of an op that computes the alpha.
#pragma once

#include "ops/cpu/matte.h"
#include "ops/math/foreground.h"

namespace trtmatte::TRTMATTE_SIMD {

// Has the matte of `Op` with the foreground of Note [Clean foreground].
template <typename Op>
class Clean {
 public:
  Clean(Op& op, const View& frame, const View& colours)
      : op_(op), colours_(colours), width_(frame.size[3]), rows_(make_axis(colours.size[2], frame.size[2])) {}

  size_t shared_bytes() const { return op_.shared_bytes() + Columns::bytes(width_); }
  size_t worker_bytes() const {
    return op_.worker_bytes() + 6 * Arena::size_for<float>(row_floats()) + Arena::size_for<float>(2 * cells());
  }
  void build(Arena& arena) {
    op_.build(arena);
    columns_.build(make_axis(cells(), width_), arena);
  }

  class Row {
   public:
    Row(const Clean& of, Arena& arena) : clean_(of), row_(of.op_, arena) {
      for (float*& map : maps_) map = arena.take<float>(of.row_floats());
      spare_ = arena.take<float>(2 * of.cells());
    }

    void begin(int n, int y) {
      row_.begin(n, y);
      const Tap rows = tap_at(clean_.rows_, y);
      for (int c = 0; c < 6; ++c) lerp_row(clean_.colours_, n, c, rows, spare_, maps_[c]);
    }

    void tile(int n, int y, int x, int count) { row_.tile(n, y, x, count); }

    MattePixels at(int x, int i, const Floats (&rgb)[3]) const {
      MattePixels pixels = row_.at(x, i, rgb);
      const Floats alpha = pixels.pha, one = 1.0f, rest = one - alpha;
      if (all_zero(rest)) return pixels;
      const Stretched stretched(clean_.columns_, x + i);
      if (all_zero(alpha)) {
        for (int c = 0; c < 3; ++c) pixels.fgr[c] = clamp01(stretched(maps_[c]));
        return pixels;
      }
      const Floats share = one / (one - Floats(2.0f) * alpha * rest);
      for (int c = 0; c < 3; ++c) {
        const Floats foreground = stretched(maps_[c]), background = stretched(maps_[3 + c]);
        pixels.fgr[c] = clean_foreground(pixels.fgr[c], alpha, rest, share, foreground, background);
      }
      return pixels;
    }

   private:
    const Clean& clean_;
    typename Op::Row row_;
    float* maps_[6];
    float* spare_;
  };

 private:
  int cells() const { return colours_.size[3]; }
  int row_floats() const { return cells() + kRowPadding; }

  Op& op_;
  View colours_;
  int width_;
  Axis rows_;
  Columns columns_{};
};

// Writes the matte of `op`, with the clean foreground if there are colours and an output shows it.
template <typename Op>
static inline void write_clean_matte(const View& frame, const View& colours, const Sinks& sinks, Parallel& parallel,
                                     Op& op) {
  if (has_colours(colours) && shows_foreground(sinks)) {
    Clean<Op> clean(op, frame, colours);
    write_matte(frame, sinks, parallel, clean);
  } else {
    write_matte(frame, sinks, parallel, op);
  }
}

}  // namespace trtmatte::TRTMATTE_SIMD
