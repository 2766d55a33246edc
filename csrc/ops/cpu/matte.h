// The end of every op that writes a matte: frame in, sinks out, one pass, in which kFloats pixels at a time stay in
// registers from the frame's bytes to the matte's.
#pragma once

#include "base/parallel.h"
#include "ops/cpu/lines.h"

namespace trtmatte::TRTMATTE_SIMD {

// What an op makes of kFloats pixels, clamped.
struct MattePixels {
  Floats fgr[3];
  Floats pha;
};

// How many pixels of a tile are read or written as packed bytes, kFloats at a time. The others go by way of lines.
static inline int whole_steps(bool packed, int count) { return packed ? count / kFloats * kFloats : 0; }

// The colours of a picture.
class Source {
 public:
  explicit Source(const View& picture) : picture_(picture), order_(order_of(picture)) {}

  void tile(int n, int y, int x, int count) {
    whole_ = whole_steps(packed_rgb(picture_), count);
    bytes_ = pointer<const uint8_t>(picture_, n, lowest_channel(picture_), y, x);
    if (whole_ == count) return;
    load_rgb(picture_, n, y, x + whole_, count - whole_,
             {lines_[0].v + whole_, lines_[1].v + whole_, lines_[2].v + whole_});
  }

  void at(int i, Floats (&rgb)[3]) const {
    if (i < whole_) return unpack(bytes_ + 3 * i, order_, rgb);
    for (int c = 0; c < 3; ++c) rgb[c] = Floats::load(lines_[c].v + i);
  }

 private:
  const View& picture_;
  const Order& order_;
  const uint8_t* bytes_ = nullptr;
  int whole_ = 0;
  Line lines_[3]{};
};

// Where alpha, colours, or colours with alpha go.
template <int channels>
class Target {
 public:
  explicit Target(const View& view, const View& alpha = View{})
      : view_(view),
        alpha_(alpha),
        order_(order_of(view)),
        lowest_(channels == 1 ? 0 : lowest_channel(view)),
        packed_(is_packed()) {}

  explicit operator bool() const { return static_cast<bool>(view_); }

  void tile(int n, int y, int x, int count) {
    whole_ = whole_steps(packed_, count);
    bytes_ = pointer<uint8_t>(view_, n, lowest_, y, x);
  }

  void put(int i, const Floats (&values)[channels]) {
    if (i < whole_) return pack(values, order_, bytes_ + channels * i);
    for (int c = 0; c < channels; ++c) values[c].store(lines_[c].v + i);
  }

  void finish(int n, int y, int x, int count) const {
    if (whole_ == count) return;
    for (int c = 0; c < channels; ++c) {
      const View& view = c < 3 ? view_ : alpha_;
      store_channel(lines_[c].v + whole_, count - whole_, view, n, c % 3, y, x + whole_);
    }
  }

 private:
  bool is_packed() const {
    const int64_t next = view_.stride[1];
    if (view_.dtype != DType::kUint8 || view_.stride[3] != channels) return false;
    if (channels == 1) return true;
    if (next != 1 && next != -1) return false;
    return channels == 3 || alpha_.data == pointer<const uint8_t>(view_, 0, lowest_, 0, 0) + 3;
  }

  const View view_, alpha_;
  const Order& order_;
  const int lowest_;
  const bool packed_;
  uint8_t* bytes_ = nullptr;
  int whole_ = 0;
  Line lines_[channels]{};
};

// The background of a composite: one colour, a picture of the frame's size, or any other picture, stretched.
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

  class Row {
   public:
    Row(const Background& of, Arena& arena) : background_(of), source_(of.picture_) {
      if (!of.stretched_) return;
      for (float*& row : stretchable_) row = arena.take<float>(of.row_floats());
      spare_ = arena.take<float>(2 * of.picture_.size[3]);
    }

