// A libcuda.so.1 without a device: the driver's functions that cuda.core and the emulated ops call, on a machine that
// keeps its rules (machine.h). It shows order, life times and what a capture permits; not speed, and no races within
// kernels. The runtimes of networks do not run on it.
//
//     LD_LIBRARY_PATH=FOLDER_OF_LIBCUDA python -m pytest tests/runtime/session/test_cuda_emulated.py
//
// Functions that begin with fake_driver_ are for the emulated ops and the tests.
#include <dlfcn.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "machine.h"

using fake_driver::Event;
using fake_driver::Graph;
using fake_driver::Machine;
using fake_driver::Status;
using fake_driver::Stream;

namespace {

constexpr size_t kMemory = size_t{80} << 30;

char primary_context[64];
int primary_references = 0;
thread_local std::vector<void*> contexts;

// The machine, locked for one call of a function.
class Locked {
 public:
  explicit Locked(const char* function) : lock_(Machine::instance().mutex) { ++machine().counts[function]; }
  Machine* operator->() const { return &machine(); }

 private:
  static Machine& machine() { return Machine::instance(); }
  std::lock_guard<std::recursive_mutex> lock_;
};

Status needs_context(const char* function) {
  if (!contexts.empty()) return fake_driver::kSuccess;
  return Machine::instance().fail(std::string(function) + " without a current context", fake_driver::kInvalidContext);
}

// The default stream is that of the current context.
Status needs_context_for(void* stream, const char* function) {
  return Machine::instance().stream(stream) == &Machine::instance().legacy ? needs_context(function)
                                                                           : fake_driver::kSuccess;
}

Status needs_stream(void* handle, const char* function) {
  if (Machine::instance().stream(handle) != nullptr) return fake_driver::kSuccess;
  return Machine::instance().fail(std::string(function) + " of a stream that was destroyed",
                                  fake_driver::kInvalidHandle);
}

template <typename T>
Status give(T* to, T value) {
  if (to != nullptr) *to = value;
  return fake_driver::kSuccess;
}

uintptr_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }
void* pointer(uintptr_t address) { return reinterpret_cast<void*>(address); }

template <typename T>
fake_driver::Work filling(uintptr_t to, T value, size_t count) {
  return [=] { std::fill_n(static_cast<T*>(pointer(to)), count, value); };
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))
#define RETURN_IF_FAILED(expression) \
  if (const Status failed = (expression); failed != fake_driver::kSuccess) return failed

// ---------------------------------------------------------------------------------------------------------------------
// The device, and contexts

EXPORT Status cuInit(unsigned) { return fake_driver::kSuccess; }
EXPORT Status cuDriverGetVersion(int* version) { return give(version, 13000); }
EXPORT Status cuDeviceGet(int* device, int number) {
  return number == 0 ? give(device, 0) : fake_driver::kInvalidDevice;
}
EXPORT Status cuDeviceGetCount(int* count) { return give(count, 1); }
EXPORT Status cuDeviceGetName(char* name, int length, int) {
  snprintf(name, static_cast<size_t>(length), "Fake GPU");
  return fake_driver::kSuccess;
}
EXPORT Status cuDeviceTotalMem_v2(size_t* bytes, int) { return give(bytes, kMemory); }
EXPORT Status cuDeviceGetUuid_v2(void* uuid, int) {
  memset(uuid, 7, 16);
  return fake_driver::kSuccess;
}
EXPORT Status cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {  // by their numbers in the driver's interface (CUdevice_attribute)
    case 1:
      return give(value, 1024);  // threads of a block
    case 10:
      return give(value, 32);  // threads of a warp
    case 16:
      return give(value, 132);  // processors
    case 39:
      return give(value, 2048);  // threads of a processor
    case 75:
      return give(value, 9);  // compute capability, major
    case 76:
      return give(value, 0);  // and minor
    default:
      return give(value, 1);  // it can do everything
  }
}
EXPORT Status cuDeviceComputeCapability(int* major, int* minor, int) {
  RETURN_IF_FAILED(give(major, 9));
  return give(minor, 0);
}

