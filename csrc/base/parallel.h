// What the CPU forms ask of their surroundings: workers and memory. The runtime's thread pool gives both.
#pragma once

#include <cstddef>

namespace trtmatte {

class Parallel {
 public:
  // Does items [begin, end); `worker` is below workers() and no other call has it at the same time.
  using Work = void (*)(const void* context, int begin, int end, int worker);

  virtual ~Parallel() = default;
  virtual int workers() const = 0;
  // One block of memory, 64-byte aligned, that stays valid until the next call of scratch(). Its content is undefined.
  virtual void* scratch(size_t bytes) = 0;
  // Cuts [0, items) into pieces of `grain` and returns when all are done.
  virtual void run(int items, int grain, Work work, const void* context) = 0;

  template <typename Function>
  void for_each(int items, int grain, const Function& function) {
    run(
        items, grain,
        [](const void* context, int begin, int end, int worker) {
          (*static_cast<const Function*>(context))(begin, end, worker);
        },
        &function);
  }
};

}  // namespace trtmatte
