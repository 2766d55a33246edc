// Counts the allocations of this program and of the library, which uses this operator new as well.
#include <cstdlib>
#include <new>

#include "host.h"

void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
