// Makes one operation of a process fail: a file operation below a folder (files.cpp), or an allocation of trtmatte's
// core (allocations.cpp).
//
// The library is preloaded. The process chooses the operation by its number (faults_begin) and asks how many there were
// (faults_end). Only symbols that other libraries look up pass here: what glibc calls within itself does not.

#pragma once

#include <atomic>

namespace faults {

enum Mode { kOff, kFiles, kAllocations };

extern std::atomic<int> mode;

// In place of an error: half of the bytes are written.
constexpr int kShort = -1;

// The error that the chosen operation has.
int error_number();

// The folder whose files are counted.
const char* folder();

// Count the operation that begins now. True if it is to fail. With `later`, also if it comes after the chosen one.
bool fails(const char* what, bool later = true);

// Forget where the core is, since it may have been loaded meanwhile.
void find_core();

}  // namespace faults