EXPORT Status cuDevicePrimaryCtxRetain(void** context, int) {
  const Locked machine(__func__);
  ++primary_references;
  return give<void*>(context, primary_context);
}
EXPORT Status cuDevicePrimaryCtxRelease_v2(int) {
  const Locked machine(__func__);
  --primary_references;
  return fake_driver::kSuccess;
}
EXPORT Status cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  give(flags, 0u);
  return give(active, int{primary_references > 0});
}

EXPORT Status cuCtxGetCurrent(void** context) {
  return give<void*>(context, contexts.empty() ? nullptr : contexts.back());
}
EXPORT Status cuCtxSetCurrent(void* context) {
  const Locked machine(__func__);
  if (!contexts.empty()) contexts.pop_back();
  if (context != nullptr) contexts.push_back(context);
  return fake_driver::kSuccess;
}
EXPORT Status cuCtxPushCurrent_v2(void* context) {
  const Locked machine(__func__);
  contexts.push_back(context);
  return fake_driver::kSuccess;
}
EXPORT Status cuCtxPopCurrent_v2(void** context) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  give(context, contexts.back());
  contexts.pop_back();
  return fake_driver::kSuccess;
}
EXPORT Status cuCtxDetach(void*) { return fake_driver::kSuccess; }
EXPORT Status cuCtxGetDevice(int* device) {
  RETURN_IF_FAILED(needs_context(__func__));
  return give(device, 0);
}
EXPORT Status cuCtxGetDevice_v2(int* device, void*) { return give(device, 0); }
EXPORT Status cuCtxGetId(void*, unsigned long long* id) { return give(id, 1ull); }
EXPORT Status cuCtxGetFlags(unsigned* flags) { return give(flags, 0u); }
EXPORT Status cuCtxGetApiVersion(void*, unsigned* version) { return give(version, 13000u); }
EXPORT Status cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  RETURN_IF_FAILED(needs_context(__func__));
  give(least, 0);
  return give(greatest, -5);
}
EXPORT Status cuCtxSynchronize() {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  RETURN_IF_FAILED(machine->forbid_in_capture(__func__));
  while (machine->step()) {
  }
  return fake_driver::kSuccess;
}

// ---------------------------------------------------------------------------------------------------------------------
// Streams and events

EXPORT Status cuStreamCreateWithPriority(void** stream, unsigned flags, int priority) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  return give<void*>(stream, machine->new_stream(flags, priority));
}
EXPORT Status cuStreamCreate(void** stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }
EXPORT Status cuStreamDestroy_v2(void* handle) {
  const Locked machine(__func__);
  Stream* stream = machine->stream(handle);
  if (stream == nullptr) return machine->fail("a stream is destroyed twice", fake_driver::kInvalidHandle);
  if (stream->capture) machine->fail("a stream is destroyed during its capture", fake_driver::kInvalidValue);
  machine->until([=] { return stream->items.empty(); });
  machine->streams.erase(stream);
  return fake_driver::kSuccess;
}
EXPORT Status cuStreamGetFlags(void* handle, unsigned* flags) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_stream(handle, __func__));
  return give(flags, machine->stream(handle)->flags);
}
EXPORT Status cuStreamGetPriority(void* handle, int* priority) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_stream(handle, __func__));
  return give(priority, machine->stream(handle)->priority);
}
EXPORT Status cuStreamGetCtx(void* handle, void** context) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context_for(handle, __func__));
  return give<void*>(context, primary_context);
}
EXPORT Status cuStreamGetDevice(void*, int* device) { return give(device, 0); }
EXPORT Status cuStreamGetId(void* handle, unsigned long long* id) {
  return give(id, static_cast<unsigned long long>(address(handle)));
}
EXPORT Status cuStreamSynchronize(void* handle) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context_for(handle, __func__));
  Stream* stream = machine->stream(handle);
  if (stream == &machine->legacy) RETURN_IF_FAILED(machine->forbid_in_capture("waiting for the default stream"));
  return machine->synchronize(stream);
}
EXPORT Status cuStreamQuery(void* handle) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_stream(handle, __func__));
  machine->stir();
  return machine->stream(handle)->items.empty() ? fake_driver::kSuccess : fake_driver::kNotReady;
}
EXPORT Status cuStreamWaitEvent(void* handle, void* event, unsigned) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context_for(handle, __func__));
  return machine->wait(machine->stream(handle), static_cast<Event*>(event));
}
EXPORT Status cuLaunchHostFunc(void* handle, void (*function)(void*), void* argument) {
  const Locked machine(__func__);
  return machine->submit(machine->stream(handle), [=] { function(argument); });
}

