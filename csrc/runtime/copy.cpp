#include "runtime/copy.h"

#include <algorithm>
#include <cstring>

namespace trtmatte {
namespace {

constexpr int64_t kPiece = 64 << 10;  // bytes that are worth another thread
constexpr int64_t kShort = 16;        // items

struct Axis {
  int64_t size, to, from;  // steps in bytes
};

bool is_shorter(const Axis& a, const Axis& b) { return a.size < b.size; }

// The axes from the outermost to the innermost. Neighbours that both arrays go through in one step are one axis.
std::vector<Axis> joined_axes(const Copy& copy) {
  std::vector<Axis> axes;
  for (size_t i = 0; i < copy.shape.size(); ++i) {
    const Axis axis{copy.shape[i], copy.to_strides[i], copy.from_strides[i]};
    if (axis.size == 1) continue;
    if (!axes.empty() && axes.back().to == axis.size * axis.to && axes.back().from == axis.size * axis.from) {
      axes.back() = Axis{axes.back().size * axis.size, axis.to, axis.from};
    } else {
      axes.push_back(axis);
    }
  }
  if (axes.empty()) axes.push_back(Axis{1, copy.item, copy.item});
  return axes;
}

// Splits the innermost axis, so that there is something to share among threads.
void split_innermost(std::vector<Axis>& axes, int64_t item) {
  const Axis inner = axes.back();
  int64_t parts = inner.size * item / kPiece;
  while (parts > 1 && inner.size % parts != 0) --parts;
  if (parts <= 1) return;
  const int64_t size = inner.size / parts;
  axes.back() = Axis{parts, size * inner.to, size * inner.from};
  axes.push_back(Axis{size, inner.to, inner.from});
}

template <typename Item>
void copy_items(char* to, const char* from, const Axis& axis) {
  for (int64_t i = 0; i < axis.size; ++i) {
    memcpy(to + i * axis.to, from + i * axis.from, sizeof(Item));
  }
}

void copy_line(char* to, const char* from, const Axis& axis, int64_t item) {
  if (axis.to == item && axis.from == item) {
    memcpy(to, from, static_cast<size_t>(axis.size * item));
  } else if (item == 1) {
    copy_items<uint8_t>(to, from, axis);
  } else if (item == 2) {
    copy_items<uint16_t>(to, from, axis);
  } else {
    copy_items<uint32_t>(to, from, axis);
  }
}

void copy_block(char* to, const char* from, const Axis* axes, size_t count, int64_t item) {
  if (count == 1) return copy_line(to, from, *axes, item);
  for (int64_t i = 0; i < axes->size; ++i) {
    copy_block(to + i * axes->to, from + i * axes->from, axes + 1, count - 1, item);
  }
}

}  // namespace

void run_copy(const Copy& copy, Parallel& parallel) {
  if (std::count(copy.shape.begin(), copy.shape.end(), 0) != 0) return;
  std::vector<Axis> axes = joined_axes(copy);
  if (axes.size() == 1) split_innermost(axes, copy.item);
  while (axes.size() < 3) axes.insert(axes.begin(), Axis{1, 0, 0});
  // The threads share the blocks along the second axis, of one item of the first.
  const Axis first = axes[0], second = axes[1];
  int64_t bytes = copy.item;
  for (size_t i = 2; i < axes.size(); ++i) bytes *= axes[i].size;
  const int64_t length = std::clamp<int64_t>(kPiece / bytes, 1, second.size);
  const int64_t blocks = (second.size + length - 1) / length;
  parallel.for_each(first.size * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t item = piece / blocks, start = piece % blocks * length;
      std::vector<Axis> block(axes.begin() + 1, axes.end());
      block.front().size = std::min(length, second.size - start);
      // A short innermost axis, such as the colours in another order, costs more than steps along a long one.
      if (block.back().size < kShort)
        std::swap(block.back(), *std::max_element(block.begin(), block.end(), is_shorter));
      copy_block(static_cast<char*>(copy.to) + item * first.to + start * second.to,
                 static_cast<const char*>(copy.from) + item * first.from + start * second.from, block.data(),
                 block.size(), copy.item);
    }
  });
}

}  // namespace trtmatte
