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

  template <typename Maps, bool in_blocks>
  struct Walk {
    Tap row;
    typename Maps::Place place;
    typename Maps::template Columns<4> A;
    typename Maps::template Columns<4> b;

    __device__ __forceinline__ Walk(const Form& form, int n, int y, int x)
        : row(tap_at(form.rows, y)), place(form.columns, x), A(form.A, n, row, place), b(form.b, n, row, place) {}

    __device__ __forceinline__ MattePixel<float> pixel(int i, const float (&rgb)[3]) {
      if (i > 0 && place.advance()) {
        A.follow(place);
        b.follow(place);
      }
      float slope[4], shift[4];
      for (int c = 0; c < 4; ++c) {
        slope[c] = A.value(c, place);
        shift[c] = b.value(c, place);
      }
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
