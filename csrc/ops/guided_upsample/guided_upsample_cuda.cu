#include "ops/cuda/matte.cuh"
#include "ops/guided_upsample/guided_upsample.h"
#include "ops/guided_upsample/guided_upsample_math.h"

namespace trtmatte {

namespace {

struct Form {
  View A;
  View b;
  View frame;
  Axis rows;
  Axis columns;

  bool near(DType type) const { return near_maps(A, frame, type) && near_maps(b, frame, type); }

  template <typename Maps>
  struct Walk {
    typename Maps::template Columns<4> A;
    typename Maps::template Columns<4> b;

    __device__ __forceinline__ Walk(const Form& form, int n, int y, int x)
        : A(form.A, n, y, form.rows, form.columns, x), b(form.b, n, y, form.rows, form.columns, x) {}

    __device__ __forceinline__ MattePixel<float> pixel(int x, const float (&rgb)[3]) {
      A.move_to(x);
      b.move_to(x);
      const float slope[4] = {A.value(0), A.value(1), A.value(2), A.value(3)};
      const float shift[4] = {b.value(0), b.value(1), b.value(2), b.value(3)};
      const GuidedPixel<float> out = guided_pixel(rgb[0], rgb[1], rgb[2], slope, shift);
      return MattePixel<float>{{out.r, out.g, out.b}, out.alpha};
    }
  };
};

}  // namespace

void guided_upsample(const GuidedUpsample& op, CudaStream cuda_stream) {
  const Form form{op.A, op.b, op.frame, make_axis(op.A.size[2], op.frame.size[2]),
                  make_axis(op.A.size[3], op.frame.size[3])};
  write_matte(form, op.frame, op.sinks, cuda_stream, "GuidedUpsample");
}

}  // namespace trtmatte
