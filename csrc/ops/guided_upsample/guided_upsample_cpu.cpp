#include "ops/cpu/matte.h"
#include "ops/guided_upsample/guided_upsample.h"
#include "ops/guided_upsample/guided_upsample_math.h"

namespace trtmatte::TRTMATTE_SIMD {

namespace {

struct Form {
  const GuidedUpsample& op;
  Axis rows;
  Columns columns{};

  explicit Form(const GuidedUpsample& of) : op(of), rows(make_axis(of.A.size[2], of.frame.size[2])) {}

  int small_width() const { return op.A.size[3]; }
  size_t shared_bytes() const { return Columns::bytes(op.frame.size[3]); }
  size_t worker_bytes() const {
    return 8 * Arena::size_for<float>(small_width() + kRowPadding) + Arena::size_for<float>(2 * small_width());
  }
  void build(Arena& arena) { columns.build(make_axis(small_width(), op.frame.size[3]), arena); }

  struct Row {
    const Form& form;
    float* A[4];
    float* b[4];
    float* spare;

    Row(const Form& of, Arena& arena) : form(of) {
      for (float*& row : A) row = arena.take<float>(of.small_width() + kRowPadding);
      for (float*& row : b) row = arena.take<float>(of.small_width() + kRowPadding);
      spare = arena.take<float>(2 * of.small_width());
    }

    void begin(int n, int y) {
      const Tap rows = tap_at(form.rows, y);
      for (int c = 0; c < 4; ++c) {
        lerp_row(form.op.A, n, c, rows, spare, A[c]);
        lerp_row(form.op.b, n, c, rows, spare, b[c]);
      }
    }

    void tile(int, int, int, int) {}

    MattePixels at(int x, int i, const Floats (&rgb)[3]) const {
      const Stretched stretched(form.columns, x + i);
      const Floats slope[4] = {stretched(A[0]), stretched(A[1]), stretched(A[2]), stretched(A[3])};
      const Floats offset[4] = {stretched(b[0]), stretched(b[1]), stretched(b[2]), stretched(b[3])};
      const auto pixel = guided_pixel(rgb[0], rgb[1], rgb[2], slope, offset);
      return MattePixels{{pixel.r, pixel.g, pixel.b}, pixel.alpha};
    }
  };
};

}  // namespace

void guided_upsample(const GuidedUpsample& op, Parallel& parallel);
void guided_upsample(const GuidedUpsample& op, Parallel& parallel) {
  Form form(op);
  write_matte(op.frame, op.sinks, parallel, form);
}

}  // namespace trtmatte::TRTMATTE_SIMD
