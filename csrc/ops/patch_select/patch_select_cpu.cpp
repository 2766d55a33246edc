#include <cstring>

#include "ops/patch_select/patch_select.h"
#include "ops/patch_select/patch_select_math.h"

namespace trtmatte {

namespace {

float load_error(const View& err, int n, int y, int x) {
  const int64_t at = n * err.stride[0] + y * err.stride[2] + x * err.stride[3];
  return err.dtype == DType::kFloat16 ? half_to_float(static_cast<const Half*>(err.data)[at])
                                      : static_cast<const float*>(err.data)[at];
}

// Computes the sort key of every patch of one image from its error.
void sample_keys(const PatchSelect& op, int n, uint32_t* keys, Parallel& parallel) {
  const Axis rows = make_axis(op.err.size[2], op.rows), columns = make_axis(op.err.size[3], op.columns);
  parallel.for_each(op.rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int y = static_cast<int>(begin); y < end; ++y) {
      const Tap row = tap_at(rows, y);
      for (int x = 0; x < op.columns; ++x) {
        const Tap column = tap_at(columns, x);
        const float upper = lerp(load_error(op.err, n, row.first, column.first),
                                 load_error(op.err, n, row.first, column.second), column.weight);
        const float lower = lerp(load_error(op.err, n, row.second, column.first),
                                 load_error(op.err, n, row.second, column.second), column.weight);
        keys[static_cast<int64_t>(y) * op.columns + x] = sort_key(lerp(upper, lower, row.weight));
      }
    }
  });
}

// Finds one more digit of the key. `histogram` counts this digit among the keys that share the digits above it.
Selection narrow(Selection selection, int digit, const uint32_t* histogram) {
  int bin = kBins - 1;
  while (bin > 0 && static_cast<int>(histogram[bin]) < selection.wanted) {
    selection.wanted -= static_cast<int>(histogram[bin]);
    --bin;
  }
  selection.key |= static_cast<uint32_t>(bin) << (digit * kDigitBits);
  return selection;
}

Selection kth_largest(const uint32_t* keys, int count, int k) {
  Selection selection{0, k};
  uint32_t histogram[kBins];
  for (int digit = kDigits - 1; digit >= 0; --digit) {
    memset(histogram, 0, sizeof histogram);
    const uint32_t known = digits_above(selection.key, digit);
    for (int i = 0; i < count; ++i) {
      if (digits_above(keys[i], digit) == known) ++histogram[digit_of(keys[i], digit)];
    }
    selection = narrow(selection, digit, histogram);
  }
  return selection;
}

}  // namespace

void patch_select(const PatchSelect& op, Parallel& parallel) {
  auto* indices = static_cast<int32_t*>(op.indices.data);
  auto* ref = static_cast<float*>(op.ref.data);
  const int grid = grid_of(op), capacity = op.indices.size[2];
  auto* keys = static_cast<uint32_t*>(parallel.scratch(sizeof(uint32_t) * static_cast<size_t>(grid)));
  int found = 0;
  for (int n = 0; n < op.err.size[0]; ++n) {
    sample_keys(op, n, keys, parallel);
    Selection selection{sort_key(op.threshold), 0};
    if (op.mode == SelectMode::kSampling) selection = kth_largest(keys, grid, op.k);
    if (op.mode == SelectMode::kSampling && op.prevent_oversampling) selection = without_zeros(selection);
    for (int i = 0; i < grid; ++i) {
      bool taken = keys[i] > selection.key;
      if (keys[i] == selection.key && selection.wanted > 0) {
        --selection.wanted;
        taken = true;
      }
      if (ref) ref[static_cast<int64_t>(n) * grid + i] = taken ? 1.0f : 0.0f;
      if (taken && found++ < capacity) {
        int32_t* index = indices + 3 * int64_t{found - 1};
        index[0] = n;
        index[1] = i / op.columns;
        index[2] = i % op.columns;
      }
    }
  }
  for (int64_t i = 3 * int64_t{found}; i < 3 * int64_t{capacity}; ++i) indices[i] = -1;
  *static_cast<int32_t*>(op.count.data) = found;
}

}  // namespace trtmatte
