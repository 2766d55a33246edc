#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"

namespace {

using faults::error_number;
using faults::fails;
using faults::kFiles;
using faults::kShort;
using faults::mode;

constexpr int kMostDescriptors = 1 << 16;
std::atomic<bool> watched[kMostDescriptors];

template <class Function>
Function* real(const char* name, Function*) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) static auto* const real_##name = real(#name, &name)

bool below(int directory, const char* path) {
  if (mode != kFiles || path == nullptr) return false;
  char absolute[2 * PATH_MAX];
  if (path[0] == '/') {
    snprintf(absolute, sizeof absolute, "%s", path);
  } else {
    char base[PATH_MAX] = "";
    if (directory == AT_FDCWD) {
      if (getcwd(base, sizeof base) == nullptr) return false;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
      const ssize_t length = readlink(link, base, sizeof base - 1);
      base[length < 0 ? 0 : length] = '\0';
    }
    snprintf(absolute, sizeof absolute, "%s/%s", base, path);
  }
  return strncmp(absolute, faults::folder(), strlen(faults::folder())) == 0;
}

bool is_watched(int descriptor) {
  return mode == kFiles && descriptor >= 0 && descriptor < kMostDescriptors && watched[descriptor];
}

int watch(int descriptor) {
  if (descriptor >= 0 && descriptor < kMostDescriptors) watched[descriptor] = true;
  return descriptor;
}

// -1 with the error, for a call that fails as a whole. A short call is no error: it goes on.
bool refused(const char* what) {
  if (!fails(what) || error_number() == kShort) return false;
  errno = error_number();
  return true;
}

// How many bytes a call may write; -1 if it fails.
ssize_t allowed(const char* what, size_t bytes) {
  if (!fails(what)) return static_cast<ssize_t>(bytes);
  if (error_number() == kShort) return static_cast<ssize_t>(bytes > 1 ? bytes / 2 : bytes);
  errno = error_number();
  return -1;
}

mode_t permissions(int flags, va_list more) { return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0; }

}  // namespace

