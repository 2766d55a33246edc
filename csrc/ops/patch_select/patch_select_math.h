// Note [Exact selection]
// The k-th largest value of an image is found digit by digit (radix select) on an integer key that sorts like the
// float. A second pass over the grid in row-major order takes all values above it and as many of the values equal to it
// as are still wanted. Counts are integers, so the result does not depend on the order of the threads. Both forms
// compute keys from the same fixed-point coordinates without contracted multiply-adds, so
// they agree to the last bit.
#pragma once

#include "ops/math/axis.h"
#include "ops/math/pixel_math.h"

namespace trtmatte {

constexpr int kDigitBits = 11;
constexpr int kDigits = 3;  // 33 bits hold a 32-bit key
constexpr int kBins = 1 << kDigitBits;

// Returns a key that sorts like x. NaN is the smallest value; -0 equals 0.
TRTMATTE_HD uint32_t sort_key(float x) {
  if (!(x == x)) return 0;
  const uint32_t bits = to_bits(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

TRTMATTE_HD int digit_of(uint32_t key, int digit) {
  return static_cast<int>((key >> (digit * kDigitBits)) & (kBins - 1));
}

// The state of the search for the k-th largest key of one image.
struct Selection {
  uint32_t key;  // the digits found so far; at the end the k-th largest key itself
  int wanted;    // the number of values with these digits that are still to be taken
};

TRTMATTE_HD uint32_t digits_above(uint32_t key, int digit) {
  const int shift = (digit + 1) * kDigitBits;
  return shift >= 32 ? 0u : key >> shift;
}

// Excludes all values that are not above zero.
TRTMATTE_HD Selection without_zeros(Selection selection) {
  const uint32_t zero = sort_key(0.0f);
  return selection.key > zero ? selection : Selection{zero, 0};
}

constexpr int kChunk = 1024;  // patches that one block of CUDA threads handles

// The layout of the CUDA form's workspace.
struct SelectWorkspace {
  uint32_t* keys;         // [images, grid]
  uint32_t* histogram;    // [images, kBins]
  Selection* selection;   // [images]
  int32_t* taken_before;  // [images, chunks]: keys of a chunk above the limit, then the position of its patches
  int32_t* equal_before;  // [images, chunks]: keys of a chunk equal to the limit, then of all chunks before it
  size_t bytes;

  SelectWorkspace(void* memory, int images, int grid) {
    auto* next = static_cast<char*>(memory);
    const auto count = static_cast<size_t>(images), chunks = static_cast<size_t>((grid + kChunk - 1) / kChunk);
    const auto take = [&](size_t size) {
      char* piece = next;
      next += (size + 255) / 256 * 256;
      return piece;
    };
    keys = reinterpret_cast<uint32_t*>(take(sizeof(uint32_t) * count * static_cast<size_t>(grid)));
    histogram = reinterpret_cast<uint32_t*>(take(sizeof(uint32_t) * count * kBins));
    selection = reinterpret_cast<Selection*>(take(sizeof(Selection) * count));
    taken_before = reinterpret_cast<int32_t*>(take(sizeof(int32_t) * count * chunks));
    equal_before = reinterpret_cast<int32_t*>(take(sizeof(int32_t) * count * chunks));
    bytes = static_cast<size_t>(next - static_cast<char*>(memory));
  }
};

}  // namespace trtmatte
