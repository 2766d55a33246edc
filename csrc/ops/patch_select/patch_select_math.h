// Note [Exact selection]
// The k-th largest value of an image is found digit by digit (radix select) on an integer key that sorts like the
// float. Then the whole grid is passed once more in row-major order: values above it are taken, and of those equal to
// it the first few that are still wanted. Counts are integers, so the result does not depend on the order in which
// threads come by. Both forms compute keys from the same fixed-point coordinates without contracted multiply-adds, so
// they agree to the last bit.
#pragma once

#include "ops/math/axis.h"
#include "ops/math/pixel_math.h"

namespace trtmatte {

constexpr int kDigitBits = 11;
constexpr int kDigits = 3;  // 33 bits hold a 32-bit key
constexpr int kBins = 1 << kDigitBits;

// Sorts like x; NaN is the smallest, -0 equals 0.
TRTMATTE_HD uint32_t sort_key(float x) {
  if (!(x == x)) return 0;
  const uint32_t bits = to_bits(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

TRTMATTE_HD int digit_of(uint32_t key, int digit) {
  return static_cast<int>((key >> (digit * kDigitBits)) & (kBins - 1));
}

// What is known of the k-th largest key of one image.
struct Selection {
  uint32_t key;  // the digits found so far; at the end the k-th largest key itself
  int wanted;    // how many of the values with these digits are still to be taken
};

TRTMATTE_HD uint32_t digits_above(uint32_t key, int digit) {
  const int shift = (digit + 1) * kDigitBits;
  return shift >= 32 ? 0u : key >> shift;
}

// Nothing that is not above zero is taken, whatever is still wanted.
TRTMATTE_HD Selection without_zeros(Selection selection) {
  const uint32_t zero = sort_key(0.0f);
  return selection.key > zero ? selection : Selection{zero, 0};
}

constexpr int kChunk = 1024;  // patches that one block of CUDA threads looks at

// The CUDA form's memory.
struct SelectWorkspace {
  uint32_t* keys;         // [images, grid]
  uint32_t* histogram;    // [images, kBins]
  Selection* selection;   // [images]
  int32_t* taken_before;  // [images, chunks]: first how many of a chunk are above the key, then where its patches go
  int32_t* equal_before;  // [images, chunks]: first how many of a chunk equal the key, then of all before it
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
