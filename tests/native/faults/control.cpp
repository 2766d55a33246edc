#include <limits.h>
#include <stdio.h>

#include "faults.h"

namespace faults {

std::atomic<int> mode{kOff};

namespace {

std::atomic<long> count{0};
long chosen = -1;
int error = 0;
bool all_after = false;
char below_folder[PATH_MAX];
char what_failed[64];

}  // namespace

int error_number() { return error; }
const char* folder() { return below_folder; }

bool fails(const char* what, bool later) {
  const long number = count++;
  if (chosen < 0 || number < chosen || (number > chosen && !(all_after && later))) return false;
  if (number == chosen) snprintf(what_failed, sizeof what_failed, "%s", what);
  return true;
}

}  // namespace faults

extern "C" {

// From now on operation number `nth` fails with this error; if `after`, all later ones too. -1 counts alone.
void faults_begin(int mode, const char* folder, long nth, int error_number, int after) {
  using namespace faults;
  snprintf(below_folder, sizeof below_folder, "%s", folder);
  chosen = nth;
  error = error_number;
  all_after = after != 0;
  what_failed[0] = '\0';
  count = 0;
  find_core();
  faults::mode = mode;
}

// Nothing fails any more. Returns the number of operations.
long faults_end() {
  faults::mode = faults::kOff;
  return faults::count;
}

// The operation that failed; empty if none did.
const char* faults_what() { return faults::what_failed; }

}  // extern "C"
