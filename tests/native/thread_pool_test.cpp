// Tests the thread pool under ThreadSanitizer (tests/native/sanitize.sh): several callers at once, while the number of
// threads changes; more items than 32 bits count; work that throws. Exits with 0 if every item of every call was
// processed exactly once.
#include "runtime/thread_pool.h"

#include <atomic>
#include <cstdio>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

using trtmatte::ThreadPool;

namespace {

constexpr int kItems = 1000, kCalls = 200, kCallers = 4;

// Each worker sums its items in its own piece of the scratch memory, like the ops do with their rows.
bool one_call(int grain) {
  ThreadPool& pool = ThreadPool::instance();
  const ThreadPool::Lease lease = pool.lease();
  const auto workers = static_cast<size_t>(pool.workers());
  auto* sums = static_cast<int*>(pool.scratch(workers * sizeof(int)));
  std::fill(sums, sums + workers, 0);
  std::vector<int> visits(kItems, 0);
  pool.for_each(kItems, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      ++visits[static_cast<size_t>(i)];
      sums[worker] += static_cast<int>(i);
    }
  });
  const bool once = visits == std::vector<int>(kItems, 1);
  return once && std::accumulate(sums, sums + workers, 0) == kItems * (kItems - 1) / 2;
}

// More items than an int or an unsigned int counts, and as many as overflow a counter that goes on by a whole grain.
bool count_items(int64_t items, int64_t grain) {
  ThreadPool& pool = ThreadPool::instance();
  const ThreadPool::Lease lease = pool.lease();
  std::atomic<int64_t> counted{0};
  pool.for_each(items, grain, [&](int64_t begin, int64_t end, int) { counted += end - begin; });
  return counted == items;
}

// What the work throws arrives at the caller, once all threads have left the call; the next call works.
bool throw_at(int64_t item) {
  bool caught = false;
  {
    ThreadPool& pool = ThreadPool::instance();
    const ThreadPool::Lease lease = pool.lease();
    try {
      pool.for_each(kItems, 1, [&](int64_t begin, int64_t, int) {
        if (begin == item) throw std::bad_alloc();
      });
    } catch (const std::bad_alloc&) {
      caught = true;
    }
  }
  return caught && one_call(3);
}

bool large_counts() {
  bool right = true;
  for (const int64_t items : {(int64_t{1} << 31) - 1, int64_t{1} << 31, int64_t{1} << 32, (int64_t{1} << 46) + 5}) {
    right = right && count_items(items, items / 100) && count_items(items, int64_t{1} << 40);
  }
  return right;
}

}  // namespace

int main() {
  ThreadPool::instance().set_threads(4);
  if (!large_counts()) return std::puts("items beyond 32 bits were lost"), 1;
  for (int64_t item = 0; item < kItems; ++item) {
    if (!throw_at(item)) return std::puts("what the work threw was lost"), 1;
  }
  std::atomic<bool> right{true}, done{false};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&right, caller] {
      for (int call = 0; call < kCalls; ++call) {
        if (!one_call(1 + (caller + call) % 17)) right = false;
      }
    });
  }
  std::thread changer([&done] {
    for (int threads = 1; !done; threads = threads % 5 + 1) ThreadPool::instance().set_threads(threads);
  });
  for (std::thread& caller : callers) caller.join();
  done = true;
  changer.join();
  std::puts(right ? "every item was processed once" : "items were lost or processed twice");
  return right ? 0 : 1;
}
