#include "ops/cuda/pixels.cuh"
#include "ops/patch_select/patch_select.h"
#include "ops/patch_select/patch_select_math.h"

// Implements Note [Exact selection] of patch_select_math.h with one kernel a step; nothing is read back to the host.

namespace trtmatte {

namespace {

constexpr int kScanThreads = 1024;
constexpr int kWarps = kChunk / 32;

struct Form {
  PatchSelect op;
  SelectWorkspace memory;
  Axis rows;
  Axis columns;
  int grid;
  int chunks;
};

__global__ void __launch_bounds__(kThreads) sample_keys(Form form) {
  const int64_t item = thread_number();
  if (item >= static_cast<int64_t>(form.op.err.size[0]) * form.grid) return;
  const int cell = static_cast<int>(item % form.grid), n = static_cast<int>(item / form.grid);
  const Tap row = tap_at(form.rows, cell / form.op.columns), column = tap_at(form.columns, cell % form.op.columns);
  form.memory.keys[item] = sort_key(sample(form.op.err, n, 0, row, column));
}

__global__ void start_selection(Form form) {
  const int64_t n = thread_number();
  if (n >= form.op.err.size[0]) return;
  const bool sampling = form.op.mode == SelectMode::kSampling;
  form.memory.selection[n] = sampling ? Selection{0, form.op.k} : Selection{sort_key(form.op.threshold), 0};
}

// Counts one digit of the keys that share the digits found so far. Each image has one row of blocks.
__global__ void __launch_bounds__(kScanThreads) count_digit(Form form, int digit, int first_image) {
  __shared__ uint32_t counts[kBins];
  const int n = first_image + static_cast<int>(blockIdx.y);
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kScanThreads) counts[bin] = 0;
  __syncthreads();
  const uint32_t known = digits_above(form.memory.selection[n].key, digit);
  const uint32_t* keys = form.memory.keys + static_cast<int64_t>(n) * form.grid;
  uint32_t* histogram = form.memory.histogram + static_cast<int64_t>(n) * kBins;
  const int stride = static_cast<int>(gridDim.x) * kScanThreads;
  for (int i = static_cast<int>(thread_number()); i < form.grid; i += stride) {
    if (digits_above(keys[i], digit) == known) atomicAdd(counts + digit_of(keys[i], digit), 1u);
  }
  __syncthreads();
  for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kScanThreads) {
    if (counts[bin]) atomicAdd(histogram + bin, counts[bin]);
  }
}

// Returns the sum of `value` over the threads before this one, and in `total` the sum over all. Every thread of the
// block must call it.
__device__ int sum_before(int value, int* total) {
  __shared__ int sums[32];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  int sum = value;
  for (int step = 1; step < 32; step *= 2) {
    const int below = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += below;
  }
  __syncthreads();  // wait until all threads have read the sums of the previous call
  if (lane == 31) sums[warp] = sum;
  __syncthreads();
  if (warp == 0) {
    int all = lane < kWarps ? sums[lane] : 0;
    for (int step = 1; step < 32; step *= 2) {
      const int below = __shfl_up_sync(0xffffffffu, all, step);
      if (lane >= step) all += below;
    }
    sums[lane] = all;
  }
  __syncthreads();
  *total = sums[31];
  return sum - value + (warp ? sums[warp - 1] : 0);
}

// Finds the digit and clears the histogram for the next one. Each image has one block; each thread has two bins, from
// the highest down.
__global__ void __launch_bounds__(kScanThreads) narrow_selection(Form form, int digit) {
  static_assert(kBins == 2 * kScanThreads, "two bins a thread");
  const int n = static_cast<int>(blockIdx.x), bin = kBins - 2 - 2 * static_cast<int>(threadIdx.x);
  uint32_t* histogram = form.memory.histogram + static_cast<int64_t>(n) * kBins + bin;
  const int low = static_cast<int>(histogram[0]), high = static_cast<int>(histogram[1]);
  histogram[0] = histogram[1] = 0;
  Selection selection = form.memory.selection[n];
  int total;
  const int above = sum_before(high + low, &total);
  if (selection.wanted <= above || selection.wanted > above + high + low) return;  // the bin belongs to another thread
  const bool in_high = selection.wanted <= above + high;
  selection.wanted -= in_high ? above : above + high;
  selection.key |= static_cast<uint32_t>(bin + in_high) << (digit * kDigitBits);
  if (digit == 0 && form.op.prevent_oversampling) selection = without_zeros(selection);
  form.memory.selection[n] = selection;
}

__global__ void __launch_bounds__(kChunk) count_chunk(Form form, int first_image) {
  const int n = first_image + static_cast<int>(blockIdx.y), cell = static_cast<int>(thread_number());
  const uint32_t limit = form.memory.selection[n].key;
  const bool exists = cell < form.grid;
  const uint32_t key = exists ? form.memory.keys[static_cast<int64_t>(n) * form.grid + cell] : 0;
  const int above = __syncthreads_count(exists && key > limit);
  const int equal = __syncthreads_count(exists && key == limit);
  if (threadIdx.x != 0) return;
  const int64_t chunk = static_cast<int64_t>(n) * form.chunks + blockIdx.x;
  form.memory.taken_before[chunk] = above;
  form.memory.equal_before[chunk] = equal;
}