    void begin(int n, int y) {
      const View& picture = background_.picture_;
      image_ = picture.size[0] == 1 ? 0 : n;
      for (int c = 0; c < 3; ++c) {
        if (background_.colour_) load_channel(picture, image_, c, 0, 0, 1, colour_ + c);
        if (!background_.stretched_) continue;
        lerp_row(picture, image_, c, tap_at(background_.rows_, y), spare_, stretchable_[c]);
      }
    }

    void tile(int y, int x, int count) {
      if (background_.is_read()) source_.tile(image_, y, x, count);
    }

    // x is the tile's first pixel.
    void at(int x, int i, Floats (&rgb)[3]) const {
      if (background_.stretched_) {
        const Stretched stretched(background_.columns_, x + i);
        for (int c = 0; c < 3; ++c) rgb[c] = stretched(stretchable_[c]);
      } else if (background_.colour_) {
        for (int c = 0; c < 3; ++c) rgb[c] = colour_[c];
      } else {
        source_.at(i, rgb);
      }
    }

   private:
    const Background& background_;
    Source source_;
    float* stretchable_[3] = {};
    float* spare_ = nullptr;
    float colour_[3] = {};
    int image_ = 0;
  };

 private:
  int row_floats() const { return picture_.size[3] + kRowPadding; }
  bool is_read() const { return picture_ && !colour_ && !stretched_; }  // pixel by pixel, as the frame is

  View picture_;
  int width_, height_;
  bool colour_, stretched_;
  Axis rows_{};
  Columns columns_{};
};

// All that is asked for.
class Outputs {
 public:
  explicit Outputs(const Sinks& sinks)
      : pha_(sinks.pha), fgr_(sinks.fgr), composite_(sinks.composite), rgba_(sinks.rgba, sinks.rgba_alpha) {}

  void tile(int n, int y, int x, int count) {
    if (pha_) pha_.tile(n, y, x, count);
    if (fgr_) fgr_.tile(n, y, x, count);
    if (rgba_) rgba_.tile(n, y, x, count);
    if (composite_) composite_.tile(n, y, x, count);
  }

  // x is the tile's first pixel.
  void put(int x, int i, const MattePixels& pixels, const Background::Row& background) {
    const Floats(&fgr)[3] = pixels.fgr;
    if (pha_) pha_.put(i, {pixels.pha});
    if (fgr_) fgr_.put(i, fgr);
    if (rgba_) rgba_.put(i, {fgr[0], fgr[1], fgr[2], pixels.pha});
    if (composite_) {
      Floats blend[3];
      background.at(x, i, blend);
      for (int c = 0; c < 3; ++c) blend[c] = clamp01(over(fgr[c], pixels.pha, blend[c]));
      composite_.put(i, blend);
    }
  }

  void finish(int n, int y, int x, int count) const {
    if (pha_) pha_.finish(n, y, x, count);
    if (fgr_) fgr_.finish(n, y, x, count);
    if (rgba_) rgba_.finish(n, y, x, count);
    if (composite_) composite_.finish(n, y, x, count);
  }

 private:
  Target<1> pha_;
  Target<3> fgr_, composite_;
  Target<4> rgba_;
};

// Runs `op` over the frame. It has shared_bytes(), worker_bytes(), build(arena) for its tables, and a type Row(op,
// arena) with begin(n, y), tile(n, y, x, count) and at(x, i, rgb), which gives the matte of kFloats pixels from x + i
// on; x is the tile's first pixel.
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
    Source source(frame);
    Outputs outputs(sinks);
    for (int item = begin; item < end; ++item) {
      const int n = item / height, y = item % height;
      row.begin(n, y);
      behind.begin(n, y);
      for (int x = 0; x < width; x += kTile) {
        const int count = smaller(kTile, width - x);
        source.tile(n, y, x, count);
        row.tile(n, y, x, count);
        behind.tile(y, x, count);
        outputs.tile(n, y, x, count);
        for (int i = 0; i < count; i += kFloats) {
          Floats rgb[3];
          source.at(i, rgb);
          outputs.put(x, i, row.at(x, i, rgb), behind);
        }
        outputs.finish(n, y, x, count);
      }
    }
  });
}

}  // namespace trtmatte::TRTMATTE_SIMD
