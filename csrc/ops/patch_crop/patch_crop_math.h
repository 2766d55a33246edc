#pragma once

#include "ops/math/axis.h"

namespace trtmatte {

// The window of one patch, along one axis. It has `pad` pixels before and after the patch, for the refiner's
// convolutions, which do not pad.
struct Window {
  int step;  // pixels from one patch to the next
  int pad;
  int size;
};

TRTMATTE_HD Window half_window(int size) { return size == 8 ? Window{2, 3, 8} : Window{2, 0, 2}; }
TRTMATTE_HD Window full_window(int size) { return size == 8 ? Window{4, 2, 8} : Window{4, 0, 4}; }
TRTMATTE_HD int window_start(const Window& window, int patch) { return patch * window.step - window.pad; }

// Halves the resolution of a frame with even sides: linear sampling reads the middle of four pixels.
TRTMATTE_HD float quarter(float a, float b, float c, float d) { return (a + b + c + d) * 0.25f; }

}  // namespace trtmatte