__device__ __forceinline__ int bounded_by(int value, int most) { return value < 0 ? 0 : value < most ? value : most; }

// Turns the counts of the chunks into positions, image after image, in a single block.
__global__ void __launch_bounds__(kScanThreads) place_chunks(Form form) {
  int taken = 0;  // patches taken by all chunks so far
  for (int n = 0; n < form.op.err.size[0]; ++n) {
    const int wanted = form.memory.selection[n].wanted;
    int equal = 0;  // equal keys in this image so far
    for (int first = 0; first < form.chunks; first += kScanThreads) {
      const int number = first + static_cast<int>(threadIdx.x);
      const bool exists = number < form.chunks;
      const int64_t chunk = static_cast<int64_t>(n) * form.chunks + number;
      const int own_above = exists ? form.memory.taken_before[chunk] : 0;
      const int own_equal = exists ? form.memory.equal_before[chunk] : 0;
      int equal_here, taken_here;
      const int equal_first = equal + sum_before(own_equal, &equal_here);
      const int own = own_above + bounded_by(wanted - equal_first, own_equal);
      const int taken_first = taken + sum_before(own, &taken_here);
      if (exists) {
        form.memory.taken_before[chunk] = taken_first;
        form.memory.equal_before[chunk] = equal_first;
      }
      equal += equal_here;
      taken += taken_here;
    }
  }
  if (threadIdx.x == 0) *static_cast<int32_t*>(form.op.count.data) = taken;
}

__global__ void __launch_bounds__(kChunk) write_indices(Form form, int first_image) {
  const int n = first_image + static_cast<int>(blockIdx.y), cell = static_cast<int>(thread_number());
  const Selection selection = form.memory.selection[n];
  const int64_t chunk = static_cast<int64_t>(n) * form.chunks + blockIdx.x;
  const bool exists = cell < form.grid;
  const uint32_t key = exists ? form.memory.keys[static_cast<int64_t>(n) * form.grid + cell] : 0;
  const bool equal = exists && key == selection.key;
  int total;
  const int equal_before = form.memory.equal_before[chunk] + sum_before(equal, &total);
  const bool taken = exists && (key > selection.key || (equal && equal_before < selection.wanted));
  const int place = form.memory.taken_before[chunk] + sum_before(taken, &total);
  if (!exists) return;
  if (form.op.ref) {
    static_cast<float*>(form.op.ref.data)[static_cast<int64_t>(n) * form.grid + cell] = taken ? 1.0f : 0.0f;
  }
  if (taken && place < form.op.indices.size[2]) {
    int32_t* index = static_cast<int32_t*>(form.op.indices.data) + 3 * static_cast<int64_t>(place);
    index[0] = n;
    index[1] = cell / form.op.columns;
    index[2] = cell % form.op.columns;
  }
}

}  // namespace

void patch_select(const PatchSelect& op, void* workspace, CudaStream cuda_stream) {
  const int images = op.err.size[0], grid = grid_of(op), chunks = (grid + kChunk - 1) / kChunk;
  const Form form{op,
                  SelectWorkspace(workspace, images, grid),
                  make_axis(op.err.size[2], op.rows),
                  make_axis(op.err.size[3], op.columns),
                  grid,
                  chunks};
  const cudaStream_t on = native(cuda_stream);
  // Calls launch(grid, first image): a row of blocks for each image.
  const auto per_image = [images, chunks](const auto& launch) {
    in_pieces(images, [&](int first_image, int count) {
      launch(dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(count)), first_image);
    });
  };
  const auto clear = [on](void* memory, int value, size_t bytes) {
    cuda_check(cudaMemsetAsync(memory, value, bytes, on), "PatchSelect: clearing its memory");
  };
  clear(op.indices.data, 0xff, sizeof(int32_t) * 3 * static_cast<size_t>(op.indices.size[2]));
  clear(form.memory.histogram, 0, sizeof(uint32_t) * kBins * static_cast<size_t>(images));
  sample_keys<<<blocks_for(static_cast<int64_t>(images) * grid), kThreads, 0, on>>>(form);
  check_launch("PatchSelect's sampling");
  start_selection<<<blocks_for(images), kThreads, 0, on>>>(form);
  check_launch("PatchSelect's start");
  if (op.mode == SelectMode::kSampling) {
    for (int digit = kDigits - 1; digit >= 0; --digit) {
      per_image([&](dim3 blocks, int first) { count_digit<<<blocks, kScanThreads, 0, on>>>(form, digit, first); });
      check_launch("PatchSelect's counting");
      narrow_selection<<<static_cast<unsigned>(images), kScanThreads, 0, on>>>(form, digit);
      check_launch("PatchSelect's narrowing");
    }
  }
  per_image([&](dim3 blocks, int first) { count_chunk<<<blocks, kChunk, 0, on>>>(form, first); });
  check_launch("PatchSelect's chunks");
  place_chunks<<<1, kScanThreads, 0, on>>>(form);
  check_launch("PatchSelect's places");
  per_image([&](dim3 blocks, int first) { write_indices<<<blocks, kChunk, 0, on>>>(form, first); });
  check_launch("PatchSelect's indices");
}

}  // namespace trtmatte
