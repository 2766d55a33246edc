#include "ops/matte_upsample/matte_upsample.h"
#include "ops/matte_upsample/matte_upsample_math.h"
#include "ops/shared/matte.cuh"

namespace trtmatte {

namespace {

struct Form {
  View alpha;
  Filter rows;
  Filter columns;

  struct Walk {
    const Form& form;
    ColumnWalk<1> alpha;
    TapRange rows;
    int n;

    __device__ __forceinline__ Walk(const Form& of, int image, int y)
        : form(of),
          alpha(of.alpha, image, 0, y, of.rows.axis, of.columns.axis),
          rows(tap_range(of.rows, y)),
          n(image) {}

    __device__ __forceinline__ float alpha_at(int x) {
      if (form.columns.method == Method::kLinear) return alpha.value(0, alpha.move_to(x));
      const auto at = [this](int row, int column) { return load(form.alpha, offset(form.alpha, n, 0, row, column)); };
      return area_mean(rows, tap_range(form.columns, x), at);
    }

    __device__ __forceinline__ MattePixel pixel(int x, const float (&rgb)[3]) {
      return MattePixel{{clamp01(rgb[0]), clamp01(rgb[1]), clamp01(rgb[2])}, clamp01(alpha_at(x))};
    }
  };
};

}  // namespace

void matte_upsample(const MatteUpsample& op, CudaStream stream) {
  const Form form{op.alpha, Filter{op.method, make_axis(op.alpha.size[2], op.frame.size[2]), 1.0f},
                  Filter{op.method, make_axis(op.alpha.size[3], op.frame.size[3]), 1.0f}};
  write_matte(form, op.frame, op.sinks, stream, "MatteUpsample");
}

}  // namespace trtmatte
