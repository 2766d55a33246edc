#include "ops/guided_upsample/guided_upsample.h"
#include "ops/guided_upsample/guided_upsample_math.h"
#include "ops/shared/matte.h"

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

    void tile(int, int, int x, int count, const Line* rgb, Line* fgr, Line& pha) const {
      Line slope[4], offset[4];
      form.columns.stretch<4>({A[0], A[1], A[2], A[3]}, x, count, slope);
      form.columns.stretch<4>({b[0], b[1], b[2], b[3]}, x, count, offset);
      for (int i = 0; i < count; ++i) {
        const float a[4] = {slope[0].v[i], slope[1].v[i], slope[2].v[i], slope[3].v[i]};
        const float o[4] = {offset[0].v[i], offset[1].v[i], offset[2].v[i], offset[3].v[i]};
        const GuidedPixel pixel = guided_pixel(rgb[0].v[i], rgb[1].v[i], rgb[2].v[i], a, o);
        fgr[0].v[i] = pixel.r;
        fgr[1].v[i] = pixel.g;
        fgr[2].v[i] = pixel.b;
        pha.v[i] = pixel.alpha;
      }
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