EXPORT Status cuEventCreate(void** event, unsigned) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  auto* made = new Event;  // never freed: streams may wait for it after it is destroyed
  machine->events.insert(made);
  return give<void*>(event, made);
}
EXPORT Status cuEventDestroy_v2(void* event) {
  const Locked machine(__func__);
  if (machine->events.erase(static_cast<Event*>(event)) != 0) return fake_driver::kSuccess;
  return machine->fail("an event is destroyed twice", fake_driver::kInvalidHandle);
}
EXPORT Status cuEventRecord(void* event, void* handle) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context_for(handle, __func__));
  return machine->record(machine->stream(handle), static_cast<Event*>(event));
}
EXPORT Status cuEventRecordWithFlags(void* event, void* handle, unsigned) { return cuEventRecord(event, handle); }
EXPORT Status cuEventSynchronize(void* of) {
  const Locked machine(__func__);
  auto* event = static_cast<Event*>(of);
  if (machine->events.count(event) == 0) return fake_driver::kInvalidHandle;
  if (event->captured) return machine->fail("the host waits for an event of a capture", fake_driver::kCapturedEvent);
  const int64_t wanted = event->recorded;
  return machine->until([=] { return event->reached >= wanted; });
}
EXPORT Status cuEventQuery(void* of) {
  const Locked machine(__func__);
  const auto* event = static_cast<Event*>(of);
  machine->stir();
  return event->reached >= event->recorded ? fake_driver::kSuccess : fake_driver::kNotReady;
}

// ---------------------------------------------------------------------------------------------------------------------
// Captures and graphs

EXPORT Status cuStreamBeginCapture_v2(void* handle, int mode) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_stream(handle, __func__));
  Stream* stream = machine->stream(handle);
  if (stream == &machine->legacy) return machine->fail("the default stream is captured", fake_driver::kInvalidValue);
  if (stream->capture) return machine->fail("a stream is captured twice", fake_driver::kInvalidValue);
  auto* graph = new Graph;
  machine->graphs.insert(graph);
  stream->capture.reset(
      new fake_driver::Capture{graph, static_cast<fake_driver::CaptureMode>(mode), Machine::this_thread()});
  return fake_driver::kSuccess;
}
EXPORT Status cuStreamEndCapture(void* handle, void** graph) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_stream(handle, __func__));
  Stream* stream = machine->stream(handle);
  give<void*>(graph, nullptr);
  if (!stream->capture) return fake_driver::kInvalidValue;
  const auto capture = std::move(stream->capture);
  if (capture->mode != fake_driver::kRelaxed && capture->thread != Machine::this_thread()) {
    return machine->fail("a capture is ended by another thread", fake_driver::kCaptureWrongThread);
  }
  if (!capture->invalid) return give<void*>(graph, capture->graph);
  machine->graphs.erase(capture->graph);
  return fake_driver::kCaptureInvalidated;
}
EXPORT Status cuStreamIsCapturing(void* handle, int* status) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_stream(handle, __func__));
  const Stream* stream = machine->stream(handle);
  return give(status, !stream->capture ? 0 : stream->capture->invalid ? 2 : 1);
}
EXPORT Status cuStreamGetCaptureInfo_v2(void* handle, int* status, unsigned long long* id, void** graph,
                                        void*** dependencies, size_t* count) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_stream(handle, __func__));
  const Stream* stream = machine->stream(handle);
  give(id, 1ull);
  give<void*>(graph, stream->capture ? stream->capture->graph : nullptr);
  give<void**>(dependencies, nullptr);
  give(count, size_t{0});
  return cuStreamIsCapturing(handle, status);
}
EXPORT Status cuStreamGetCaptureInfo_v3(void* handle, int* status, unsigned long long* id, void** graph,
                                        void*** dependencies, void** edges, size_t* count) {
  give<void*>(edges, nullptr);
  return cuStreamGetCaptureInfo_v2(handle, status, id, graph, dependencies, count);
}
EXPORT Status cuThreadExchangeStreamCaptureMode(int* mode) { return give<int>(mode, fake_driver::kRelaxed); }

