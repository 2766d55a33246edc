#include "ops/cuda/pixels.cuh"
#include "ops/foreground_estimate/foreground_estimate.h"

namespace trtmatte {

namespace {

constexpr int kCellsAcross = 32;

struct Form {
  ForegroundEstimate op;
  Axis rows;
  Axis columns;
  ColourPyramid pyramid;
};

__device__ __forceinline__ float alpha_at(const Form& form, int n, int y, int x, const float (&rgb)[3]) {
  const Tap row = tap_at(form.rows, y), column = tap_at(form.columns, x);
  const auto map = [&](int c) { return sample(form.op.alpha, n, c, row, column); };
  if (form.op.alpha.size[1] == 1) return clamp01(map(0));
  const float slope[3] = {map(0), map(1), map(2)};
  return alpha_of_colour(rgb, slope, map(3));
}

// One cell a thread: its pixels lie beside those of the next thread.
__global__ void __launch_bounds__(kThreads) measure_cells(Form form, int n) {
  const GridPlace<kCellsAcross> place;
  const TapRange columns = columns_of_cell(form.op.frame.size[3], place.item);
  float sum[kMoments] = {};
  for (int i = 0; i < kCellRows; ++i) {
    const int y = row_of_cell(form.op.frame.size[2], place.row, i);
    for (int x = columns.begin; x < columns.end; ++x) {
      float rgb[3];
      for (int c = 0; c < 3; ++c) rgb[c] = clamp01(load(form.op.frame, offset(form.op.frame, n, c, y, x)));
      const float alpha = alpha_at(form, n, y, x, rgb);
      sum[kAlpha] += alpha;
      sum[kMixed] += alpha * (1.0f - alpha);
      for (int c = 0; c < 3; ++c) {
        sum[kColour + c] += rgb[c];
        sum[kAlphaColour + c] += alpha * rgb[c];
      }
    }
  }
  const float share = 1.0f / static_cast<float>(kCellRows * (columns.end - columns.begin));
  for (int moment = 0; moment < kMoments; ++moment) {
    form.pyramid.moments(0, moment)[place.row * kGrid + place.item] = sum[moment] * share;
  }
}

// One mean a thread.
__global__ void __launch_bounds__(kThreads) halve_level(ColourPyramid pyramid, int level) {
  const GridPlace<kCellsAcross> place;
  const int side = side_of_level(level), y = place.row, x = place.item, moment = place.image;
  if (y >= side || x >= side) return;
  const float* upper = pyramid.moments(level - 1, moment) + 2 * (2 * y * side + x);
  const float* lower = upper + 2 * side;
  pyramid.moments(level, moment)[y * side + x] = 0.25f * (upper[0] + upper[1] + lower[0] + lower[1]);
}

// One cell a thread.
__global__ void __launch_bounds__(kThreads) solve_level(Form form, int n, int level) {
  const GridPlace<kCellsAcross> place;
  const ColourPyramid& pyramid = form.pyramid;
  const int side = side_of_level(level), half = side / 2, y = place.row, x = place.item, cell = y * side + x;
  if (y >= side || x >= side) return;
  const CellSystem system(pyramid.moments(level, kAlpha)[cell], pyramid.moments(level, kMixed)[cell]);
  const int near_y = y / 2, next_y = y % 2 ? (near_y + 1 < half ? near_y + 1 : near_y) : (near_y > 0 ? near_y - 1 : 0);
  const int near_x = x / 2, next_x = x % 2 ? (near_x + 1 < half ? near_x + 1 : near_x) : (near_x > 0 ? near_x - 1 : 0);
  float colours[kEstimates];
  for (int i = 0; i < kEstimates; ++i) {
    if (level == kGridLevels - 1) {
      colours[i] = *pyramid.moments(level, kColour + i % 3);
      continue;
    }
    const float* larger = pyramid.colours(level + 1, i);
    const float near = 0.75f * larger[near_y * half + near_x] + 0.25f * larger[next_y * half + near_x];
    const float next = 0.75f * larger[near_y * half + next_x] + 0.25f * larger[next_y * half + next_x];
    colours[i] = 0.75f * near + 0.25f * next;
  }
  for (int c = 0; c < 3; ++c) {
    system.solve(pyramid.moments(level, kColour + c)[cell], pyramid.moments(level, kAlphaColour + c)[cell], colours[c],
                 colours[3 + c]);
  }
  for (int i = 0; i < kEstimates; ++i) {
    if (level == 0) {
      store(form.op.colours, offset(form.op.colours, n, i, y, x), colours[i]);
    } else {
      pyramid.colours(level, i)[cell] = colours[i];
    }
  }
}

}  // namespace

void foreground_estimate(const ForegroundEstimate& op, void* workspace, CudaStream cuda_stream) {
  const Form form{op, make_axis(op.alpha.size[2], op.frame.size[2]), make_axis(op.alpha.size[3], op.frame.size[3]),
                  ColourPyramid{static_cast<float*>(workspace)}};
  const cudaStream_t on = native(cuda_stream);
  for (int n = 0; n < op.frame.size[0]; ++n) {
    measure_cells<<<grid_of<kCellsAcross>(1, kGrid, kGrid), kThreads, 0, on>>>(form, n);
    check_launch("ForegroundEstimate's means");
    for (int level = 1; level < kGridLevels; ++level) {
      const dim3 grid = grid_of<kCellsAcross>(kMoments, side_of_level(level), side_of_level(level));
      halve_level<<<grid, kThreads, 0, on>>>(form.pyramid, level);
      check_launch("ForegroundEstimate's levels");
    }
    for (int level = kGridLevels - 1; level >= 0; --level) {
      const dim3 grid = grid_of<kCellsAcross>(1, side_of_level(level), side_of_level(level));
      solve_level<<<grid, kThreads, 0, on>>>(form, n, level);
      check_launch("ForegroundEstimate's colours");
    }
  }
}

}  // namespace trtmatte
