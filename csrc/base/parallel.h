// The interface through which CPU forms get workers and memory. The runtime's thread pool implements it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace trtmatte {

class Parallel {
 public:
  // Processes items [begin, end). `worker` is below workers(); no two calls have the same one at the same time.
  using Work = void (*)(const void* context, int64_t begin, int64_t end, int worker);

  virtual ~Parallel() = default;
  virtual int workers() const = 0;
  // Returns one block of 64-byte aligned memory with undefined content. It stays valid until the next call.
  virtual void* scratch(size_t bytes) = 0;
  // Splits [0, items) into pieces of `grain` items and returns when all of them are processed, or throws what one of
  // them threw.
  virtual void run(int64_t items, int64_t grain, Work work, const void* context) = 0;

  template <typename Function>
  void for_each(int64_t items, int64_t grain, const Function& function) {
    run(
        items, grain,
        [](const void* context, int64_t begin, int64_t end, int worker) {
          (*static_cast<const Function*>(context))(begin, end, worker);
        },
        &function);
  }
};

}  // namespace trtmatte