struct InstantiateParameters {  // CUDA_GRAPH_INSTANTIATE_PARAMS
  unsigned long long flags;
  void* upload_stream;
  void* error_node;
  int result;
};
EXPORT Status cuGraphInstantiateWithParams(void** executable, void* graph, InstantiateParameters* parameters) {
  const Locked machine(__func__);
  auto* made = new Graph(*static_cast<Graph*>(graph));
  machine->executables.insert(made);
  parameters->result = 0;
  return give<void*>(executable, made);
}
EXPORT Status cuGraphLaunch(void* executable, void* handle) {
  const Locked machine(__func__);
  auto* graph = static_cast<Graph*>(executable);
  Stream* stream = machine->stream(handle);
  if (machine->executables.count(graph) == 0) {
    return machine->fail("a graph is launched that was destroyed", fake_driver::kInvalidHandle);
  }
  if (stream == nullptr || stream->capture) return machine->submit(stream, [] {});
  ++machine->counts["launches"];
  for (const fake_driver::Work& node : graph->nodes) machine->submit(stream, node);
  return fake_driver::kSuccess;
}
EXPORT Status cuGraphUpload(void*, void*) { return fake_driver::kSuccess; }
EXPORT Status cuGraphDestroy(void* graph) {
  const Locked machine(__func__);
  machine->graphs.erase(static_cast<Graph*>(graph));
  return fake_driver::kSuccess;
}
EXPORT Status cuGraphExecDestroy(void* executable) {
  const Locked machine(__func__);
  machine->executables.erase(static_cast<Graph*>(executable));
  return fake_driver::kSuccess;
}
EXPORT Status cuGraphGetNodes(void* graph, void**, size_t* count) {
  const Locked machine(__func__);
  return give(count, static_cast<Graph*>(graph)->nodes.size());
}
EXPORT Status cuUserObjectCreate(void** object, void* pointer, void (*)(void*), unsigned, unsigned) {
  return give(object, pointer);
}
EXPORT Status cuUserObjectRetain(void*, unsigned) { return fake_driver::kSuccess; }
EXPORT Status cuUserObjectRelease(void*, unsigned) { return fake_driver::kSuccess; }
EXPORT Status cuGraphRetainUserObject(void*, void*, unsigned, unsigned) { return fake_driver::kSuccess; }
EXPORT Status cuGraphReleaseUserObject(void*, void*, unsigned) { return fake_driver::kSuccess; }

// ---------------------------------------------------------------------------------------------------------------------
// Memory

EXPORT Status cuMemAlloc_v2(uintptr_t* memory, size_t bytes) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  RETURN_IF_FAILED(machine->forbid_in_capture(__func__));
  ++machine->counts["allocations"];
  return give(memory, machine->device.get(bytes));
}
EXPORT Status cuMemFree_v2(uintptr_t memory) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  RETURN_IF_FAILED(machine->forbid_in_capture(__func__));
  return machine->free_now(&machine->device, memory);
}
EXPORT Status cuMemGetInfo_v2(size_t* free, size_t* total) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  give(free, kMemory - machine->device.bytes());
  return give(total, kMemory);
}
EXPORT Status cuMemAllocFromPoolAsync(uintptr_t* memory, size_t bytes, void*, void* handle) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context_for(handle, __func__));
  return machine->allocate_on(machine->stream(handle), bytes, memory);
}
EXPORT Status cuMemAllocAsync(uintptr_t* memory, size_t bytes, void* handle) {
  return cuMemAllocFromPoolAsync(memory, bytes, nullptr, handle);
}
EXPORT Status cuMemFreeAsync(uintptr_t memory, void* handle) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  return machine->free_on(machine->stream(handle), memory);
}
EXPORT Status cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  RETURN_IF_FAILED(machine->forbid_in_capture(__func__));
  ++machine->counts["allocations"];
  return give(memory, pointer(machine->pinned.get(bytes)));
}
EXPORT Status cuMemAllocHost_v2(void** memory, size_t bytes) { return cuMemHostAlloc(memory, bytes, 0); }
EXPORT Status cuMemFreeHost(void* memory) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context(__func__));
  RETURN_IF_FAILED(machine->forbid_in_capture(__func__));
  return machine->free_now(&machine->pinned, address(memory));
}
EXPORT Status cuMemHostGetDevicePointer_v2(uintptr_t* on_device, void* memory, unsigned) {
  return give(on_device, address(memory));
}

