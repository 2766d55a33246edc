#include "runtime/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "base/errors.h"

namespace trtmatte {

namespace {

constexpr std::align_val_t kAlignment{64};

struct Job {
  int64_t items = 0;
  int64_t grain = 1;
  Parallel::Work work = nullptr;
  const void* context = nullptr;
};

}  // namespace

struct ThreadPool::Crew {
  std::mutex mutex;
  std::condition_variable start, finish;
  Job job;
  uint64_t round = 0;  // a change wakes the workers
  int busy = 0;
  bool leaving = false;
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::vector<std::thread> threads;

  explicit Crew(int helpers) {
    threads.reserve(static_cast<size_t>(helpers));
    try {
      for (int i = 0; i < helpers; ++i) threads.emplace_back([this, i] { help(i + 1); });
    } catch (...) {
      dismiss();  // join the threads that did start before the error leaves
      throw;
    }
  }

  ~Crew() { dismiss(); }

  void dismiss() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      leaving = true;
    }
    start.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  // Keeps what the work throws for the caller: it must not leave a thread, nor the caller before all have finished.
  void take_pieces(const Job& from, int worker) noexcept {
    try {
      for (int64_t begin; (begin = next.fetch_add(from.grain)) < from.items;) {
        from.work(from.context, begin, std::min(begin + from.grain, from.items), worker);
      }
    } catch (...) {
      next = from.items;
      std::lock_guard<std::mutex> lock(mutex);
      failure = std::current_exception();
    }
  }

  void help(int worker) {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      start.wait(lock, [&] { return leaving || round != seen; });
      if (leaving) return;
      seen = round;
      const Job mine = job;
      lock.unlock();
      take_pieces(mine, worker);
      lock.lock();
      if (--busy == 0) finish.notify_one();
    }
  }

  void run(const Job& next_job) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      job = next_job;
      next = 0;
      busy = static_cast<int>(threads.size());
      ++round;
    }
    start.notify_all();
    take_pieces(next_job, 0);
    std::unique_lock<std::mutex> lock(mutex);
    finish.wait(lock, [&] { return busy == 0; });
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  }
};

int available_processors() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Never destroyed, since its threads may outlive the destructors of statics.
ThreadPool& ThreadPool::instance() {
  static ThreadPool* pool = new ThreadPool;
  return *pool;
}

ThreadPool::ThreadPool() : threads_(available_processors()) {
#if defined(__unix__) || defined(__APPLE__)
  if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0) throw std::bad_alloc();
#endif
}

// Only the forking thread lives on in a child process. The child drops the crew and starts its own when it needs one.
void ThreadPool::before_fork() { instance().calls_.lock(); }
void ThreadPool::after_fork_in_parent() { instance().calls_.unlock(); }
void ThreadPool::after_fork_in_child() {
  static_cast<void>(instance().crew_.release());
  instance().calls_.unlock();
}

void* ThreadPool::scratch(size_t bytes) {
  if (bytes > capacity_) {
    ::operator delete(memory_, kAlignment);
    memory_ = nullptr;
    capacity_ = 0;
    try {
      memory_ = ::operator new(bytes, kAlignment);
    } catch (const std::bad_alloc&) {
      throw MemoryError("an op needs " + std::to_string(bytes) +
                        " bytes of working memory, which cannot be had: give smaller pictures, or fewer at once");
    }
    capacity_ = bytes;
    ++allocations_;
  }
  return memory_;
}

void ThreadPool::run(int64_t items, int64_t grain, Work work, const void* context) {
  if (threads_ == 1 || items <= grain) {
    if (items > 0) work(context, 0, items, 0);
    return;
  }
  if (!crew_) {
    try {
      crew_ = std::make_unique<Crew>(threads_ - 1);
    } catch (const std::system_error& error) {
      throw BackendError("cannot start " + std::to_string(threads_ - 1) + " threads for the ops: " + error.what() +
                         ". Allow this process more threads, or use fewer: trtmatte.set_num_threads(1)");
    }
    ++allocations_;
  }
  crew_->run(Job{items, grain, work, context});
}

void ThreadPool::set_threads(int threads) {
  const Lease lease = this->lease();
  if (threads == threads_) return;
  crew_.reset();
  threads_ = threads;
}

}  // namespace trtmatte
