#include "ops/cpu/matte.h"
#include "ops/patch_scatter/patch_scatter.h"
#include "ops/patch_scatter/patch_scatter_math.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

struct Form {
  const PatchScatter& op;
  Axis rows;
  Columns columns{};
  int32_t* patch_of = nullptr;  // the inverse index

  explicit Form(const PatchScatter& of) : op(of), rows(make_axis(of.coarse.size[2], of.frame.size[2])) {}

  int block_rows() const { return op.frame.size[2] / kPatch; }
  int block_columns() const { return op.frame.size[3] / kPatch; }
  size_t blocks() const { return static_cast<size_t>(op.frame.size[0]) * block_rows() * block_columns(); }
  int small_width() const { return op.coarse.size[3]; }

  size_t shared_bytes() const { return Columns::bytes(op.frame.size[3]) + Arena::size_for<int32_t>(blocks()); }
  size_t worker_bytes() const {
    return 4 * Arena::size_for<float>(small_width() + kRowPadding) + Arena::size_for<float>(2 * small_width());
  }
  void build(Arena& arena) {
    columns.build(make_axis(small_width(), op.frame.size[3]), arena);
    patch_of = arena.take<int32_t>(blocks());
    memset(patch_of, 0xff, sizeof(int32_t) * blocks());
    for (int k = 0; k < op.indices.size[2]; ++k) {
      int32_t index[3];
      for (int i = 0; i < 3; ++i) index[i] = *pointer<const int32_t>(op.indices, 0, 0, k, i);
      const int64_t block = block_of(index, op.frame.size[0], block_rows(), block_columns());
      if (block >= 0) patch_of[block] = k;
    }
  }

  struct Row {
    const Form& form;
    float* canvas[4];
    float* spare;
    Line maps[4]{};  // the canvas with the patches in it

    Row(const Form& of, Arena& arena) : form(of) {
      for (float*& row : canvas) row = arena.take<float>(of.small_width() + kRowPadding);
      spare = arena.take<float>(2 * of.small_width());
    }

    void begin(int n, int y) {
      for (int c = 0; c < 4; ++c) lerp_row(form.op.coarse, n, c, tap_at(form.rows, y), spare, canvas[c]);
    }

    void tile(int n, int y, int x, int count) {
      for (int i = 0; i < count; i += kFloats) {
        const Stretched stretched(form.columns, x + i);
        for (int c = 0; c < 4; ++c) stretched(canvas[c]).store(maps[c].v + i);
      }
      const int64_t row = (static_cast<int64_t>(n) * form.block_rows() + y / kPatch) * form.block_columns();
      const int32_t* patch_of = form.patch_of + row + x / kPatch;
      for (int block = 0; block < count / kPatch; ++block) {
        const int patch = patch_of[block];
        if (patch < 0) continue;
        for (int c = 0; c < 4; ++c) {
          load_channel(form.op.patches, patch, c, y % kPatch, 0, kPatch, maps[c].v + block * kPatch);
        }
      }
    }

    MattePixels at(int, int i, const Floats (&rgb)[3]) const {
      const auto map = [&](int c) { return Floats::load(maps[c].v + i); };
      return MattePixels{{foreground(map(1), rgb[0]), foreground(map(2), rgb[1]), foreground(map(3), rgb[2])},
                         clamp01(map(0))};
    }
  };
};

}  // namespace

void patch_scatter(const PatchScatter& op, Parallel& parallel);
void patch_scatter(const PatchScatter& op, Parallel& parallel) {
  Form form(op);
  write_matte(op.frame, op.sinks, parallel, form);
}

}  // namespace trtmatte::TRTMATTE_SIMD