EXPORT Status cuMemcpyAsync(uintptr_t to, uintptr_t from, size_t bytes, void* handle) {
  const Locked machine(__func__);
  RETURN_IF_FAILED(needs_context_for(handle, __func__));
  return machine->copy(to, from, bytes, machine->stream(handle));
}
EXPORT Status cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t bytes, void* handle) {
  return cuMemcpyAsync(to, address(from), bytes, handle);
}
EXPORT Status cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t bytes, void* handle) {
  return cuMemcpyAsync(address(to), from, bytes, handle);
}
EXPORT Status cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, void* handle) {
  return cuMemcpyAsync(to, from, bytes, handle);
}
EXPORT Status cuMemcpyHtoD_v2(uintptr_t to, const void* from, size_t bytes) {
  RETURN_IF_FAILED(cuMemcpyAsync(to, address(from), bytes, nullptr));
  return cuStreamSynchronize(nullptr);
}
EXPORT Status cuMemcpyDtoH_v2(void* to, uintptr_t from, size_t bytes) {
  RETURN_IF_FAILED(cuMemcpyAsync(address(to), from, bytes, nullptr));
  return cuStreamSynchronize(nullptr);
}
EXPORT Status cuMemsetD8Async(uintptr_t to, unsigned char value, size_t count, void* handle) {
  const Locked machine(__func__);
  return machine->fill(to, count, machine->stream(handle), filling(to, value, count));
}
EXPORT Status cuMemsetD16Async(uintptr_t to, unsigned short value, size_t count, void* handle) {
  const Locked machine(__func__);
  return machine->fill(to, 2 * count, machine->stream(handle), filling(to, value, count));
}
EXPORT Status cuMemsetD32Async(uintptr_t to, unsigned value, size_t count, void* handle) {
  const Locked machine(__func__);
  return machine->fill(to, 4 * count, machine->stream(handle), filling(to, value, count));
}

char memory_pool[64];
EXPORT Status cuDeviceGetDefaultMemPool(void** pool, int) { return give<void*>(pool, memory_pool); }
EXPORT Status cuDeviceGetMemPool(void** pool, int) { return give<void*>(pool, memory_pool); }
EXPORT Status cuMemGetMemPool(void** pool, void*, int) { return give<void*>(pool, memory_pool); }
EXPORT Status cuMemGetDefaultMemPool(void** pool, void*, int) { return give<void*>(pool, memory_pool); }
EXPORT Status cuMemPoolGetAttribute(void*, int, void* value) {
  return give(static_cast<unsigned long long*>(value), 0ull);
}
EXPORT Status cuMemPoolSetAttribute(void*, int, void*) { return fake_driver::kSuccess; }
EXPORT Status cuMemPoolCreate(void** pool, void*) { return give<void*>(pool, memory_pool); }
EXPORT Status cuMemPoolDestroy(void*) { return fake_driver::kSuccess; }
EXPORT Status cuMemPoolTrimTo(void*, size_t) { return fake_driver::kSuccess; }
EXPORT Status cuMemPoolGetAccess(int* flags, void*, void*) { return give(flags, 3); }

EXPORT Status cuPointerGetAttribute(void* value, int attribute, uintptr_t memory) {
  const Locked machine(__func__);
  const bool on_device = machine->device.bytes_from(memory) != 0, is_pinned = machine->pinned.bytes_from(memory) != 0;
  switch (attribute) {  // by their numbers in the driver's interface (CUpointer_attribute)
    case 1:
      return give<void*>(static_cast<void**>(value), primary_context);
    case 2:  // the type of the memory
      return give(static_cast<unsigned*>(value), on_device ? 2u : is_pinned ? 1u : 0u);
    case 3:  // its address on the device
      return give(static_cast<uintptr_t*>(value), memory);
    case 4:  // and on the host
      return give(static_cast<void**>(value), is_pinned ? pointer(memory) : nullptr);
    case 9:  // the number of its device
      return give(static_cast<int*>(value), on_device || is_pinned ? 0 : -2);
    default:
      return give(static_cast<int*>(value), 0);
  }
}
EXPORT Status cuPointerGetAttributes(unsigned count, int* attributes, void** values, uintptr_t memory) {
  for (unsigned i = 0; i < count; ++i) RETURN_IF_FAILED(cuPointerGetAttribute(values[i], attributes[i], memory));
  return fake_driver::kSuccess;
}

