#include <new>

#include "ops/cpu/lines.h"
#include "ops/math/patches.h"
#include "ops/patch_crop/patch_crop.h"
#include "ops/patch_crop/patch_crop_math.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

constexpr int kWindow = 8;           // the widest window
constexpr int kBlock = 2 * kWindow;  // kWindow in pixels of the frame

// One channel of one patch. A smaller patch uses the upper left corner.
struct alignas(64) Square {
  float v[kWindow][kWindow];
};

void store_square(const Square& square, const View& to, int k, int c) {
  const int size = to.size[3];
  if (size == kWindow && to.dtype == DType::kFloat32 && to.stride[3] == 1 && to.stride[2] == kWindow) {
    memcpy(pointer<float>(to, k, c, 0, 0), square.v, sizeof square.v);
    return;
  }
  for (int y = 0; y < size; ++y) store_channel(square.v[y], size, to, k, c, y, 0);
}

// The columns of the small maps that one patch's half-resolution window reads.
struct WindowColumns {
  alignas(64) int shuffle[kLanes] = {};
  alignas(64) float weight[kLanes] = {};
  int first = kWindow, last = -1;  // columns that lie inside the picture
  int source = 0;                  // the leftmost column that is read
  int reach = 0;                   // the number of columns that are read
  bool near = true;                // true if one table look-up reaches all of them

  WindowColumns(const Axis& axis, int start, int size) {
    for (int i = 0; i < size; ++i) {
      if (start + i < 0 || start + i >= axis.out) continue;
      const Tap tap = tap_at(axis, start + i);
      if (last < 0) {
        first = i;
        source = tap.first;
      }
      last = i;
      shuffle[i] = tap.first - source;
      weight[i] = tap.weight;
      reach = tap.second - source + 1;
    }
    near = reach <= kWindow + 1;
  }

  // Computes one row of a small map at these columns, zero outside of the picture.
  void stretch(const View& maps, int n, int c, int row, float* to) const {
    if (near) {
      alignas(64) float copy[kFloats + 1];
      Lookup(shuffle, weight)(sources(maps, n, c, row, copy)).store(to);
    } else {
      for (int x = first; x <= last; ++x) {
        float v[2];
        const int left = source + shuffle[x], right = smaller(left + 1, maps.size[3] - 1);
        load_channel(maps, n, c, row, left, 1, v);
        load_channel(maps, n, c, row, right, 1, v + 1);
        to[x] = lerp(v[0], v[1], weight[x]);
      }
    }
    for (int x = 0; x < first; ++x) to[x] = 0.0f;
    for (int x = last + 1; x < kWindow; ++x) to[x] = 0.0f;
  }

 private:
  // Returns the columns that a look-up reads: in the map itself, or in a copy if the map ends before or is not float32.
  const float* sources(const View& maps, int n, int c, int row, float (&copy)[kFloats + 1]) const {
    const bool plain = maps.dtype == DType::kFloat32 && maps.stride[3] == 1;
    if (plain && source + kFloats + 1 <= maps.size[3]) return pointer<const float>(maps, n, c, row, source);
    load_channel(maps, n, c, row, source, reach, copy);
    for (int x = reach; x <= kFloats; ++x) copy[x] = copy[reach - 1];
    return copy;
  }
};

// Caches two stretched rows of the small map, since neighbouring rows of the window share them.
struct StretchedRows {
  alignas(64) float v[2][kLanes];
  int held[2] = {-1, -1};

  const float* at(const WindowColumns& columns, const View& maps, int n, int c, int row) {
    const int slot = row % 2;
    if (held[slot] != row) {
      columns.stretch(maps, n, c, row, v[slot]);
      held[slot] = row;
    }
    return v[slot];
  }
};

// One patch and the rows and columns of the small maps that its half-resolution window reads.
struct Place {
  int k;
  int32_t index[3];
  int top;
  Tap rows[kWindow];
  WindowColumns columns;

  Place(const PatchCrop& op, int patch, const int32_t (&at)[3], const Axis& down, const Axis& across)
      : k(patch),
        index{at[0], at[1], at[2]},
        top(window_start(half_window(op.half.size[3]), at[1])),
        columns(across, window_start(half_window(op.half.size[3]), at[2]), op.half.size[3]) {
    for (int y = 0; y < op.half.size[3]; ++y) rows[y] = tap_at(down, top + y);
  }
};

