// Note [Colours from moments]
// A pixel is x = alpha F + (1 - alpha) B. In a cell of the frame, the F and B that fit all its pixels best solve two
// linear equations, and their coefficients are means over the cell: of alpha, alpha (1 - alpha), x and alpha x. A cell
// with pixels of different alpha determines both colours, although none of its pixels may show either of them alone.
// Means of larger cells are means of these means. The colours are therefore found from the whole frame down to the
// smallest cells, each time near those of the larger cell: kPull is how much these weigh against the pixels. So a cell
// that says nothing about a colour, as one without foreground does, takes it from around it.
#pragma once

#include <cstdint>

#include "ops/math/alpha.h"
#include "ops/math/pixel_math.h"
#include "ops/math/taps.h"

namespace trtmatte {

constexpr int kGrid = 128;      // cells a side on the finest level; each level has half the side of the one before
constexpr int kGridLevels = 8;  // down to one cell
constexpr int kCellRows = 2;    // rows of the frame that a cell reads, so that high frames take no longer
constexpr float kPull = 0.03f;  // the weight of the larger cell's colours; of the cell's own pixels it is 1

// The means of a cell: alpha, alpha (1 - alpha), three of x, three of alpha x. There is no alpha^2, which is a
// denormal number, slow to compute with, where networks are nearly sure that there is nothing.
enum Moment : int { kAlpha, kMixed, kColour, kAlphaColour = kColour + 3, kMoments = kAlphaColour + 3 };

constexpr int kEstimates = 6;  // red, green, blue of the foreground, then of the background

TRTMATTE_HD constexpr int side_of_level(int level) { return kGrid >> level; }

// The memory of all levels of one image: planes of moments, and planes of colours except those of the finest level.
struct ColourPyramid {
  static constexpr int64_t kCells = (int64_t{4} * kGrid * kGrid - 1) / 3;
  static constexpr int64_t kFloats = kMoments * kCells + kEstimates * (kCells - int64_t{kGrid} * kGrid);

  float* memory;

  TRTMATTE_MEMBER static constexpr int64_t cells_before(int level) {
    int64_t cells = 0;
    for (int l = 0; l < level; ++l) cells += int64_t{side_of_level(l)} * side_of_level(l);
    return cells;
  }
  TRTMATTE_MEMBER float* moments(int level, int moment) const {
    const int64_t cells = int64_t{side_of_level(level)} * side_of_level(level);
    return memory + kMoments * cells_before(level) + moment * cells;
  }
  // Of a level above 0.
  TRTMATTE_MEMBER float* colours(int level, int estimate) const {
    const int64_t cells = int64_t{side_of_level(level)} * side_of_level(level);
    return memory + kMoments * kCells + kEstimates * (cells_before(level) - int64_t{kGrid} * kGrid) + estimate * cells;
  }
};

// Returns the row of a frame that is number `i` of the kCellRows of cell `cell`. The rows of all cells are evenly
// spaced.
TRTMATTE_HD int row_of_cell(int height, int cell, int i) {
  return static_cast<int>((int64_t{2} * (cell * kCellRows + i) + 1) * height / (int64_t{2} * kGrid * kCellRows));
}

// Returns the columns of a frame that a cell has. Cells do not overlap, unless the frame has fewer columns than the
// grid: each cell has one at least.
TRTMATTE_HD TapRange columns_of_cell(int width, int cell) {
  const int begin = static_cast<int>(int64_t{cell} * width / kGrid);
  const int end = static_cast<int>((int64_t{cell} + 1) * width / kGrid);
  return TapRange{begin, end > begin ? end : begin + 1};
}

// The equations of a cell, without those of the colours: they have the same matrix for all three channels.
struct CellSystem {
  float ff, fb, bb;  // the matrix, with kPull on its diagonal
  float inverse;     // of its determinant

  TRTMATTE_MEMBER CellSystem(float alpha, float mixed)
      : ff(alpha - mixed + kPull), fb(mixed), bb(1.0f - alpha - mixed + kPull) {
    inverse = 1.0f / (ff * bb - fb * fb);
  }
  // Solves one channel; `foreground` and `background` are those of the larger cell, then of this one.
  TRTMATTE_MEMBER void solve(float colour, float alpha_colour, float& foreground, float& background) const {
    const float f = alpha_colour + kPull * foreground, b = colour - alpha_colour + kPull * background;
    foreground = clamp01((bb * f - fb * b) * inverse);
    background = clamp01((ff * b - fb * f) * inverse);
  }
};

}  // namespace trtmatte
