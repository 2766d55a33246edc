// The last part of the CPU form of every op that writes a matte: it reads the frame and writes all outputs in one pass.
// kFloats pixels at a time stay in registers between the bytes of the frame and the bytes of the outputs.
#pragma once

#include <utility>

#include "base/parallel.h"
#include "ops/cpu/lines.h"
#include "ops/math/outputs.h"

namespace trtmatte::TRTMATTE_SIMD {

using MattePixels = MattePixel<Floats>;  // kFloats pixels

// Returns how many pixels of a tile go as packed bytes, kFloats at a time. The others go through lines.
static inline int whole_steps(bool packed, int count) { return packed ? count / kFloats * kFloats : 0; }

// Reads the colours of a picture.
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

// Reads the background: one colour, a picture of the frame's size, or a picture of another size, resampled.
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

    // Reads kFloats pixels from x + i on; x is the tile's first pixel.
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
  bool is_read() const { return picture_ && !colour_ && !stretched_; }  // at the frame's own pixels

  View picture_;
  int width_, height_;
  bool colour_, stretched_;
  Axis rows_{};
  Columns columns_{};
};

// Writes one output, if the caller wants it.
template <int number>
class Target {
 public:
  static constexpr int kChannels = kOutputs[number].channels;

  explicit Target(const Sinks& sinks)
      : view_(sinks.output[number]),
        order_(order_of(view_)),
        lowest_(kChannels == 1 ? 0 : lowest_channel(view_)),
        packed_(is_packed()) {}

  void tile(int n, int y, int x, int count) {
    if (!view_) return;
    whole_ = whole_steps(packed_, count);
    bytes_ = pointer<uint8_t>(view_, n, lowest_, y, x);
  }

  // Takes kFloats pixels from x + i on; x is the tile's first pixel.
  void put(int x, int i, const MattePixels& pixels, const Background::Row& background) {
    if (!view_) return;
    Floats behind[3], values[kChannels];
    if constexpr (kOutputs[number].reads_background) background.at(x, i, behind);
    output_values(OutputNumber<number>(), pixels, behind, values);
    if (i < whole_) return pack(values, order_, bytes_ + kChannels * i);
    for (int c = 0; c < kChannels; ++c) values[c].store(lines_[c].v + i);
  }

  void finish(int n, int y, int x, int count) const {
    if (!view_ || whole_ == count) return;
    for (int c = 0; c < kChannels; ++c) {
      View channel = view_;
      channel.data = static_cast<char*>(view_.data) + channel_offset(view_, c) * size_of(view_.dtype);
      store_channel(lines_[c].v + whole_, count - whole_, channel, n, 0, y, x + whole_);
    }
  }

 private:
  bool is_packed() const {
    const int64_t next = view_.stride[1];
    if (view_.dtype != DType::kUint8 || view_.stride[3] != kChannels) return false;
    if (kChannels == 1) return true;
    if (next != 1 && next != -1) return false;
    return kChannels == 3 || alpha_follows(view_);
  }

  const OutputView view_;
  const Order& order_;
  const int lowest_;
  const bool packed_;
  uint8_t* bytes_ = nullptr;
  int whole_ = 0;
  Line lines_[kChannels]{};
};

// Writes all outputs that the caller wants.
template <typename Numbers>
class Targets;
template <int... number>
class Targets<std::integer_sequence<int, number...>> : Target<number>... {
 public:
  explicit Targets(const Sinks& sinks) : Target<number>(sinks)... {}

  void tile(int n, int y, int x, int count) { (Target<number>::tile(n, y, x, count), ...); }
  void put(int x, int i, const MattePixels& pixels, const Background::Row& background) {
    (Target<number>::put(x, i, pixels, background), ...);
  }
  void finish(int n, int y, int x, int count) const { (Target<number>::finish(n, y, x, count), ...); }
};
using Outputs = Targets<std::make_integer_sequence<int, kOutputCount>>;

// Runs `op` over the frame. `op` has shared_bytes(), worker_bytes(), build(arena) for its tables, and a type Row(op,
// arena) with begin(n, y), tile(n, y, x, count) and at(x, i, rgb), which returns the matte of kFloats pixels from x + i
// on; x is the tile's first pixel.
template <typename Op>
static inline void write_matte(const View& frame, const Sinks& sinks, Parallel& parallel, Op& op) {
  const int height = frame.size[2], width = frame.size[3];
  Background background(reads_background(sinks) ? sinks.background : View{}, width, height);
  const size_t per_worker = op.worker_bytes() + background.worker_bytes();
  Arena shared{static_cast<char*>(parallel.scratch(op.shared_bytes() + background.shared_bytes() +
                                                   per_worker * static_cast<size_t>(parallel.workers())))};
  op.build(shared);
  background.build(shared);
  parallel.for_each(int64_t{frame.size[0]} * height, 8, [&](int64_t begin, int64_t end, int worker) {
    Arena own{shared.next + per_worker * static_cast<size_t>(worker)};
    typename Op::Row row(op, own);
    Background::Row behind(background, own);
    Source source(frame);
    Outputs outputs(sinks);
    int n = static_cast<int>(begin / height), y = static_cast<int>(begin % height);
    for (int64_t item = begin; item < end; ++item) {
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
      if (++y == height) {
        y = 0;
        ++n;
      }
    }
  });
}

}  // namespace trtmatte::TRTMATTE_SIMD
