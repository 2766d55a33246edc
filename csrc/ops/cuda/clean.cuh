// The foreground without the old background, around the form of an op that computes the alpha.
#pragma once

#include <type_traits>

#include "ops/cuda/matte.cuh"
#include "ops/math/foreground.h"

namespace trtmatte {

// Has the matte of `Op` with the foreground of Note [Clean foreground].
template <typename Op>
struct Clean {
  Op op;
  View frame;
  View colours;
  Axis rows;
  Axis columns;

  // The colours are float32, of whichever type the maps of `Op` are.
  bool near(DType type) const { return op.near(type) && near_maps(colours, frame, DType::kFloat32); }

  template <typename Maps, bool in_blocks>
  struct Walk {
    using Cells = std::conditional_t<std::is_same_v<Maps, AnyMaps>, AnyMaps, NearMaps<float>>;

    typename Op::template Walk<Maps, in_blocks> walk;
    typename Cells::Place place;
    typename Cells::template Columns<6> cells;

    __device__ __forceinline__ Walk(const Clean& of, int n, int y, int x)
        : walk(of.op, n, y, x), place(of.columns, x), cells(of.colours, n, tap_at(of.rows, y), place) {}

    __device__ __forceinline__ MattePixel<float> pixel(int i, const float (&rgb)[3]) {
      MattePixel<float> out = walk.pixel(i, rgb);
      if (i > 0 && place.advance()) cells.follow(place);
      const float rest = 1.0f - out.pha, share = 1.0f / (1.0f - 2.0f * out.pha * rest);
      for (int c = 0; c < 3; ++c) {
        out.fgr[c] =
            clean_foreground(out.fgr[c], out.pha, rest, share, cells.value(c, place), cells.value(3 + c, place));
      }
      return out;
    }
  };
};

// Writes the matte of `op`, with the clean foreground if there are colours and an output shows it.
template <template <typename> class Near = NearMaps, typename Op>
void write_clean_matte(const Op& op, const View& frame, const View& colours, const Sinks& sinks, CudaStream cuda_stream,
                       const char* name) {
  if (has_colours(colours) && shows_foreground(sinks)) {
    const Clean<Op> clean{op, frame, colours, make_axis(colours.size[2], frame.size[2]),
                          make_axis(colours.size[3], frame.size[3])};
    write_matte<Near>(clean, frame, sinks, cuda_stream, name);
  } else {
    write_matte<Near>(op, frame, sinks, cuda_stream, name);
  }
}

}  // namespace trtmatte
