// Tables that move packed bytes between memory and registers, for RGB and for BGR.
#pragma once

#include <cstdint>

namespace trtmatte::TRTMATTE_SIMD {

// How packed bytes lie in a register's lane of sixteen, which holds four pixels.
struct Order {
  alignas(16) int8_t unpack[3][16];  // bytes of a channel, as four whole numbers
  alignas(16) int8_t pack3[16];      // of four whole numbers 0x00BBGGRR the bytes that are stored
  alignas(16) int8_t pack4[16];      // of 0xAABBGGRR
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
