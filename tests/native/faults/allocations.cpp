#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include <cstdint>
#include <new>

#include "faults.h"

extern "C" void* __libc_malloc(size_t);
extern "C" void* __libc_memalign(size_t, size_t);

namespace {

uintptr_t core_begin = 0, core_end = 0;

int find_in(dl_phdr_info* info, size_t, void*) {
  if (strstr(info->dlpi_name, "/trtmatte/_core.") == nullptr) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr) & part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD) continue;
    const uintptr_t begin = info->dlpi_addr + part.p_vaddr;
    if (core_begin == 0 || begin < core_begin) core_begin = begin;
    if (begin + part.p_memsz > core_end) core_end = begin + part.p_memsz;
  }
  return 1;
}

bool refuses_memory(void* caller, const char* what) {
  const auto place = reinterpret_cast<uintptr_t>(caller);
  return faults::mode == faults::kAllocations && place >= core_begin && place < core_end && faults::fails(what);
}

void* new_memory(void* caller, size_t size, size_t alignment) {
  void* memory = nullptr;
  if (!refuses_memory(caller, "operator new")) {
    memory = alignment == 0 ? __libc_malloc(size == 0 ? 1 : size) : __libc_memalign(alignment, size);
  }
  return memory;
}

}  // namespace

void faults::find_core() {
  core_begin = core_end = 0;
  dl_iterate_phdr(find_in, nullptr);
}

#define CALLER __builtin_return_address(0)

extern "C" {

void* malloc(size_t size) {
  if (refuses_memory(CALLER, "malloc")) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_malloc(size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  return refuses_memory(CALLER, "aligned_alloc") ? nullptr : __libc_memalign(alignment, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) {
  if (refuses_memory(CALLER, "posix_memalign")) return ENOMEM;
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}

}  // extern "C"

#define NEW(...)                                          \
  {                                                       \
    void* memory = new_memory(CALLER, size, __VA_ARGS__); \
    if (memory == nullptr) throw std::bad_alloc();        \
    return memory;                                        \
  }
void* operator new(size_t size) NEW(0) void* operator new[](size_t size)
    NEW(0) void* operator new(size_t size, std::align_val_t alignment)
        NEW(static_cast<size_t>(alignment)) void* operator new[](size_t size, std::align_val_t alignment)
            NEW(static_cast<size_t>(alignment)) void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return new_memory(CALLER, size, 0);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return new_memory(CALLER, size, 0); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { free(memory); }