void crop_map(const PatchCrop& op, const Place& place, int height, int c) {
  Square square;
  StretchedRows stretched;
  for (int y = 0; y < op.half.size[3]; ++y) {
    float* to = square.v[y];
    if (place.top + y < 0 || place.top + y >= height) {
      for (int x = 0; x < kWindow; ++x) to[x] = 0.0f;
      continue;
    }
    const Tap& row = place.rows[y];
    const float* upper = stretched.at(place.columns, op.maps, place.index[0], c, row.first);
    const float* lower = stretched.at(place.columns, op.maps, place.index[0], c, row.second);
    for (int x = 0; x < kWindow; ++x) to[x] = lerp(upper[x], lower[x], row.weight);
  }
  store_square(square, op.half, place.k, c);
}

// The frame's pixels around one patch, zero outside of the frame. Both crops read them.
struct Block {
  float v[3][kBlock][kBlock];

  Block(const View& frame, int n, int top, int left, int size) {
    const int from = larger(left, 0), to = smaller(left + size, frame.size[3]);
    for (int y = 0; y < size; ++y) {
      const bool inside = top + y >= 0 && top + y < frame.size[2];
      if (!inside || to - from < size) {
        for (auto& channel : v) memset(channel[y], 0, sizeof channel[y]);
      }
      const int x = from - left;
      if (inside) load_rgb(frame, n, top + y, from, to - from, {v[0][y] + x, v[1][y] + x, v[2][y] + x});
    }
  }
};

void crop_frame(const PatchCrop& op, const Place& place, const View& frame, int channel) {
  const int32_t* index = place.index;
  const int half = op.half.size[3], full = op.full.size[3];
  const Window window = half_window(half);
  const int size = 2 * half, margin = (size - full) / 2;
  const Block block(frame, index[0], 2 * window_start(window, index[1]), 2 * window_start(window, index[2]), size);
  Square square;
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < half; ++y) {
      const float *upper = block.v[c][2 * y], *lower = block.v[c][2 * y + 1];
      for (int x = 0; x < half; ++x) {
        square.v[y][x] = quarter(upper[2 * x], upper[2 * x + 1], lower[2 * x], lower[2 * x + 1]);
      }
    }
    store_square(square, op.half, place.k, op.maps.size[1] + channel + c);
    for (int y = 0; y < full; ++y) {
      memcpy(square.v[y], block.v[c][y + margin] + margin, sizeof(float) * static_cast<size_t>(full));
    }
    store_square(square, op.full, place.k, channel + c);
  }
}

void clear(const View& patches, int k) {
  static constexpr float zeros[kWindow] = {};
  for (int c = 0; c < patches.size[1]; ++c) {
    for (int y = 0; y < patches.size[2]; ++y) store_channel(zeros, patches.size[3], patches, k, c, y, 0);
  }
}

// Crops a group of patches map by map: neighbouring patches read the same rows.
constexpr int kGroup = 16;

void crop_group(const PatchCrop& op, int begin, int end, const Axis& down, const Axis& across) {
  alignas(Place) char memory[kGroup * sizeof(Place)];
  auto* places = reinterpret_cast<Place*>(memory);
  int count = 0;
  for (int k = begin; k < end; ++k) {
    int32_t index[3];
    for (int i = 0; i < 3; ++i) index[i] = *pointer<const int32_t>(op.indices, 0, 0, k, i);
    if (block_of(index, op.src.size[0], op.src.size[2] / 4, op.src.size[3] / 4) < 0) {
      clear(op.half, k);
      clear(op.full, k);
    } else {
      new (places + count++) Place(op, k, index, down, across);
    }
  }
  for (int c = 0; c < op.maps.size[1]; ++c) {
    for (int i = 0; i < count; ++i) crop_map(op, places[i], down.out, c);
  }
  for (int i = 0; i < count; ++i) {
    crop_frame(op, places[i], op.src, 0);
    crop_frame(op, places[i], op.bgr, 3);
  }
}

}  // namespace

void patch_crop(const PatchCrop& op, Parallel& parallel);
void patch_crop(const PatchCrop& op, Parallel& parallel) {
  const int height = op.src.size[2], width = op.src.size[3];
  const Axis down = make_axis(op.maps.size[2], height / 2), across = make_axis(op.maps.size[3], width / 2);
  parallel.for_each(op.indices.size[2], kGroup, [&](int64_t first, int64_t last, int) {
    for (int64_t begin = first; begin < last; begin += kGroup) {
      const int64_t end = begin + kGroup < last ? begin + kGroup : last;
      crop_group(op, static_cast<int>(begin), static_cast<int>(end), down, across);
    }
  });
}

}  // namespace trtmatte::TRTMATTE_SIMD
