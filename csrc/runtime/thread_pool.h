// The thread pool: threads and memory for the CPU forms.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "base/parallel.h"

namespace trtmatte {

// Workers sleep between calls and leave the cores to the inference engine. Hold a Lease during a call: the pool serves
// one call at a time.
class ThreadPool final : public Parallel {
 public:
  static ThreadPool& instance();

  using Lease = std::unique_lock<std::mutex>;
  Lease lease() { return Lease(calls_); }

  int workers() const override { return threads_; }
  void* scratch(size_t bytes) override;
  void run(int64_t items, int64_t grain, Work work, const void* context) override;

  // Sets the number of threads, including the calling one. Waits until a running call ends.
  void set_threads(int threads);
  // Counts how often the pool allocated memory or started threads.
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

// Returns the number of processors that this process may use.
int available_processors();

}  // namespace trtmatte
