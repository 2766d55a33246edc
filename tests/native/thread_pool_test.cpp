// Tests the thread pool under ThreadSanitizer (tests/native/sanitize.sh): several callers at once, while the number of
// threads changes. Exits with 0 if every item of every call was processed exactly once.
#include "runtime/thread_pool.h"

#include <atomic>
#include <cstdio>
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
  pool.for_each(kItems, grain, [&](int begin, int end, int worker) {
    for (int i = begin; i < end; ++i) {
      ++visits[static_cast<size_t>(i)];
      sums[worker] += i;
    }
  });
  const bool once = visits == std::vector<int>(kItems, 1);
  return once && std::accumulate(sums, sums + workers, 0) == kItems * (kItems - 1) / 2;
}

}  // namespace

int main() {
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
