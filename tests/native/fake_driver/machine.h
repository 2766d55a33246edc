// The machine behind the fake driver: streams that advance at random, events, captures, memory, and the rules of all.
//
// What is put on a stream is not done at once. Streams advance in random turns, some hardly ever, held up by nothing
// but the events that they wait for, and by the host only where it waits. So a missing event shows as wrong values.
// What is captured runs only when its graph is launched. Freed memory is overwritten, and never used again.
//
// A rule that is broken is an error to whoever breaks it, as the driver gives it, and is noted for the tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fake_driver {

// The driver's numbers of these errors (CUresult).
enum Status : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kInvalidDevice = 101,
  kInvalidContext = 201,
  kInvalidHandle = 400,
  kNotReady = 600,
  kNotSupported = 801,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureIsolation = 905,
  kCapturedEvent = 907,
  kCaptureWrongThread = 908,
  kUnknown = 999,
};

enum CaptureMode : int { kGlobal = 0, kThreadLocal = 1, kRelaxed = 2 };

enum class Place { kDevice, kPinned, kPageable };

using Work = std::function<void()>;
using Ready = std::function<bool()>;

struct Event {
  int64_t recorded = 0;
  int64_t reached = 0;
  bool captured = false;
};

struct Graph {
  std::vector<Work> nodes;
};

struct Capture {
  Graph* graph;
  CaptureMode mode;
  const void* thread;
  bool invalid = false;
};

struct Stream {
  struct Item {
    Ready ready;
    Work work;
  };
  unsigned flags = 0;
  int priority = 0;
  double weight = 1;         // how often it gets a turn
  bool never_waits = false;  // a fault that a test plants
  std::deque<Item> items;
  std::unique_ptr<Capture> capture;
};

// Memory of one kind by its first address.
class Heap {
 public:
  uintptr_t get(size_t bytes) {
    void* memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(memory, 0xCD, bytes);
    sizes_[reinterpret_cast<uintptr_t>(memory)] = bytes;
    return reinterpret_cast<uintptr_t>(memory);
  }
  bool has(uintptr_t first) const { return sizes_.count(first) != 0; }
  void add(uintptr_t first, size_t bytes) { sizes_[first] = bytes; }
  size_t remove(uintptr_t first) {
    const size_t bytes = sizes_[first];
    sizes_.erase(first);
    return bytes;
  }
  // The bytes from an address to the end of the allocation that it lies in; 0 outside of all.
  size_t bytes_from(uintptr_t address) const {
    auto next = sizes_.upper_bound(address);
    if (next == sizes_.begin()) return 0;
    --next;
    const uintptr_t end = next->first + next->second;
    return address < end ? end - address : 0;
  }
  size_t count() const { return sizes_.size(); }
  size_t bytes() const {
    return std::accumulate(sizes_.begin(), sizes_.end(), size_t{0},
                           [](size_t sum, auto& each) { return sum + each.second; });
  }

 private:
  std::map<uintptr_t, size_t> sizes_;
};

class Machine {
 public:
  static Machine& instance() {
    static Machine one;
    return one;
  }

  std::recursive_mutex mutex;
  std::map<std::string, int64_t> counts;  // calls by their names, bytes
  std::vector<std::string> broken;        // rules
  std::mt19937 random{1};
  Heap device, pinned, freed;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::set<Graph*> graphs, executables;
  Stream legacy, per_thread;  // CUDA's default streams, numbers 0 or 1, and 2

