#include "ops/patch_crop/patch_crop.h"
#include "ops/patch_crop/patch_crop_math.h"
#include "ops/patch_scatter/patch_scatter_math.h"
#include "ops/shared/lines.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

constexpr int kWindow = 8;           // the widest window
constexpr int kBlock = 2 * kWindow;  // the same in pixels of the frame

// Where the columns of one patch's half-resolution window read the small maps.
struct WindowColumns {
  alignas(64) int shuffle[kLanes] = {};
  alignas(64) float weight[kLanes] = {};
  int first = kWindow, last = -1;  // columns that lie inside the picture
  int source = 0;                  // the leftmost small column that is read
  int reach = 0;                   // how many are read from there
  bool near = true;

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
};

// One row of the window from one small map.
void crop_map_row(const View& maps, int n, int c, const Tap& rows, const WindowColumns& columns, float* to) {
  if (columns.near) {
    alignas(64) float between[2 * kLanes + 1];
    float upper[kWindow + 1], lower[kWindow + 1];
    load_channel(maps, n, c, rows.first, columns.source, columns.reach, upper);
    load_channel(maps, n, c, rows.second, columns.source, columns.reach, lower);
    for (int x = 0; x < columns.reach; ++x) between[x] = lerp(upper[x], lower[x], rows.weight);
    for (int x = columns.reach; x <= kWindow; ++x) between[x] = between[columns.reach - 1];
    for (int x = kWindow + 1; x <= 2 * kLanes; ++x) between[x] = 0.0f;
    lerp_lookup(between, columns.shuffle, columns.weight, to);
  } else {
    for (int x = columns.first; x <= columns.last; ++x) {
      float v[4];
      const int left = columns.source + columns.shuffle[x];
      const int right = smaller(left + 1, maps.size[3] - 1);
      load_channel(maps, n, c, rows.first, left, 1, v);
      load_channel(maps, n, c, rows.first, right, 1, v + 1);
      load_channel(maps, n, c, rows.second, left, 1, v + 2);
      load_channel(maps, n, c, rows.second, right, 1, v + 3);
      to[x] = lerp(lerp(v[0], v[1], columns.weight[x]), lerp(v[2], v[3], columns.weight[x]), rows.weight);
    }
  }
  for (int x = 0; x < columns.first; ++x) to[x] = 0.0f;
  for (int x = columns.last + 1; x < kWindow; ++x) to[x] = 0.0f;
}

void crop_maps(const PatchCrop& op, const int32_t* index, const Axis& rows, const Axis& across, int k) {
  const int size = op.half.size[3];
  const Window window = half_window(size);
  const int top = window_start(window, index[1]);
  const WindowColumns columns(across, window_start(window, index[2]), size);
  alignas(64) float line[kLanes];
  for (int c = 0; c < op.maps.size[1]; ++c) {
    for (int y = 0; y < size; ++y) {
      if (top + y < 0 || top + y >= rows.out) {
        for (float& v : line) v = 0.0f;
      } else {
        crop_map_row(op.maps, index[0], c, tap_at(rows, top + y), columns, line);
      }
      store_channel(line, size, op.half, k, c, y, 0);
    }
  }
}

// The frame's pixels around one patch, zero outside; both crops are made of them.
struct Block {
  float v[3][kBlock][kBlock];

  Block(const View& frame, int n, int top, int left, int size) {
    Line rgb[3];
    const int from = larger(left, 0), to = smaller(left + size, frame.size[3]);
    for (int y = 0; y < size; ++y) {
      const bool inside = top + y >= 0 && top + y < frame.size[2];
      if (inside) load_rgb(frame, n, top + y, from, to - from, rgb);
      for (int c = 0; c < 3; ++c) {
        if (!inside || to - from < size) memset(v[c][y], 0, sizeof v[c][y]);
        if (inside) memcpy(v[c][y] + (from - left), rgb[c].v, sizeof(float) * static_cast<size_t>(to - from));
      }
    }
  }
};

void crop_frame(const PatchCrop& op, const View& frame, int channel, const int32_t* index, int k) {
  const int half = op.half.size[3], full = op.full.size[3];
  const Window window = half_window(half);
  const int size = 2 * half, margin = (size - full) / 2;
  const Block block(frame, index[0], 2 * window_start(window, index[1]), 2 * window_start(window, index[2]), size);
  float line[kWindow];
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < half; ++y) {
      const float *upper = block.v[c][2 * y], *lower = block.v[c][2 * y + 1];
      for (int x = 0; x < half; ++x) {
        line[x] = quarter(upper[2 * x], upper[2 * x + 1], lower[2 * x], lower[2 * x + 1]);
      }
      store_channel(line, half, op.half, k, op.maps.size[1] + channel + c, y, 0);
    }
    for (int y = 0; y < full; ++y) {
      store_channel(block.v[c][y + margin] + margin, full, op.full, k, channel + c, y, 0);
    }
  }
}

void clear(const View& patches, int k) {
  static constexpr float zeros[kWindow] = {};
  for (int c = 0; c < patches.size[1]; ++c) {
    for (int y = 0; y < patches.size[2]; ++y) store_channel(zeros, patches.size[3], patches, k, c, y, 0);
  }
}

}  // namespace

void patch_crop(const PatchCrop& op, Parallel& parallel);
void patch_crop(const PatchCrop& op, Parallel& parallel) {
  const int height = op.src.size[2], width = op.src.size[3];
  const Axis rows = make_axis(op.maps.size[2], height / 2), columns = make_axis(op.maps.size[3], width / 2);
  parallel.for_each(op.indices.size[2], 16, [&](int begin, int end, int) {
    for (int k = begin; k < end; ++k) {
      int32_t index[3];
      for (int i = 0; i < 3; ++i) index[i] = *pointer<const int32_t>(op.indices, 0, 0, k, i);
      if (block_of(index, op.src.size[0], height / 4, width / 4) < 0) {
        clear(op.half, k);
        clear(op.full, k);
        continue;
      }
      crop_maps(op, index, rows, columns, k);
      crop_frame(op, op.src, 0, index, k);
      crop_frame(op, op.bgr, 3, index, k);
    }
  });
}

}  // namespace trtmatte::TRTMATTE_SIMD