// ---------------------------------------------------------------------------------------------------------------------
// Errors, and functions by their names

EXPORT Status cuGetErrorName(int status, const char** name) {
  switch (status) {
    case fake_driver::kInvalidContext:
      return give(name, "CUDA_ERROR_INVALID_CONTEXT");
    case fake_driver::kCaptureUnsupported:
      return give(name, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED");
    case fake_driver::kCaptureInvalidated:
      return give(name, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED");
    default:
      return give(name, "CUDA_ERROR_OF_THE_FAKE_DRIVER");
  }
}
EXPORT Status cuGetErrorString(int status, const char** text) {
  static thread_local char message[64];
  snprintf(message, sizeof message, "error %d of the fake driver", status);
  return give<const char*>(text, message);
}
EXPORT Status cuTensorMapEncodeTiled() { return fake_driver::kNotSupported; }

// Newer forms of a function have a suffix. What is not here is not found, and an error to whoever calls it.
EXPORT Status cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long, int* found) {
  static void* library = [] {
    Dl_info here;
    dladdr(reinterpret_cast<void*>(&cuInit), &here);
    return dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  }();
  const bool old_capture_info = std::string(name) == "cuStreamGetCaptureInfo" && version < 12030;
  void* symbol = nullptr;
  for (const char* suffix : {"_v3", "_v2", ""}) {
    if (old_capture_info && suffix == std::string("_v3")) continue;
    if (symbol == nullptr) symbol = dlsym(library, (std::string(name) + suffix).c_str());
  }
  give(function, symbol);
  return give(found, symbol == nullptr ? 1 : 0);
}
EXPORT Status cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}

// ---------------------------------------------------------------------------------------------------------------------
// For the emulated ops and the tests

// Puts a function on a stream. `drop` frees its argument once no stream and no graph needs it.
EXPORT Status fake_driver_submit(void* handle, void (*run)(void*), void* argument, void (*drop)(void*)) {
  const Locked machine(__func__);
  const std::shared_ptr<void> held(argument, drop != nullptr ? drop : [](void*) {});
  return machine->submit(machine->stream(handle), [=] { run(held.get()); });
}
// Begins a test: another order of turns, nothing counted, no rule broken.
EXPORT void fake_driver_begin(unsigned seed) {
  const Locked machine(__func__);
  machine->random.seed(seed);
  machine->counts.clear();
  machine->broken.clear();
}
// Plants a fault: the stream waits for no event.
EXPORT void fake_driver_never_wait(void* handle) {
  const Locked machine(__func__);
  machine->stream(handle)->never_waits = true;
}
// A line for each broken rule.
EXPORT void fake_driver_broken_rules(char* text, size_t size) {
  const Locked machine(__func__);
  std::string lines;
  for (const std::string& rule : machine->broken) lines += rule + "\n";
  snprintf(text, size, "%s", lines.c_str());
}
// A line for each count: calls, bytes, and what is alive.
EXPORT void fake_driver_counts(char* text, size_t size) {
  const Locked machine(__func__);
  auto counts = machine->counts;
  counts["live device buffers"] = static_cast<int64_t>(machine->device.count());
  counts["live pinned buffers"] = static_cast<int64_t>(machine->pinned.count());
  counts["live streams"] = static_cast<int64_t>(machine->streams.size());
  counts["live events"] = static_cast<int64_t>(machine->events.size());
  counts["live graphs"] = static_cast<int64_t>(machine->graphs.size() + machine->executables.size());
  std::string lines;
  for (const auto& [name, count] : counts) lines += name + " " + std::to_string(count) + "\n";
  snprintf(text, size, "%s", lines.c_str());
}