extern "C" {

// --- names

#define OPEN(name)                                                        \
  int name(const char* path, int flags, ...) {                            \
    REAL(name);                                                           \
    va_list more;                                                         \
    va_start(more, flags);                                                \
    const mode_t granted = permissions(flags, more);                      \
    va_end(more);                                                         \
    if (!below(AT_FDCWD, path)) return real_##name(path, flags, granted); \
    if (refused("open")) return -1;                                       \
    return watch(real_##name(path, flags, granted));                      \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                  \
  int name(int directory, const char* path, int flags, ...) {                         \
    REAL(name);                                                                       \
    va_list more;                                                                     \
    va_start(more, flags);                                                            \
    const mode_t granted = permissions(flags, more);                                  \
    va_end(more);                                                                     \
    if (!below(directory, path)) return real_##name(directory, path, flags, granted); \
    if (refused("openat")) return -1;                                                 \
    return watch(real_##name(directory, path, flags, granted));                       \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                \
  FILE* name(const char* path, const char* how) {                  \
    REAL(name);                                                    \
    if (below(AT_FDCWD, path) && refused("fopen")) return nullptr; \
    return real_##name(path, how);                                 \
  }
FOPEN(fopen)
FOPEN(fopen64)

DIR* opendir(const char* path) {
  REAL(opendir);
  if (below(AT_FDCWD, path) && refused("opendir")) return nullptr;
  return real_opendir(path);
}

#define TWO_NAMES(name)                                   \
  int name(const char* from, const char* to) {            \
    REAL(name);                                           \
    if (below(AT_FDCWD, to) && refused(#name)) return -1; \
    return real_##name(from, to);                         \
  }
TWO_NAMES(rename)
TWO_NAMES(link)
TWO_NAMES(symlink)

int renameat(int from_directory, const char* from, int directory, const char* to) {
  REAL(renameat);
  if (below(directory, to) && refused("renameat")) return -1;
  return real_renameat(from_directory, from, directory, to);
}

int mkdir(const char* path, mode_t granted) {
  REAL(mkdir);
  if (below(AT_FDCWD, path) && refused("mkdir")) return -1;
  return real_mkdir(path, granted);
}

int mkdirat(int directory, const char* path, mode_t granted) {
  REAL(mkdirat);
  if (below(directory, path) && refused("mkdirat")) return -1;
  return real_mkdirat(directory, path, granted);
}

int truncate64(const char* path, off64_t size) {
  REAL(truncate64);
  if (below(AT_FDCWD, path) && refused("truncate")) return -1;
  return real_truncate64(path, size);
}

// --- descriptors

ssize_t read(int descriptor, void* to, size_t bytes) {
  REAL(read);
  if (is_watched(descriptor) && refused("read")) return -1;
  return real_read(descriptor, to, bytes);
}

ssize_t write(int descriptor, const void* from, size_t bytes) {
  REAL(write);
  if (!is_watched(descriptor)) return real_write(descriptor, from, bytes);
  const ssize_t some = allowed("write", bytes);
  return some < 0 ? -1 : real_write(descriptor, from, some);
}

#define READ_AT(name)                                                   \
  ssize_t name(int descriptor, void* to, size_t bytes, off64_t place) { \
    REAL(name);                                                         \
    if (is_watched(descriptor) && refused(#name)) return -1;            \
    return real_##name(descriptor, to, bytes, place);                   \
  }
READ_AT(pread)
READ_AT(pread64)

#define WRITE_AT(name)                                                               \
  ssize_t name(int descriptor, const void* from, size_t bytes, off64_t place) {      \
    REAL(name);                                                                      \
    if (!is_watched(descriptor)) return real_##name(descriptor, from, bytes, place); \
    const ssize_t some = allowed(#name, bytes);                                      \
    return some < 0 ? -1 : real_##name(descriptor, from, some, place);               \
  }
WRITE_AT(pwrite)
WRITE_AT(pwrite64)

ssize_t writev(int descriptor, const iovec* parts, int number) {
  REAL(writev);
  if (is_watched(descriptor) && refused("writev")) return -1;
  return real_writev(descriptor, parts, number);
}

#define DESCRIPTOR(name)                                     \
  int name(int descriptor) {                                 \
    REAL(name);                                              \
    if (is_watched(descriptor) && refused(#name)) return -1; \
    return real_##name(descriptor);                          \
  }
DESCRIPTOR(fsync)
DESCRIPTOR(fdatasync)

// A descriptor is free even if closing it failed. No disk is so broken that each close fails.
int close(int descriptor) {
  REAL(close);
  if (!is_watched(descriptor)) return real_close(descriptor);
  watched[descriptor] = false;
  const bool failed = fails("close", false) && error_number() != kShort;
  real_close(descriptor);
  if (failed) errno = error_number();
  return failed ? -1 : 0;
}

int flock(int descriptor, int operation) {
  REAL(flock);
  if (is_watched(descriptor) && refused("flock")) return -1;
  return real_flock(descriptor, operation);
}

#define RESIZE(name)                                               \
  int name(int descriptor, off64_t size) {                         \
    REAL(name);                                                    \
    if (is_watched(descriptor) && refused("ftruncate")) return -1; \
    return real_##name(descriptor, size);                          \
  }
RESIZE(ftruncate)
RESIZE(ftruncate64)

#define MAP(name)                                                                                    \
  void* name(void* place, size_t bytes, int protection, int flags, int descriptor, off64_t offset) { \
    REAL(name);                                                                                      \
    if (is_watched(descriptor) && refused("mmap")) return MAP_FAILED;                                \
    return real_##name(place, bytes, protection, flags, descriptor, offset);                         \
  }
MAP(mmap)
MAP(mmap64)

}  // extern "C"
