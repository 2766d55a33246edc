// Lines: parts of a row of one channel, as floats. The CPU forms read, compute and write one tile of lines at a time,
// so that all values between frame and matte stay in the first-level cache.
#pragma once

#include <cstddef>
#include <cstring>

#include "base/view.h"
#include "ops/cpu/simd.h"
#include "ops/math/axis.h"

namespace trtmatte::TRTMATTE_SIMD {

constexpr int kTile = 256;       // pixels in a tile
constexpr int kRowPadding = 32;  // floats after the end of a row that a table look-up may read

struct alignas(64) Line {
  float v[kTile];
};

// Hands out 64-byte aligned pieces of one block of memory.
struct Arena {
  char* next;

  template <typename T>
  T* take(size_t count) {
    T* piece = reinterpret_cast<T*>(next);
    next += size_for<T>(count);
    return piece;
  }
  template <typename T>
  static constexpr size_t size_for(size_t count) {
    return (count * sizeof(T) + 63) / 64 * 64;
  }
};

template <typename T>
static inline T* pointer(const View& view, int n, int c, int y, int x) {
  return static_cast<T*>(view.data) + n * view.stride[0] + c * view.stride[1] + y * view.stride[2] + x * view.stride[3];
}

static inline void load_channel(const View& view, int n, int c, int y, int x, int count, float* to) {
  switch (view.dtype) {
    case DType::kUint8:
      return load_line(pointer<const uint8_t>(view, n, c, y, x), view.stride[3], count, to);
    case DType::kFloat16:
      return load_line(pointer<const Half>(view, n, c, y, x), view.stride[3], count, to);
    default:
      return load_line(pointer<const float>(view, n, c, y, x), view.stride[3], count, to);
  }
}

static inline void store_channel(const float* from, int count, const View& view, int n, int c, int y, int x) {
  switch (view.dtype) {
    case DType::kUint8:
      return store_line(from, count, pointer<uint8_t>(view, n, c, y, x), view.stride[3]);
    case DType::kFloat16:
      return store_line(from, count, pointer<Half>(view, n, c, y, x), view.stride[3]);
    default:
      return store_line(from, count, pointer<float>(view, n, c, y, x), view.stride[3]);
  }
}

// Returns true for three adjacent bytes a pixel, RGB or BGR.
static inline bool packed_rgb(const View& view) {
  return view.dtype == DType::kUint8 && view.stride[3] == 3 && (view.stride[1] == 1 || view.stride[1] == -1);
}

static inline int lowest_channel(const View& view) { return view.stride[1] < 0 ? 2 : 0; }
static inline const Order& order_of(const View& view) { return view.stride[1] < 0 ? kBgr : kRgb; }

// Loads `count` pixels; rgb[0...2] receive the three channels.
static inline void load_rgb(const View& view, int n, int y, int x, int count, float* const (&rgb)[3]) {
  if (packed_rgb(view)) {
    return unpack_line(pointer<const uint8_t>(view, n, lowest_channel(view), y, x), order_of(view), count, rgb);
  }
  for (int c = 0; c < 3; ++c) load_channel(view, n, c, y, x, count, rgb[c]);
}

static inline void load_rgb(const View& view, int n, int y, int x, int count, Line* rgb) {
  load_rgb(view, n, y, x, count, {rgb[0].v, rgb[1].v, rgb[2].v});
}

// Computes one row of channel c of a small map between two of its rows, padded for table look-ups. `spare` has room for
// two rows.
static inline void lerp_row(const View& map, int n, int c, const Tap& rows, float* spare, float* to) {
  const int width = map.size[3];
  const float *a, *b;
  if (map.dtype == DType::kFloat32 && map.stride[3] == 1) {
    a = pointer<const float>(map, n, c, rows.first, 0);
    b = pointer<const float>(map, n, c, rows.second, 0);
  } else {
    load_channel(map, n, c, rows.first, 0, width, spare);
    load_channel(map, n, c, rows.second, 0, width, spare + width);
    a = spare;
    b = spare + width;
  }
  int i = 0;
  for (; i + kFloats <= width; i += kFloats) {
    const Floats upper = Floats::load(a + i), lower = Floats::load(b + i);
    lerp(upper, lower, Floats(rows.weight)).store(to + i);
  }
  for (; i < width; ++i) to[i] = lerp(a[i], b[i], rows.weight);
  for (int x = width; x < width + kRowPadding; ++x) to[x] = to[width - 1];
}

// Tables for resampling a row of `axis.in` floats to `axis.out` pixels.
struct Columns {
  int* first;     // left neighbour of each pixel
  int* shuffle;   // the same, relative to the first of each kFloats pixels
  float* weight;  // of the right neighbour
  bool near;      // true if one look-up reaches all neighbours of each kFloats pixels

  static constexpr size_t bytes(int out) { return 3 * Arena::size_for<float>(round_up(out, kLanes)); }

  void build(const Axis& axis, Arena& arena) {
    build(axis.out, arena, [&axis](int i) { return tap_at(axis, i); });
  }

  // tap_of(i) returns the neighbours of pixel i, which must be adjacent.
  template <typename TapOf>
  void build(int out, Arena& arena, const TapOf& tap_of) {
    const int padded = round_up(out, kLanes);
    first = arena.take<int>(padded);
    shuffle = arena.take<int>(padded);
    weight = arena.take<float>(padded);
    near = true;
    for (int i = 0; i < padded; ++i) {
      const Tap tap = tap_of(smaller(i, out - 1));
      first[i] = tap.first;
      weight[i] = tap.weight;
      shuffle[i] = tap.first - first[i / kFloats * kFloats];
      near = near && shuffle[i] < kFloats;
    }
  }
};

// Resamples rows at kFloats pixels from x on; x is a multiple of kFloats.
class Stretched {
 public:
  Stretched(const Columns& columns, int x)
      : first_(columns.first + x),
        weight_(columns.weight + x),
        lookup_(columns.shuffle + x, columns.weight + x),
        near_(columns.near) {}

  Floats operator()(const float* row) const {
    if (near_) return lookup_(row + *first_);
    alignas(64) float pixels[kFloats];
    for (int i = 0; i < kFloats; ++i) {
      const float* p = row + first_[i];
      pixels[i] = lerp(p[0], p[1], weight_[i]);
    }
    return Floats::load(pixels);
  }

 private:
  const int* first_;
  const float* weight_;
  Lookup lookup_;
  bool near_;
};

}  // namespace trtmatte::TRTMATTE_SIMD