  Status fail(const std::string& rule, Status status) {
    broken.push_back(rule);
    return status;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Streams

  // The stream of a handle; null if there is none (any more).
  Stream* stream(void* handle) {
    const auto number = reinterpret_cast<uintptr_t>(handle);
    if (number <= 2) return number == 2 ? &per_thread : &legacy;
    auto* found = static_cast<Stream*>(handle);
    return streams.count(found) != 0 ? found : nullptr;
  }

  Stream* new_stream(unsigned flags, int priority) {
    const double rare[] = {1, 1e-2, 1e-4};
    auto* made = new Stream;
    made->flags = flags;
    made->priority = priority;
    made->weight = random() % 2 ? 1 : rare[random() % 3];
    streams.insert(made);
    return made;
  }

  // Puts work on a stream, or into the graph that is captured there.
  Status submit(Stream* on, const Work& work) {
    if (on == nullptr) return fail("work is put on a stream that was destroyed", kInvalidHandle);
    if (on->capture) {
      if (on->capture->invalid) return kCaptureInvalidated;
      on->capture->graph->nodes.push_back(work);
      return kSuccess;
    }
    put(on, work);
    return kSuccess;
  }

  void put(Stream* on, const Work& work, const Ready& ready = [] { return true; }) {
    on->items.push_back({ready, work});
    stir();
  }

  // Lets some of the work happen, or none: a stream that hardly gets a turn falls behind though all others are done.
  void stir() {
    for (unsigned turns = random() % 4; turns > 0; --turns) step(1);
  }

  // Lets one stream go on, or none with the weight of `idle`. Returns false if none can.
  bool step(double idle = 0) {
    std::vector<Stream*> ready{nullptr};
    std::vector<double> weights{idle};
    const auto consider = [&](Stream* each) {
      if (each->items.empty() || !each->items.front().ready()) return;
      ready.push_back(each);
      weights.push_back(each->weight);
    };
    consider(&legacy);
    consider(&per_thread);
    for (Stream* each : streams) consider(each);
    if (ready.size() == 1) return false;
    Stream* next = ready[std::discrete_distribution<size_t>(weights.begin(), weights.end())(random)];
    if (next == nullptr) return true;
    const Stream::Item item = std::move(next->items.front());
    next->items.pop_front();
    item.work();
    return true;
  }

  Status until(const Ready& reached) {
    while (!reached()) {
      if (!step()) return fail("the host waits for what never happens", kUnknown);
    }
    return kSuccess;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Captures

  static const void* this_thread() {
    static thread_local char one;
    return &one;
  }

  // Invalidates the captures that forbid such a call on this thread.
  Status forbid_in_capture(const std::string& call) {
    bool found = false;
    for (Stream* each : streams) {
      Capture* capture = each->capture.get();
      if (capture == nullptr || capture->mode == kRelaxed) continue;
      if (capture->mode == kThreadLocal && capture->thread != this_thread()) continue;
      capture->invalid = found = true;
    }
    return found ? fail(call + " during a capture", kCaptureUnsupported) : kSuccess;
  }

  Status invalidate(Stream* captured, const std::string& rule, Status status) {
    captured->capture->invalid = true;
    return fail(rule, status);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Events

  Status record(Stream* on, Event* event) {
    if (on == nullptr) return fail("an event is recorded on a stream that was destroyed", kInvalidHandle);
    if (events.count(event) == 0) return fail("an event is recorded that was destroyed", kInvalidHandle);
    event->captured = on->capture != nullptr;
    if (event->captured) return on->capture->invalid ? kCaptureInvalidated : kSuccess;
    const int64_t mark = ++event->recorded;
    put(on, [=] { event->reached = std::max(event->reached, mark); });
    return kSuccess;
  }

  // Destroyed events stay in memory, since streams may still wait for them.
  Status wait(Stream* on, Event* event) {
    if (on == nullptr) return fail("a stream waits that was destroyed", kInvalidHandle);
    if (events.count(event) == 0) return fail("a stream waits for an event that was destroyed", kInvalidHandle);
    if (on->capture) {
      if (event->captured) return kSuccess;
      return invalidate(on, "a capture waits for an event of outside", kCaptureIsolation);
    }
    if (event->captured) return fail("a stream waits for an event of a capture", kCaptureIsolation);
    const int64_t wanted = on->never_waits ? 0 : event->recorded;
    put(on, [] {}, [=] { return event->reached >= wanted; });
    return kSuccess;
  }

  Status synchronize(Stream* with) {
    if (with == nullptr) return fail("the host waits for a stream that was destroyed", kInvalidHandle);
    if (with->capture) return invalidate(with, "the host waits for a stream during its capture", kCaptureUnsupported);
    return until([=] { return with->items.empty(); });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Memory

  // Where bytes lie. Notes those that were freed, and those that only begin in an allocation.
  Place place(uintptr_t first, size_t bytes, const std::string& what) {
    for (const auto& [heap, kind] : {std::pair{&device, Place::kDevice}, std::pair{&pinned, Place::kPinned}}) {
      const size_t left = heap->bytes_from(first);
      if (left == 0) continue;
      if (left < bytes) broken.push_back(what + " goes beyond the end of an allocation");
      return kind;
    }
    if (freed.bytes_from(first) != 0) broken.push_back(what + " is memory that was freed");
    return Place::kPageable;
  }

  Status copy(uintptr_t to, uintptr_t from, size_t bytes, Stream* on) {
    const Place target = place(to, bytes, "the target of a copy"), source = place(from, bytes, "the source of a copy");
    if (target == Place::kDevice && source != Place::kDevice) count_copy("copies in", "bytes in", bytes);
    if (target != Place::kDevice && source == Place::kDevice) count_copy("copies out", "bytes out", bytes);
    if (target != Place::kDevice && source != Place::kDevice) broken.push_back("a copy from the host to the host");
    const auto move = [=] { memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes); };
    if (target != Place::kPageable && source != Place::kPageable) return submit(on, move);
    ++counts["pageable copies"];
    if (on != nullptr && on->capture) {
      return invalidate(on, "memory that is not pinned is copied during a capture", kCaptureUnsupported);
    }
    if (source == Place::kPageable) {  // the driver has read it when the call returns
      const auto* bytes_of = reinterpret_cast<const char*>(from);
      return submit(on, [to, held = std::string(bytes_of, bytes)] {
        memcpy(reinterpret_cast<void*>(to), held.data(), held.size());
      });
    }
    const Status status = submit(on, move);
    return status == kSuccess ? until([=] { return on->items.empty(); }) : status;
  }

  Status fill(uintptr_t to, size_t bytes, Stream* on, const Work& work) {
    if (place(to, bytes, "the target of a fill") != Place::kDevice) broken.push_back("a fill of the host's memory");
    return submit(on, work);
  }

  Status allocate_on(Stream* on, size_t bytes, uintptr_t* memory) {
    if (on == nullptr) return fail("memory is allocated on a stream that was destroyed", kInvalidHandle);
    if (on->capture) return invalidate(on, "memory is allocated on a stream during its capture", kCaptureUnsupported);
    ++counts["allocations"];
    *memory = device.get(bytes);
    return kSuccess;
  }

  // No later work may use the memory; what was put on this stream before still does.
  Status free_on(Stream* on, uintptr_t memory) {
    if (on == nullptr) return fail("memory is freed on a stream that was destroyed", kInvalidHandle);
    if (!device.has(memory)) return fail("memory is freed that is not allocated", kInvalidValue);
    if (on->capture) return invalidate(on, "memory is freed on a stream during its capture", kInvalidValue);
    const size_t bytes = bury(&device, memory);
    put(on, [=] { overwrite(memory, bytes); });
    return kSuccess;
  }

  Status free_now(Heap* heap, uintptr_t memory) {
    if (!heap->has(memory)) return fail("memory is freed that is not allocated", kInvalidValue);
    while (step()) {  // such a call waits for the device
    }
    overwrite(memory, bury(heap, memory));
    return kSuccess;
  }

 private:
  void count_copy(const char* copies, const char* bytes_moved, size_t bytes) {
    ++counts[copies];
    counts[bytes_moved] += static_cast<int64_t>(bytes);
  }

  // Freed memory is never given to anybody again, so that its use is an error of the test's and no crash.
  size_t bury(Heap* heap, uintptr_t memory) {
    const size_t bytes = heap->remove(memory);
    freed.add(memory, bytes);
    return bytes;
  }

  static void overwrite(uintptr_t memory, size_t bytes) { memset(reinterpret_cast<void*>(memory), 0xDD, bytes); }
};

}  // namespace fake_driver
