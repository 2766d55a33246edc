// Emulates the part of CUDA that the kernels of csrc/ops use, on one thread of the CPU, to check their results.
//
// It checks indices, strides, tails, sizes of grids and the steps of a selection without a GPU. It cannot check speed,
// races or memory access. Each thread of a block is a coroutine; barriers and shuffles switch between them. Blocks run
// one after the other, so that `__shared__` may be `static`.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(threads)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned of_x = 1, unsigned of_y = 1, unsigned of_z = 1) : x(of_x), y(of_y), z(of_z) {}
};

struct uint2 {
  unsigned x, y;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return uint2{x, y}; }
struct uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

constexpr size_t kStack = 64 << 10;

struct Fiber {
  ucontext_t context;  // enters the coroutine; later switches are jumps, which need no system call
  jmp_buf resume;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool entered = false;
  bool done = false;
};

struct Barrier {
  int arrived = 0;
  uint64_t generation = 0;
};

struct Block {
  std::vector<Fiber> fibers{1024};
  ucontext_t scheduler;
  jmp_buf back;
  Barrier all;
  Barrier warps[32];
  int votes[2] = {};
  uint64_t vote_round = 0;
  unsigned lanes[2][1024];
  int current = 0;
  void (*body)(const void*) = nullptr;
  const void* argument = nullptr;
};

inline Block& block() {
  static Block one;
  return one;
}

inline Fiber& current() { return block().fibers[static_cast<size_t>(block().current)]; }

inline void yield() {
  if (_setjmp(current().resume) == 0) _longjmp(block().back, 1);
}

// In csrc/ops only blocks of 256 and 1024 threads use barriers; the others run without coroutines.
inline bool has_barriers(unsigned threads) { return threads == 256 || threads == 1024; }

inline void wait_at(Barrier& barrier, int threads) {
  if (!has_barriers(blockDim.x)) abort();
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  for (const uint64_t mine = barrier.generation; barrier.generation == mine;) yield();
}

inline void start() {
  Block& here = block();
  here.body(here.argument);
  current().done = true;
  _longjmp(here.back, 1);
}

// Runs the current coroutine until it yields or ends.
inline void resume() {
  Block& here = block();
  if (_setjmp(here.back) != 0) return;
  Fiber& fiber = current();
  if (fiber.entered) _longjmp(fiber.resume, 1);
  fiber.entered = true;
  swapcontext(&here.scheduler, &fiber.context);
}

template <typename Body>
void run_block(const Body& body) {
  Block& here = block();
  const int threads = static_cast<int>(blockDim.x);
  here.body = [](const void* of) { (*static_cast<const Body*>(of))(); };
  here.argument = &body;
  here.all = Barrier{};
  for (Barrier& warp : here.warps) warp = Barrier{};
  for (int i = 0; i < threads; ++i) {
    Fiber& fiber = here.fibers[static_cast<size_t>(i)];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    fiber.entered = fiber.done = false;
    makecontext(&fiber.context, start, 0);
  }
  for (int left = threads; left > 0;) {
    for (int i = 0; i < threads; ++i) {
      Fiber& fiber = here.fibers[static_cast<size_t>(i)];
      if (fiber.done) continue;
      here.current = i;
      threadIdx = dim3(static_cast<unsigned>(i));
      resume();
      left -= fiber.done;
    }
  }
}

template <typename Body>
void run_plainly(const Body& body) {
  for (unsigned i = 0; i < blockDim.x; ++i) {
    threadIdx = dim3(i);
    body();
  }
}

template <typename Kernel>
void run_grid(dim3 grid, dim3 threads, const Kernel& kernel) {
  gridDim = grid;
  blockDim = threads;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        has_barriers(blockDim.x) ? run_block(kernel) : run_plainly(kernel);
      }
    }
  }
}

// What every device since compute capability 3.0 allows.
inline bool can_be_launched(dim3 grid, dim3 threads) {
  const bool has_threads = grid.x > 0 && grid.y > 0 && grid.z > 0 && threads.x > 0 && threads.y > 0 && threads.z > 0;
  return has_threads && grid.x < 1u << 31 && grid.y < 1 << 16 && grid.z < 1 << 16 &&
         uint64_t{threads.x} * threads.y * threads.z <= 1024;
}

template <typename Kernel>
auto launch(Kernel kernel, dim3 grid, dim3 threads, size_t, cudaStream_t stream) {
  return [=](auto... arguments) {
    if (!can_be_launched(grid, threads)) {
      last_error() = cudaErrorInvalidConfiguration;
      return;
    }
    submit(stream, [=] { run_grid(grid, threads, [&] { kernel(arguments...); }); });
  };
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait_at(emulated::block().all, static_cast<int>(blockDim.x)); }

inline int __syncthreads_count(bool vote) {
  emulated::Block& here = emulated::block();
  __syncthreads();
  here.votes[0] = 0;
  __syncthreads();
  here.votes[0] += vote;
  __syncthreads();
  return here.votes[0];
}

// All lanes of the warp take part: the mask is always 0xffffffff.
inline int __shfl_up_sync(unsigned, int value, int delta) {
  emulated::Block& here = emulated::block();
  const int thread = here.current, warp = thread / 32, lane = thread % 32;
  here.lanes[0][thread] = static_cast<unsigned>(value);
  emulated::wait_at(here.warps[warp], 32);
  const int result = lane >= delta ? static_cast<int>(here.lanes[0][thread - delta]) : value;
  emulated::wait_at(here.warps[warp], 32);
  return result;
}

// Four of the eight bytes of low and high, by their numbers in the hexadecimal digits of `chosen`.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned chosen) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= (bytes >> (chosen >> (4 * i) & 7) * 8 & 0xff) << (8 * i);
  return result;
}

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }

template <typename T>
T __ldg(const T* from) {
  return *from;
}

template <typename T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}

template <typename T>
T atomicMax(T* to, T value) {
  const T before = *to;
  if (value > before) *to = value;
  return before;
}
