// The threads and the memory of the CPU forms.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "base/parallel.h"

namespace trtmatte {

// Workers sleep between calls: whoever runs the networks has the cores to itself meanwhile. One call at a time: hold a
// Lease.
class ThreadPool final : public Parallel {
 public:
  static ThreadPool& instance();

  using Lease = std::unique_lock<std::mutex>;
  Lease lease() { return Lease(calls_); }

  int workers() const override { return threads_; }
  void* scratch(size_t bytes) override;
  void run(int items, int grain, Work work, const void* context) override;

  // The calling thread is one of them. Waits for a running call to end.
  void set_threads(int threads);
  // How often memory or threads had to be got since the start.
  int64_t allocations() const { return allocations_; }

 private:
  struct Crew;

  ThreadPool();
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  std::mutex calls_;
  int threads_;
  int64_t allocations_ = 0;
  void* memory_ = nullptr;
  size_t capacity_ = 0;
  std::unique_ptr<Crew> crew_;
};

// Processors that this process may use.
int available_processors();

}  // namespace trtmatte
