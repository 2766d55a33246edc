#include "ops/guided_upsample/guided_upsample.h"
#include "ops/guided_upsample/guided_upsample_math.h"
#include "ops/shared/matte.cuh"

namespace trtmatte {

namespace {

struct Form {
  View A;
  View b;
  Axis rows;
  Axis columns;

  struct Walk {
    ColumnWalk<4> A;
    ColumnWalk<4> b;

    __device__ __forceinline__ Walk(const Form& form, int n, int y)
        : A(form.A, n, 0, y, form.rows, form.columns), b(form.b, n, 0, y, form.rows, form.columns) {}

    __device__ __forceinline__ MattePixel pixel(int x, const float (&rgb)[3]) {
      const float weight = A.move_to(x);
      b.move_to(x);
      float slope[4], shift[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        slope[c] = A.value(c, weight);
        shift[c] = b.value(c, weight);
      }
      const GuidedPixel out = guided_pixel(rgb[0], rgb[1], rgb[2], slope, shift);
      return MattePixel{{out.r, out.g, out.b}, out.alpha};
    }
  };
};

}  // namespace

void guided_upsample(const GuidedUpsample& op, CudaStream stream) {
  const Form form{op.A, op.b, make_axis(op.A.size[2], op.frame.size[2]), make_axis(op.A.size[3], op.frame.size[3])};
  write_matte(form, op.frame, op.sinks, stream, "GuidedUpsample");
}

}  // namespace trtmatte
