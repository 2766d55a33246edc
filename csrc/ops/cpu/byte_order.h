// Tables that move packed bytes between memory and registers, for RGB and for BGR.
#pragma once

#include <cstdint>

namespace trtmatte::TRTMATTE_SIMD {

// Byte positions for shuffles within one 16-byte lane of a register, which holds four pixels; -1 gives 0.
struct Order {
  alignas(16) int8_t unpack[3][16];  // widens the bytes of one channel to four 32-bit integers
  alignas(16) int8_t pack3[16];      // packs four integers 0x00BBGGRR to three bytes a pixel
  alignas(16) int8_t pack4[16];      // packs four integers 0xAABBGGRR to four bytes a pixel
};

constexpr Order make_order(bool bgr) {
  Order order{};
  for (int i = 0; i < 16; ++i) {
    for (int c = 0; c < 3; ++c) order.unpack[c][i] = static_cast<int8_t>(i % 4 ? -1 : i / 4 * 3 + (bgr ? 2 - c : c));
    const int channel3 = i % 3, channel4 = i % 4;
    order.pack3[i] = static_cast<int8_t>(i < 12 ? i / 3 * 4 + (bgr ? 2 - channel3 : channel3) : -1);
    order.pack4[i] = static_cast<int8_t>(i / 4 * 4 + (bgr && channel4 < 3 ? 2 - channel4 : channel4));
  }
  return order;
}

static constexpr Order kRgb = make_order(false);
static constexpr Order kBgr = make_order(true);

}  // namespace trtmatte::TRTMATTE_SIMD
