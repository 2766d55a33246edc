// The end of every op that writes a matte: frame in, sinks out, one pass.
#pragma once

#include "ops/shared/lines.h"
#include "ops/shared/parallel.h"

namespace trtmatte::TRTMATTE_SIMD {

// The background of a composite as lines: one colour, a picture of the frame's size, or any other picture, stretched.
class Background {
 public:
  Background(const View& picture, int width, int height)
      : picture_(picture),
        width_(width),
        height_(height),
        colour_(picture.size[2] == 1 && picture.size[3] == 1),
        stretched_(picture && !colour_ && (picture.size[3] != width || picture.size[2] != height)) {}

  size_t shared_bytes() const { return stretched_ ? Columns::bytes(width_) : 0; }
  size_t worker_bytes() const {
    return stretched_ ? 3 * Arena::size_for<float>(row_floats()) + Arena::size_for<float>(2 * picture_.size[3]) : 0;
  }

  void build(Arena& arena) {
    if (!stretched_) return;
    columns_.build(make_axis(picture_.size[3], width_), arena);
    rows_ = make_axis(picture_.size[2], height_);
  }

  struct Row {
    const Background& background;
    float* stretchable[3] = {};
    float* spare = nullptr;

    Row(const Background& of, Arena& arena) : background(of) {
      if (!of.stretched_) return;
      for (float*& row : stretchable) row = arena.take<float>(of.row_floats());
      spare = arena.take<float>(2 * of.picture_.size[3]);
    }

    void begin(int n, int y) {
      if (!background.stretched_) return;
      const View& picture = background.picture_;
      const Tap rows = tap_at(background.rows_, y);
      for (int c = 0; c < 3; ++c) lerp_row(picture, picture.size[0] == 1 ? 0 : n, c, rows, spare, stretchable[c]);
    }

    void tile(int n, int y, int x, int count, Line* rgb) const {
      const View& picture = background.picture_;
      const int image = picture.size[0] == 1 ? 0 : n;
      if (background.stretched_) {
        background.columns_.stretch<3>({stretchable[0], stretchable[1], stretchable[2]}, x, count, rgb);
      } else if (!background.colour_) {
        load_rgb(picture, image, y, x, count, rgb);
      } else {
        for (int c = 0; c < 3; ++c) {
          float value;
          load_channel(picture, image, c, 0, 0, 1, &value);
          for (float& v : rgb[c].v) v = value;
        }
      }
    }
  };

 private:
  int row_floats() const { return picture_.size[3] + kRowPadding; }

  View picture_;
  int width_, height_;
  bool colour_, stretched_;
  Axis rows_{};
  Columns columns_{};
};

static inline void store_matte(const Sinks& sinks, const Background::Row& background, int n, int y, int x, int count,
                               const Line* fgr, const Line& pha) {
  if (sinks.fgr) store_rgb(fgr, count, sinks.fgr, n, y, x);
  if (sinks.pha) store_channel(pha.v, count, sinks.pha, n, 0, y, x);
  if (sinks.rgba) store_rgba(fgr, pha, count, sinks, n, y, x);
  if (sinks.composite) {
    Line behind[3];
    background.tile(n, y, x, count, behind);
    Line blend[3];
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < count; ++i) blend[c].v[i] = clamp01(over(fgr[c].v[i], pha.v[i], behind[c].v[i]));
    }
    store_rgb(blend, count, sinks.composite, n, y, x);
  }
}

// Runs `op` over the frame. It has shared_bytes(), worker_bytes(), build(arena) for its tables, and a type Row(op,
// arena) with begin(n, y) and tile(n, y, x, count, rgb, fgr, pha), which fills fgr and pha, clamped.
template <typename Op>
static inline void write_matte(const View& frame, const Sinks& sinks, Parallel& parallel, Op& op) {
  const int height = frame.size[2], width = frame.size[3];
  Background background(sinks.composite ? sinks.background : View{}, width, height);
  const size_t per_worker = op.worker_bytes() + background.worker_bytes();
  Arena shared{static_cast<char*>(parallel.scratch(op.shared_bytes() + background.shared_bytes() +
                                                   per_worker * static_cast<size_t>(parallel.workers())))};
  op.build(shared);
  background.build(shared);
  parallel.for_each(frame.size[0] * height, 8, [&](int begin, int end, int worker) {
    Arena own{shared.next + per_worker * static_cast<size_t>(worker)};
    typename Op::Row row(op, own);
    Background::Row behind(background, own);
    Line rgb[3], fgr[3], pha;
    for (int item = begin; item < end; ++item) {
      const int n = item / height, y = item % height;
      row.begin(n, y);
      behind.begin(n, y);
      for (int x = 0; x < width; x += kTile) {
        const int count = smaller(kTile, width - x);
        load_rgb(frame, n, y, x, count, rgb);
        row.tile(n, y, x, count, rgb, fgr, pha);
        store_matte(sinks, behind, n, y, x, count, fgr, pha);
      }
    }
  });
}

}  // namespace trtmatte::TRTMATTE_SIMD
