#include <type_traits>

#include "ops/cuda/clean.cuh"
#include "ops/math/alpha.h"
#include "ops/matte_upsample/matte_upsample.h"
#include "ops/matte_upsample/matte_upsample_math.h"

namespace trtmatte {

namespace {

struct Form {
  View alpha;
  View frame;
  Filter rows;
  Filter columns;

  bool areas() const { return columns.method == Method::kArea; }
  bool near(DType type) const {
    return near_maps(alpha, frame, type) && alpha.size[1] == 1 && !in_two_passes(columns.method) &&
           (!areas() || alpha.size[2] <= frame.size[2]);
  }

  template <typename Maps, bool in_blocks>
  struct Walk {
    const Form& form;
    typename Maps::Place place;
    typename Maps::template Columns<1> alpha;
    int n;
    int y;

    __device__ __forceinline__ Walk(const Form& of, int image, int row, int x)
        : form(of), place(of.columns.axis, x), alpha(of.alpha, image, row_of(of.rows, row), place), n(image), y(row) {}

    // An area lies in one row of the maps or in two.
    static __device__ __forceinline__ Tap row_of(const Filter& rows, int y) {
      if constexpr (!Maps::kAreas) return tap_at(rows.axis, y);
      const TapRange range = tap_range(rows, y);
      return Tap{range.begin, range.end - 1, range.end - range.begin > 1 ? 0.5f : 0.0f};
    }

    // `colour` is clamped.
    __device__ __forceinline__ float value(const float (&colour)[3]) const {
      if constexpr (std::is_same_v<Maps, AnyMaps>) {
        if (form.alpha.size[1] == kAlphaOfColour) {
          const Tap row = tap_at(form.rows.axis, y);
          const auto map = [&](int c) { return sample(form.alpha, n, c, row, place.column); };
          const float slope[3] = {map(0), map(1), map(2)};
          return alpha_of_colour(colour, slope, map(3));
        }
        const auto at = [this](int row, int column) { return load(form.alpha, offset(form.alpha, n, 0, row, column)); };
        if (form.columns.method == Method::kArea) {
          return clamp01(area_mean(tap_range(form.rows, y), tap_range(form.columns, place.x), at));
        }
        if (in_two_passes(form.columns.method)) return clamp01(two_passes(form.rows, form.columns, y, place.x, at));
      }
      return clamp01(alpha.value(0, place));
    }

    __device__ __forceinline__ MattePixel<float> pixel(int i, const float (&rgb)[3]) {
      if (i > 0 && place.advance()) alpha.follow(place);
      const float colour[3] = {clamp01(rgb[0]), clamp01(rgb[1]), clamp01(rgb[2])};
      return MattePixel<float>{{colour[0], colour[1], colour[2]}, value(colour)};
    }
  };
};

}  // namespace

void matte_upsample(const MatteUpsample& op, CudaStream cuda_stream) {
  const Form form{op.alpha, op.frame, Filter{op.method, make_axis(op.alpha.size[2], op.frame.size[2]), 1.0f},
                  Filter{op.method, make_axis(op.alpha.size[3], op.frame.size[3]), 1.0f}};
  if (form.areas()) {
    write_clean_matte<NearAreas>(form, op.frame, op.colours, op.sinks, cuda_stream, "MatteUpsample");
  } else {
    write_clean_matte(form, op.frame, op.colours, op.sinks, cuda_stream, "MatteUpsample");
  }
}

}  // namespace trtmatte
