// Tests of the emulated driver as a program sees it: linked against libcuda.so.1, each case in
// a process of its own with its own settings. usage: driver_test FOLDER [CASE…]
//
// FOLDER holds the libraries. said() checks what a case printed on stderr.
#include <cuda.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

static std::string folder;
static FILE *report = stderr;  // the real stderr

static std::string said() {
  std::ifstream file("/proc/self/fd/2");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

[[noreturn]] static void fail(int line, const std::string &what) {
  fprintf(report, "driver_test.cpp:%d: %s\n", line, what.c_str());
  std::string text = said();
  if (!text.empty()) fprintf(report, "stderr:\n%s", text.c_str());
  fflush(report);
  _exit(1);
}

static std::string name_of(CUresult code) {
  const char *name = nullptr;
  cuGetErrorName(code, &name);
  return name ? name : "error " + std::to_string(code);
}

static void expect(int line, CUresult want, CUresult got, const char *call) {
  if (got != want) fail(line, std::string(call) + ": " + name_of(got) + " instead of " + name_of(want));
}

template <class A, class B>
static void equal(int line, const A &want, const B &got, const char *what) {
  if (want == got) return;
  std::ostringstream text;
  text << what << ": " << got << " instead of " << want;
  fail(line, text.str());
}

static void contains(int line, const std::string &text, const std::string &part) {
  if (text.find(part) == std::string::npos) fail(line, "nothing said of \"" + part + "\"");
}

#define EXPECT(code, call) expect(__LINE__, code, call, #call)
#define OK(call) EXPECT(CUDA_SUCCESS, call)
#define EQUAL(want, got) equal(__LINE__, want, got, #got)
#define SAID(part) contains(__LINE__, said(), part)
#define CHECK(condition) \
  if (!(condition)) fail(__LINE__, #condition)

struct Case {
  std::string name;
  std::map<std::string, std::string> settings;
  std::function<void()> body;
};

static std::vector<Case> &cases() {
  static std::vector<Case> all;
  return all;
}

struct Register {
  Register(std::string name, std::map<std::string, std::string> settings, void (*body)()) {
    cases().push_back({std::move(name), std::move(settings), body});
  }
};

// TEST(name, settings…): settings as {"CARD", "80"}.
#define TEST(name, ...)                                             \
  static void test_##name();                                        \
  static Register register_##name(#name, {__VA_ARGS__}, test_##name); \
  static void test_##name()

// Runs body in another process, with one more environment variable; returns its exit status.
static int with_environment(const std::string &name, const std::string &value, const std::function<void()> &body) {
  pid_t child = fork();
  if (child == 0) {
    setenv(name.c_str(), value.c_str(), 1);
    body();
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int with_setting(const std::string &name, const std::string &value, const std::function<void()> &body) {
  return with_environment("CRNN_EMULATOR_" + name, value, body);
}

// ---- common parts of the cases

static CUcontext context;

static void start(int device = 0) {
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, device));
  OK(cuCtxSetCurrent(context));
}

static CUdeviceptr allocate(size_t bytes) {
  CUdeviceptr address = 0;
  OK(cuMemAlloc(&address, bytes));
  return address;
}

template <class T = int>
static std::vector<T> read(CUdeviceptr address, size_t count) {
  std::vector<T> values(count);
  OK(cuMemcpyDtoH(values.data(), address, count * sizeof(T)));
  return values;
}

static int read_int(CUdeviceptr address) { return read(address, 1)[0]; }

static int *page_locked(int count) {
  void *host = nullptr;
  OK(cuMemHostAlloc(&host, count * sizeof(int), 0));
  return static_cast<int *>(host);
}

static CUstream new_stream(unsigned flags = CU_STREAM_NON_BLOCKING) {
  CUstream stream = nullptr;
  OK(cuStreamCreate(&stream, flags));
  return stream;
}

static CUevent new_event(unsigned flags = CU_EVENT_DEFAULT) {
  CUevent event = nullptr;
  OK(cuEventCreate(&event, flags));
  return event;
}

static const std::string head = ".version 8.0\n.target sm_75\n.address_size 64\n";

// A kernel with two parameters; its body finds them in %p and %v, and its thread in %i.
static std::string kernel(const std::string &name, const std::string &body, const std::string &directives = "") {
  return ".visible .entry " + name + "(.param .u64 p, .param .u32 v)\n" + directives +
         "{\n"
         ".reg .b64 %p, %q;\n.reg .b32 %v, %i, %x;\n.reg .pred %c;\n"
         "ld.param.u64 %p, [p];\ncvta.to.global.u64 %p, %p;\nld.param.u32 %v, [v];\nmov.u32 %i, %tid.x;\n"
         "mul.wide.u32 %q, %i, 4;\nadd.s64 %p, %p, %q;\n" +
         body + "ret;\n}\n";
}

// store: p[thread] = v. add: p[thread] += v.
static std::string store() { return kernel("store", "st.global.u32 [%p], %v;\n"); }
static std::string add() {
  return kernel("add", "ld.global.u32 %x, [%p];\nadd.s32 %x, %x, %v;\nst.global.u32 [%p], %x;\n");
}

static CUmodule load(const std::string &text) {
  CUmodule module = nullptr;
  OK(cuModuleLoadData(&module, text.c_str()));
  return module;
}

static CUfunction function(CUmodule module, const char *name) {
  CUfunction found = nullptr;
  OK(cuModuleGetFunction(&found, module, name));
  return found;
}

static CUfunction function(const std::string &text, const char *name) { return function(load(head + text), name); }

static CUresult launch(CUfunction f, CUdeviceptr p, int v, CUstream stream = nullptr, unsigned threads = 1,
                       unsigned grid = 1, unsigned shared = 0) {
  void *params[] = {&p, &v};
  return cuLaunchKernel(f, grid, 1, 1, threads, 1, 1, shared, stream, params, nullptr);
}

// ---- devices and contexts

TEST(nothing_before_init) {
  int version, count;
  OK(cuDriverGetVersion(&version));
  EQUAL(12040, version);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&count));
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuCtxSynchronize());
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuInit(1));
  OK(cuInit(0));
  OK(cuDeviceGetCount(&count));
  EQUAL(1, count);
}

TEST(no_context) {
  CUdeviceptr address;
  OK(cuInit(0));
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc(&address, 4));
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent(reinterpret_cast<CUcontext>(64)));
  SAID("this thread has no current context");
}

TEST(context_of_a_thread) {
  start();
  std::thread([] {
    CUcontext current;
    OK(cuCtxGetCurrent(&current));
    CHECK(current == nullptr);
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
    OK(cuCtxPushCurrent(context));
    OK(cuCtxSynchronize());
    OK(cuCtxPopCurrent(&current));
    CHECK(current == context);
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent(&current));
  }).join();
}

TEST(primary_context) {
  start();
  CUcontext again;
  unsigned flags;
  int active;
  OK(cuDevicePrimaryCtxRetain(&again, 0));
  CHECK(again == context);
  CUdeviceptr address = allocate(4);
  CUstream stream = new_stream();
  OK(cuDevicePrimaryCtxRelease(0));
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EQUAL(1, active);
  OK(cuDevicePrimaryCtxRelease(0));
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EQUAL(0, active);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease(0));
  EXPECT(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuCtxSynchronize());
  start();
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree(address));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(stream));
}

TEST(two_devices, {"DEVICES", "2"}, {"CARD", "80"}, {"MEMORY", "1000000"}) {
  OK(cuInit(0));
  int count, value;
  OK(cuDeviceGetCount(&count));
  EQUAL(2, count);
  CUdevice device;
  EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, 2));
  OK(cuDeviceGet(&device, 1));
  char name[64];
  OK(cuDeviceGetName(name, sizeof name, device));
  EQUAL(std::string("emulated sm_80 GPU"), name);
  size_t bytes;
  OK(cuDeviceTotalMem(&bytes, device));
  EQUAL(1000000u, bytes);
  CUuuid ids[2];
  OK(cuDeviceGetUuid(&ids[0], 0));
  OK(cuDeviceGetUuid_v2(&ids[1], 1));
  CHECK(memcmp(&ids[0], &ids[1], sizeof ids[0]) != 0);
  for (auto [attribute, want] : std::map<CUdevice_attribute, int>{
           {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 8},
           {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
           {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 108},
           {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
           {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 166912},
           {CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 0},
           {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32}}) {
    OK(cuDeviceGetAttribute(&value, attribute, device));
    EQUAL(want, value);
  }
  EXPECT(CUDA_ERROR_NOT_SUPPORTED, cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH, 0));
  // Each card has its own memory.
  start(0);
  allocate(900000);
  CUdeviceptr more;
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&more, 900000));
  CUstream stream = new_stream();
  start(1);
  allocate(900000);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuStreamSynchronize(stream));
}

TEST(cards_of_several_kinds, {"CARD", "75,90"}, {"DEVICES", "3"}) {
  OK(cuInit(0));
  int count;
  OK(cuDeviceGetCount(&count));
  EQUAL(3, count);
  for (auto [device, capability] : {std::pair(0, 7), {1, 9}, {2, 9}}) {
    int major, clusters;
    OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    EQUAL(capability, major);
    OK(cuDeviceGetAttribute(&clusters, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, device));
    EQUAL(capability == 9, clusters == 1);
  }
  // A module is compiled for the card of the context.
  std::string newer = ".version 8.0\n.target sm_90\n.address_size 64\n";
  CUmodule module;
  start(0);
  EXPECT(CUDA_ERROR_INVALID_PTX, cuModuleLoadData(&module, newer.c_str()));
  start(1);
  OK(cuModuleLoadData(&module, newer.c_str()));
}

TEST(no_device, {"DEVICES", "0"}) { EXPECT(CUDA_ERROR_NO_DEVICE, cuInit(0)); }

TEST(visible_devices, {"DEVICES", "4"}) {
  auto visible = [](const char *list) {
    return with_environment("CUDA_VISIBLE_DEVICES", list, [] {
      int count = 0;
      if (cuInit(0) == CUDA_SUCCESS) OK(cuDeviceGetCount(&count));
      _exit(count);
    });
  };
  EQUAL(2, visible("3,1"));
  EQUAL(1, visible("3,4,1"));
  EQUAL(0, visible("-1"));
  EQUAL(0, visible(""));
  EQUAL(0, with_environment("CUDA_VISIBLE_DEVICES", "2", [] {
          CUuuid id;
          OK(cuInit(0));
          OK(cuDeviceGetUuid(&id, 0));
          EQUAL(2, id.bytes[15]);
        }));
}

TEST(card_newer_than_driver, {"CARD", "120"}, {"DRIVER", "12040"}) { EXPECT(CUDA_ERROR_NO_DEVICE, cuInit(0)); }

TEST(one_card_newer_than_driver, {"CARD", "120,80"}, {"DRIVER", "12040"}) {
  int count, major;
  OK(cuInit(0));
  OK(cuDeviceGetCount(&count));
  EQUAL(1, count);
  OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
  EQUAL(8, major);
}

TEST(driver_that_knows_the_card, {"CARD", "100"}) {
  int version;
  OK(cuInit(0));
  OK(cuDriverGetVersion(&version));
  EQUAL(12080, version);
}

// ---- memory

TEST(memory_is_counted, {"MEMORY", "1048576"}) {
  start();
  size_t free, total;
  CUdeviceptr a = allocate(1 << 19), b;
  OK(cuMemGetInfo(&free, &total));
  EQUAL(1u << 20, total);
  EQUAL(1u << 19, free);
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&b, (1 << 19) + 1));
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&b, SIZE_MAX));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(&b, 0));
  OK(cuMemFree(a));
  OK(cuMemAlloc(&b, 1 << 20));
  CHECK(a != b);
  OK(cuMemFree(0));
}

TEST(new_memory_is_not_zero) {
  start();
  CUdeviceptr a = allocate(1000);
  EQUAL(0u, a % 256);
  CHECK(std::isnan(read<float>(a, 1)[0]));
  EQUAL(-1, page_locked(1)[0]);
}

TEST(bounds_of_copies) {
  start();
  CUdeviceptr a = allocate(100);
  char host[200] = {};
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(a, host, 101));
  SAID("1 bytes behind the 100 bytes");
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(host, a + 100, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoD(a, a - 1, 1));
  SAID("1 bytes before the 100 bytes");
  CHECK(allocate(100) - a > 1 << 20);  // the next allocation is far away
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(0, host, 1));
  SAID("null");
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(a, 0, 26));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(a + 1, 0, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(a, 0, SIZE_MAX / 2));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(a, reinterpret_cast<void *>(a), 4));
  OK(cuMemcpyHtoD(a, host, 0));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree(a + 4));
  OK(cuMemFree(a));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree(a));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(a + 10, host, 1));
  SAID("in freed memory, 100 bytes allocated");
  OK(cuCtxSynchronize());  // none of these is an error of the context
}

TEST(the_host_cannot_reach_device_memory) {
  start();
  CUdeviceptr a = allocate(64);
  pid_t child = fork();
  if (child == 0) {
    *reinterpret_cast<volatile int *>(a) = 1;
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

TEST(copies) {
  start();
  CUdeviceptr a = allocate(12), b = allocate(12);
  int host[3] = {1, 2, 3}, back[3] = {};
  OK(cuMemcpyHtoD(a, host, 12));
  OK(cuMemcpyDtoD(b + 4, a, 8));
  OK(cuMemsetD8(b, 7, 4));
  OK(cuMemcpyDtoH(back, b, 12));
  EQUAL(0x07070707, back[0]);
  EQUAL(1, back[1]);
  EQUAL(2, back[2]);
  OK(cuMemsetD32(b, 5, 3));
  OK(cuMemcpy(b, reinterpret_cast<CUdeviceptr>(host), 4));
  OK(cuMemcpy(reinterpret_cast<CUdeviceptr>(back), b, 12));
  EQUAL(1, back[0]);
  EQUAL(5, back[1]);
  OK(cuMemcpy(b, a, 12));
  EQUAL(3, read(b, 3)[2]);
}

// Long enough for work to finish if it waits for nobody.
static void dawdle() { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

TEST(page_locked_memory_is_read_later) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(4), b = allocate(4);
  int *locked = page_locked(1), pageable = 1;
  *locked = 1;
  OK(cuMemcpyHtoDAsync(a, locked, 4, stream));
  OK(cuMemcpyHtoDAsync(b, &pageable, 4, stream));
  dawdle();
  *locked = pageable = 2;
  OK(cuStreamSynchronize(stream));
  EQUAL(2, read_int(a));
  EQUAL(1, read_int(b));
}

TEST(page_locked_memory_is_written_later) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(4);
  OK(cuMemsetD32Async(a, 5, 1, stream));
  int *locked = page_locked(1), pageable = 0;
  *locked = 0;
  OK(cuMemcpyDtoHAsync(locked, a, 4, stream));
  dawdle();
  EQUAL(0, *locked);
  OK(cuStreamSynchronize(stream));
  EQUAL(5, *locked);
  OK(cuMemcpyDtoHAsync(&pageable, a, 4, stream));
  EQUAL(5, pageable);
}

TEST(registered_memory) {
  start();
  std::vector<int> host(100, 1);
  OK(cuMemHostRegister(host.data(), 200, 0));
  EXPECT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(host.data() + 10, 400, 0));
  CUdeviceptr a = allocate(400);
  CUstream stream = new_stream();
  OK(cuMemcpyHtoDAsync(a, host.data(), 4, stream));
  host[0] = 2;
  OK(cuStreamSynchronize(stream));
  EQUAL(2, read_int(a));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoDAsync(a, host.data(), 400, stream));
  CUdeviceptr mapped;
  OK(cuMemHostGetDevicePointer(&mapped, host.data(), 0));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostGetDevicePointer(&mapped, host.data() + 60, 0));
  OK(cuMemHostUnregister(host.data()));
  EXPECT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(host.data()));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(host.data()));
}

// ---- streams and events

TEST(streams_are_in_order_and_independent) {
  start();
  CUstream one = new_stream(), two = new_stream();
  CUdeviceptr a = allocate(4);
  OK(cuMemsetD32Async(a, 1, 1, one));
  OK(cuMemsetD32Async(a, 2, 1, one));
  OK(cuStreamSynchronize(one));
  EQUAL(2, read_int(a));
  // Nobody has waited for `one` when `two` and the null stream look.
  OK(cuMemsetD32Async(a, 3, 1, one));
  dawdle();
  int *seen = page_locked(1);
  OK(cuMemcpyDtoHAsync(seen, a, 4, two));
  OK(cuStreamSynchronize(two));
  EQUAL(2, *seen);
  EQUAL(2, read_int(a));
  OK(cuCtxSynchronize());
  EQUAL(3, read_int(a));
}

TEST(the_null_stream_waits_for_blocking_streams) {
  start();
  CUstream blocking = new_stream(CU_STREAM_DEFAULT), other = new_stream(CU_STREAM_NON_BLOCKING);
  CUdeviceptr a = allocate(4);
  OK(cuMemsetD32Async(a, 1, 1, blocking));
  EQUAL(1, read_int(a));
  OK(cuMemsetD32(a, 2, 1));
  int *seen = page_locked(1);
  OK(cuMemcpyDtoHAsync(seen, a, 4, other));
  OK(cuStreamSynchronize(other));
  EQUAL(1, *seen);
  OK(cuMemcpyDtoHAsync(seen, a, 4, blocking));
  OK(cuStreamSynchronize(blocking));
  EQUAL(2, *seen);
}

TEST(a_copy_of_pageable_memory_is_not_waited_for) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(4);
  int one = 1, *seen = page_locked(1);
  OK(cuMemcpyHtoD(a, &one, 4));
  OK(cuMemcpyDtoHAsync(seen, a, 4, stream));
  OK(cuStreamSynchronize(stream));
  EQUAL(-1, *seen);
  // But it waits for earlier work of the null stream.
  OK(cuMemcpyDtoHAsync(seen, a, 4, nullptr));
  OK(cuMemcpyHtoD(a, &one, 4));
  EQUAL(1, *seen);
}

TEST(events) {
  start();
  CUstream one = new_stream(), two = new_stream();
  CUevent before = new_event(), after = new_event(), untimed = new_event(CU_EVENT_DISABLE_TIMING);
  CUdeviceptr a = allocate(4);
  float milliseconds;
  OK(cuEventQuery(before));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&milliseconds, before, after));
  OK(cuEventRecord(before, one));
  OK(cuMemsetD32Async(a, 1, 1, one));
  OK(cuEventRecord(after, one));
  OK(cuEventRecord(untimed, one));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&milliseconds, before, untimed));
  OK(cuStreamWaitEvent(two, after, 0));
  int *seen = page_locked(1);
  OK(cuMemcpyDtoHAsync(seen, a, 4, two));
  OK(cuStreamSynchronize(two));
  EQUAL(1, *seen);
  OK(cuEventSynchronize(after));
  OK(cuEventQuery(after));
  OK(cuEventElapsedTime(&milliseconds, before, after));
  CHECK(milliseconds >= 0);
  OK(cuEventElapsedTime(&milliseconds, after, before));
  CHECK(milliseconds <= 0);
  OK(cuEventDestroy(before));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(before, one));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(reinterpret_cast<CUstream>(after)));
}

TEST(asking_starts_the_work) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(4);
  OK(cuMemsetD32Async(a, 1, 1, stream));
  EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
  CUresult code;
  while ((code = cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY) std::this_thread::yield();
  EQUAL(CUDA_SUCCESS, code);
}

TEST(work_starts_without_being_waited_for) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(4);
  OK(cuMemsetD32Async(a, 1, 1, stream));
  int *seen = page_locked(1);
  OK(cuMemcpyDtoHAsync(seen, a, 4, stream));
  while (*const_cast<volatile int *>(seen) != 1) std::this_thread::yield();
}

TEST(a_destroyed_stream_finishes_its_work) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(4);
  OK(cuMemsetD32Async(a, 1, 1, stream));
  OK(cuStreamDestroy(stream));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy(stream));
  OK(cuCtxSynchronize());
  EQUAL(1, read_int(a));
}

// ---- modules and launches

TEST(kernels_run) {
  start();
  CUdeviceptr a = allocate(400);
  CUfunction f = function(store(), "store");
  CUdeviceptr p = a;
  int v = 7;
  void *params[] = {&p, &v};
  OK(cuLaunchKernel(f, 1, 1, 1, 100, 1, 1, 0, nullptr, params, nullptr));
  p = 0, v = 8;  // copied already
  EQUAL(std::vector<int>(100, 7) == read(a, 100), true);
  struct {
    CUdeviceptr p;
    int v;
  } buffer{a, 9};
  size_t size = 12, wrong = 16;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
  OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
  EQUAL(9, read_int(a));
  extra[3] = &wrong;
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
  SAID("16 bytes of parameters instead of 12");
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, nullptr, params, extra));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr));
  OK(cuLaunchCooperativeKernel(f, 1, 1, 1, 1, 1, 1, 0, nullptr, params));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

TEST(kernels_use_page_locked_memory) {
  start();
  int *host = page_locked(4);
  CUdeviceptr mapped;
  OK(cuMemHostGetDevicePointer(&mapped, host, 0));
  OK(launch(function(store(), "store"), mapped, 3, nullptr, 4));
  OK(cuCtxSynchronize());
  EQUAL(3, host[3]);
}

TEST(sizes_of_launches, {"CARD", "75"}) {
  start();
  CUdeviceptr a = allocate(4096);
  CUfunction f = function(store(), "store"),
             bounded = function(kernel("bounded", "", ".maxntid 64, 1, 1\n"), "bounded");
  EXPECT(CUDA_ERROR_INVALID_VALUE, launch(f, a, 0, nullptr, 0));
  EXPECT(CUDA_ERROR_INVALID_VALUE, launch(f, a, 0, nullptr, 1025));
  SAID("blocks of 1025x1x1 threads, at most 1024");
  EXPECT(CUDA_ERROR_INVALID_VALUE, launch(f, a, 0, nullptr, 1, 0));
  EXPECT(CUDA_ERROR_INVALID_VALUE, launch(bounded, a, 0, nullptr, 65));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 65536, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 65, 0, nullptr, nullptr, nullptr));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, launch(nullptr, a, 0));
  int value;
  OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, bounded));
  EQUAL(64, value);
  OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_BINARY_VERSION, f));
  EQUAL(75, value);
  OK(launch(f, a, 0, nullptr, 1024, 1, 48 << 10));
  EXPECT(CUDA_ERROR_INVALID_VALUE, launch(f, a, 0, nullptr, 1, 1, (48 << 10) + 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (64 << 10) + 1));
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 << 10));
  OK(launch(f, a, 0, nullptr, 1, 1, 64 << 10));
  EXPECT(CUDA_ERROR_INVALID_VALUE, launch(f, a, 0, nullptr, 1, 1, (64 << 10) + 1));
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS, 1));
  OK(cuCtxSynchronize());
}

TEST(occupancy) {
  start();
  int blocks, clusters;
  std::string text = ".version 8.0\n.target sm_90\n.address_size 64\n" + kernel("f", "", ".maxntid 256, 1, 1\n") +
                     kernel("five", "", ".maxntid 256, 1, 1\n.explicitcluster\n.reqnctapercluster 5, 1, 1\n");
  CUmodule module = load(text);
  CUfunction f = function(module, "f"), five = function(module, "five");
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 256, 0));
  EQUAL(8, blocks);  // 2048 threads
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 32, 0));
  EQUAL(32, blocks);  // the limit of the multiprocessor
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 227 << 10));
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 256, 112 << 10));
  EQUAL(2, blocks);  // (112 + 1) KB of 228 KB
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 256, 228 << 10));
  EQUAL(0, blocks);

  OK(cuFuncSetAttribute(five, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 200 << 10));
  CUlaunchConfig config{5, 1, 1, 256, 1, 1, 200 << 10, nullptr, nullptr, 0};
  OK(cuOccupancyMaxActiveClusters(&clusters, five, &config));
  EQUAL(24, clusters);  // three in each GPC of 16 or 18 multiprocessors

  CUdeviceptr a = allocate(4);
  int v = 0;
  void *params[] = {&a, &v};
  OK(cuLaunchKernelEx(&config, five, params, nullptr));
  config.gridDimX = 6;
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernelEx(&config, five, params, nullptr));
  CUlaunchAttribute cluster{};
  cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  cluster.value.clusterDim = {2, 1, 1};
  CUlaunchConfig two{4, 1, 1, 32, 1, 1, 0, nullptr, &cluster, 1};
  EXPECT(CUDA_ERROR_INVALID_CLUSTER_SIZE, cuLaunchKernelEx(&two, five, params, nullptr));
  OK(cuLaunchKernelEx(&two, f, params, nullptr));
  cluster.value.clusterDim = {16, 1, 1};
  two.gridDimX = 16;
  EXPECT(CUDA_ERROR_INVALID_CLUSTER_SIZE, cuLaunchKernelEx(&two, f, params, nullptr));
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
  OK(cuLaunchKernelEx(&two, f, params, nullptr));
  EXPECT(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
         cuLaunchCooperativeKernel(f, 132 * 8 + 1, 1, 1, 256, 1, 1, 0, nullptr, params));
  OK(cuCtxSynchronize());
}

TEST(modules, {"CARD", "80"}) {
  start();
  char log[200] = "?", info[200] = "?";
  auto code_of = [&](const std::string &text) {
    CUmodule module;
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CU_JIT_INFO_LOG_BUFFER,
                              CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, reinterpret_cast<void *>(sizeof log), info, reinterpret_cast<void *>(sizeof info)};
    CUresult code = cuModuleLoadDataEx(&module, text.c_str(), 4, options, values);
    EQUAL(strlen(log), reinterpret_cast<size_t>(values[1]));
    return code;
  };
  EQUAL(CUDA_SUCCESS, code_of(head + store()));
  EQUAL(std::string(), log);
  EQUAL(CUDA_ERROR_INVALID_PTX, code_of("rubbish"));
  contains(__LINE__, log, ".version");
  EQUAL(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, code_of(".version 8.5\n.target sm_75\n.address_size 64\nrubbish"));
  contains(__LINE__, log, "8.5");
  EQUAL(CUDA_ERROR_INVALID_PTX, code_of(".version 8.0\n.target sm_90\n.address_size 64\nrubbish"));
  contains(__LINE__, log, "sm_90");
  EQUAL(CUDA_ERROR_INVALID_PTX, code_of(head + kernel("f", "mumble.u32 %v, %v;\n")));
  contains(__LINE__, log, "mumble");
  SAID("mumble");
  EQUAL(CUDA_ERROR_INVALID_IMAGE, code_of("\x7f" "ELF and so on"));

  CUmodule module = load(head + ".visible .global .align 4 .u32 numbers[3] = {1, 2, 3};\n" + store());
  CUdeviceptr numbers;
  size_t size;
  OK(cuModuleGetGlobal(&numbers, &size, module, "numbers"));
  EQUAL(12u, size);
  EQUAL(3, read(numbers, 3)[2]);
  CUfunction f = function(module, "store"), none;
  CHECK(function(module, "store") == f);
  EXPECT(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&none, module, "restore"));
  EXPECT(CUDA_ERROR_NOT_FOUND, cuModuleGetGlobal(&numbers, &size, module, "words"));
  OK(launch(f, numbers, 4));
  OK(cuModuleUnload(module));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, launch(f, numbers, 4));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload(module));
}

TEST(an_old_driver, {"DRIVER", "11080"}) {
  start();
  CUmodule module;
  EXPECT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, cuModuleLoadData(&module, (head + store()).c_str()));
  load(".version 7.8\n.target sm_75\n.address_size 64\n" + store());
}

// ---- faults

static void expect_broken(CUresult code) {
  CUdeviceptr address;
  CUstream stream;
  EXPECT(code, cuCtxSynchronize());
  EXPECT(code, cuMemAlloc(&address, 4));
  EXPECT(code, cuStreamCreate(&stream, 0));
  OK(cuDevicePrimaryCtxReset(0));
  EXPECT(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuCtxSynchronize());
  start();
  CUdeviceptr a = allocate(4);
  OK(launch(function(store(), "store"), a, 1));
  EQUAL(1, read_int(a));
}

TEST(out_of_bounds) {
  start();
  CUdeviceptr a = allocate(16);
  OK(launch(function(store(), "store"), a, 1, nullptr, 5));
  expect_broken(CUDA_ERROR_ILLEGAL_ADDRESS);
  SAID("store");
  SAID("0 bytes behind the 16 bytes");
}

TEST(use_after_free) {
  start();
  CUdeviceptr a = allocate(16);
  CUfunction f = function(store(), "store");
  OK(cuMemFree(a));
  OK(launch(f, a, 1));
  expect_broken(CUDA_ERROR_ILLEGAL_ADDRESS);
  SAID("freed");
}

TEST(freeing_waits_for_kernels) {
  start();
  CUdeviceptr a = allocate(16);
  OK(launch(function(store(), "store"), a, 1, new_stream()));
  OK(cuMemFree(a));
  OK(cuCtxSynchronize());
}

TEST(misaligned) {
  start();
  OK(launch(function(store(), "store"), allocate(16) + 1, 1));
  expect_broken(CUDA_ERROR_MISALIGNED_ADDRESS);
}

TEST(trap) {
  start();
  OK(launch(function(kernel("stop", "trap;\n"), "stop"), 0, 1));
  expect_broken(CUDA_ERROR_LAUNCH_FAILED);
}

TEST(work_behind_a_fault_does_not_run) {
  start();
  int *host = page_locked(1);
  CUfunction f = function(store(), "store");
  OK(launch(f, 0, 1));
  OK(launch(f, reinterpret_cast<CUdeviceptr>(host), 1));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(nullptr));
  EQUAL(-1, *host);
  SAID("null");
}

// ---- capture and graphs

static CUgraph end_capture(CUstream stream) {
  CUgraph graph = nullptr;
  OK(cuStreamEndCapture(stream, &graph));
  return graph;
}

static CUgraphExec instantiate(CUgraph graph) {
  CUgraphExec exec = nullptr;
  OK(cuGraphInstantiate(&exec, graph, 0));
  return exec;
}

static size_t nodes_of(CUgraph graph) {
  size_t count;
  OK(cuGraphGetNodes(graph, nullptr, &count));
  return count;
}

TEST(capture_and_replay) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(4), b = allocate(4);
  CUfunction f = function(add(), "add");
  int *host = page_locked(1);
  OK(cuMemsetD32(a, 0, 1));
  OK(cuCtxSynchronize());
  CUstreamCaptureStatus status;
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(cuStreamIsCapturing(stream, &status));
  EQUAL(CU_STREAM_CAPTURE_STATUS_ACTIVE, status);
  {
    int five = 5;
    OK(launch(f, a, five, stream));
  }
  OK(cuMemcpyDtoDAsync(b, a, 4, stream));
  OK(cuMemcpyDtoHAsync(host, b, 4, stream));
  CUgraph captured;
  const CUgraphNode *tail;
  size_t count;
  cuuint64_t id;
  OK(cuStreamGetCaptureInfo(stream, &status, &id, &captured, &tail, &count));
  EQUAL(1u, count);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphDestroy(captured));
  CUgraph graph = end_capture(stream);
  CHECK(captured == graph);
  OK(cuStreamIsCapturing(stream, &status));
  EQUAL(CU_STREAM_CAPTURE_STATUS_NONE, status);
  EQUAL(3u, nodes_of(graph));
  CUgraphNode nodes[4];
  count = 4;
  OK(cuGraphGetNodes(graph, nodes, &count));
  EQUAL(3u, count);
  CHECK(nodes[3] == nullptr);
  CUgraphNodeType type;
  OK(cuGraphNodeGetType(nodes[0], &type));
  EQUAL(CU_GRAPH_NODE_TYPE_KERNEL, type);

  EQUAL(0, read_int(a));  // capturing ran nothing
  CUgraphExec exec = instantiate(graph);
  OK(cuGraphDestroy(graph));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuGraphDestroy(graph));
  OK(cuGraphLaunch(exec, stream));
  OK(cuGraphLaunch(exec, stream));
  OK(cuStreamSynchronize(stream));
  EQUAL(10, *host);
  OK(cuGraphLaunch(exec, nullptr));
  EQUAL(15, read_int(a));
  OK(cuMemFree(b));
  OK(cuGraphLaunch(exec, stream));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(stream));
  SAID("freed");
}

TEST(older_ways_to_instantiate) {
  start();
  CUstream stream = new_stream();
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  CUgraph graph = end_capture(stream);
  EQUAL(0u, nodes_of(graph));
  for (const char *name : {"cuGraphInstantiate", "cuGraphInstantiate_v2"}) {
    auto instantiate = reinterpret_cast<CUresult (*)(CUgraphExec *, CUgraph, CUgraphNode *, char *, size_t)>(
        dlsym(RTLD_DEFAULT, name));
    CUgraphExec exec;
    char log[10] = "unchanged";
    OK(instantiate(&exec, graph, nullptr, log, sizeof log));
    EQUAL(std::string(), log);
    OK(cuGraphLaunch(exec, stream));
    OK(cuGraphExecDestroy(exec));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuGraphLaunch(exec, stream));
  }
  OK(cuStreamSynchronize(stream));
}

// Begins a capture, makes a call that must fail with code, and ends the capture, which is then
// invalid.
static void in_capture(CUresult code, CUstreamCaptureMode mode, const std::function<CUresult(CUstream)> &call,
                       unsigned flags = CU_STREAM_NON_BLOCKING, CUresult end = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED) {
  CUstream stream = new_stream(flags);
  CUfunction f = function(store(), "store");
  OK(cuStreamBeginCapture(stream, mode));
  EXPECT(code, call(stream));
  if (end != CUDA_SUCCESS) {
    CUstreamCaptureStatus status;
    OK(cuStreamIsCapturing(stream, &status));
    EQUAL(CU_STREAM_CAPTURE_STATUS_INVALIDATED, status);
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, launch(f, 0, 0, stream));
  }
  CUgraph graph;
  EXPECT(end, cuStreamEndCapture(stream, &graph));
  CHECK((graph != nullptr) == (end == CUDA_SUCCESS));
  OK(cuCtxSynchronize());
}

TEST(calls_that_break_a_capture) {
  start();
  const CUresult unsupported = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, implicit = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  CUdeviceptr a = allocate(4);
  CUevent event = new_event(), recorded = new_event();
  OK(cuEventRecord(recorded, nullptr));
  OK(cuCtxSynchronize());
  for (CUstreamCaptureMode mode : {CU_STREAM_CAPTURE_MODE_GLOBAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL}) {
    in_capture(unsupported, mode, [&](CUstream) { return cuMemAlloc(&a, 4); });
    in_capture(unsupported, mode, [&](CUstream) { return cuMemFree(a); });
    in_capture(unsupported, mode, [&](CUstream) { return cuMemsetD32(a, 0, 1); });
    in_capture(unsupported, mode, [&](CUstream) { return cuEventQuery(recorded); });
  }
  const CUstreamCaptureMode relaxed = CU_STREAM_CAPTURE_MODE_RELAXED;
  in_capture(CUDA_SUCCESS, relaxed, [&](CUstream) { return cuMemAlloc(&a, 4); }, CU_STREAM_NON_BLOCKING, CUDA_SUCCESS);
  in_capture(
      CUDA_SUCCESS, relaxed, [&](CUstream) { return cuMemsetD32(a, 0, 1); }, CU_STREAM_NON_BLOCKING, CUDA_SUCCESS);
  in_capture(unsupported, relaxed, [&](CUstream stream) { return cuStreamSynchronize(stream); });
  in_capture(unsupported, relaxed, [&](CUstream stream) { return cuStreamQuery(stream); });
  in_capture(unsupported, relaxed, [&](CUstream) { return cuCtxSynchronize(); });
  in_capture(unsupported, relaxed, [&](CUstream stream) { return cuMemcpyHtoDAsync(a, &event, 4, stream); });
  in_capture(unsupported, relaxed, [&](CUstream stream) { return cuMemcpyDtoHAsync(&event, a, 4, stream); });
  in_capture(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, relaxed,
             [&](CUstream stream) { return cuStreamWaitEvent(stream, recorded, 0); });
  for (auto call : std::vector<std::function<CUresult(CUstream)>>{
           [&](CUstream) { return cuMemsetD32(a, 0, 1); }, [&](CUstream) { return cuMemcpyDtoH(&event, a, 4); },
           [&](CUstream) { return cuMemsetD32Async(a, 0, 1, nullptr); },
           [&](CUstream) { return cuStreamSynchronize(nullptr); },
           [&](CUstream) { return cuEventRecord(event, nullptr); }})
    in_capture(implicit, relaxed, call, CU_STREAM_DEFAULT);
}

TEST(captures_of_other_threads) {
  start();
  CUstream stream = new_stream();
  auto elsewhere = [&](const std::function<CUresult()> &call) {
    CUresult code;
    std::thread([&] {
      OK(cuCtxSetCurrent(context));
      code = call();
    }).join();
    return code;
  };
  CUdeviceptr a;
  CUgraph graph;
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  EQUAL(CUDA_SUCCESS, elsewhere([&] { return cuMemAlloc(&a, 4); }));
  OK(cuStreamEndCapture(stream, &graph));
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EQUAL(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, elsewhere([&] { return cuMemAlloc(&a, 4); }));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EQUAL(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, elsewhere([&] { return cuStreamEndCapture(stream, &graph); }));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  EQUAL(CUDA_SUCCESS, elsewhere([&] { return cuStreamEndCapture(stream, &graph); }));
}

TEST(begin_and_end_of_captures) {
  start();
  CUstream one = new_stream(), two = new_stream();
  CUevent event = new_event(), other = new_event();
  CUgraph graph;
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(one, &graph));
  OK(cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_RELAXED));
  EXPECT(CUDA_ERROR_ILLEGAL_STATE, cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_RELAXED));
  OK(cuEventRecord(event, one));
  EXPECT(CUDA_ERROR_CAPTURED_EVENT, cuEventQuery(event));
  OK(cuStreamWaitEvent(two, event, 0));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, cuStreamEndCapture(two, &graph));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(one, &graph));
  EXPECT(CUDA_ERROR_CAPTURED_EVENT, cuStreamWaitEvent(two, event, 0));

  // A fork that is not joined.
  CUdeviceptr a = allocate(4);
  OK(cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_RELAXED));
  OK(cuEventRecord(event, one));
  OK(cuStreamWaitEvent(two, event, 0));
  OK(cuMemsetD32Async(a, 1, 1, two));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, cuStreamEndCapture(one, &graph));
  OK(cuStreamSynchronize(two));

  // Two captures that would become one.
  OK(cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_RELAXED));
  OK(cuStreamBeginCapture(two, CU_STREAM_CAPTURE_MODE_RELAXED));
  OK(cuEventRecord(other, two));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_MERGE, cuStreamWaitEvent(one, other, 0));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(one, &graph));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(two, &graph));
}

// Captures a = 1 in one stream and a = 2 in a second, then b = a; returns b.
static int forked(bool joined_first) {
  start();
  CUstream one = new_stream(), two = new_stream();
  CUevent fork = new_event(), join = new_event();
  CUdeviceptr a = allocate(4), b = allocate(4);
  OK(cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(cuEventRecord(fork, one));
  OK(cuStreamWaitEvent(two, fork, 0));
  OK(cuMemsetD32Async(a, 1, 1, one));
  if (joined_first) {
    OK(cuEventRecord(fork, one));
    OK(cuStreamWaitEvent(two, fork, 0));
  }
  OK(cuMemsetD32Async(a, 2, 1, two));
  OK(cuEventRecord(join, two));
  OK(cuStreamWaitEvent(one, join, 0));
  OK(cuMemcpyDtoDAsync(b, a, 4, one));
  CUgraphExec exec = instantiate(end_capture(one));
  std::set<int> seen;
  for (int i = 0; i < 20; i++) {
    OK(cuGraphLaunch(exec, one));
    OK(cuStreamSynchronize(one));
    seen.insert(read_int(b));
  }
  return seen.size() == 1 ? *seen.begin() : 0;
}

TEST(a_forked_capture_keeps_its_order, {"ORDER", "1"}) { EQUAL(2, forked(true)); }

TEST(a_missing_dependency_shows, {"ORDER", "1"}) { EQUAL(0, forked(false)); }

TEST(updating_a_graph) {
  start();
  CUstream stream = new_stream();
  CUdeviceptr a = allocate(8);
  CUfunction f = function(store(), "store");
  auto capture = [&](int value, bool twice) {
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(launch(f, a, value, stream));
    if (twice) OK(launch(f, a + 4, value, stream));
    return end_capture(stream);
  };
  CUgraphExec exec = instantiate(capture(1, false));
  OK(cuGraphLaunch(exec, stream));
  CUgraphExecUpdateResultInfo result;
  OK(cuGraphExecUpdate(exec, capture(2, false), &result));
  OK(cuStreamSynchronize(stream));
  EQUAL(1, read_int(a));  // the graph as launched before the update
  OK(cuGraphLaunch(exec, stream));
  OK(cuStreamSynchronize(stream));
  EQUAL(2, read_int(a));
  EXPECT(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate(exec, capture(2, true), &result));
  EQUAL(CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, result.result);
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(cuMemsetD32Async(a, 0, 1, stream));
  EXPECT(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate(exec, end_capture(stream), &result));
  EQUAL(CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED, result.result);
}

// ---- settings

static std::vector<std::string> exported(const std::string &library, const std::string &prefix) {
  std::vector<std::string> names;
  FILE *nm = popen(("nm -D --defined-only '" + folder + "/" + library + "'").c_str(), "r");
  char name[200];
  while (fscanf(nm, "%*s %*s %199s", name) == 1)
    if (std::string(name).rfind(prefix, 0) == 0)
      names.push_back(name);
    else
      fail(__LINE__, std::string(name) + " is exported");
  pclose(nm);
  return names;
}

TEST(every_entry_point_can_fail) {
  auto names = exported("libcuda.so.1", "cu");
  CHECK(names.size() > 70);
  for (const std::string &name : names) {
    std::string entry = name;
    if (size_t at = name.find("_v"); at != std::string::npos) entry.resize(at);
    // Two versions of one name count as one.
    int status = with_setting("FAULT", entry + ":719", [&] {
      void *address = dlsym(RTLD_DEFAULT, name.c_str());
      auto call =
          reinterpret_cast<CUresult (*)(long, long, long, long, long, long, long, long, long, long, long)>(address);
      EXPECT(CUDA_ERROR_LAUNCH_FAILED, call(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    });
    if (status != 0) fail(__LINE__, name);
  }
}

TEST(the_nth_call_fails, {"FAULT", "cuMemAlloc:CUDA_ERROR_OUT_OF_MEMORY:3"}) {
  start();
  CUdeviceptr address;
  allocate(4);
  allocate(4);
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&address, 4));
  allocate(4);
}

TEST(a_launch_fails_later, {"FAULT", "cuLaunchKernel:CUDA_ERROR_LAUNCH_TIMEOUT:2:async"}) {
  start();
  CUdeviceptr a = allocate(4);
  CUfunction f = function(store(), "store");
  OK(launch(f, a, 1));
  EQUAL(1, read_int(a));
  OK(launch(f, a, 1));
  expect_broken(CUDA_ERROR_LAUNCH_TIMEOUT);
}

TEST(a_graph_fails_later, {"FAULT", "cuGraphLaunch:714:1:async"}) {
  start();
  CUstream stream = new_stream();
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  CUgraphExec exec = instantiate(end_capture(stream));
  OK(cuGraphLaunch(exec, stream));
  EXPECT(CUDA_ERROR_HARDWARE_STACK_ERROR, cuStreamSynchronize(stream));
}

TEST(a_lost_card, {"LOST_AFTER", "2"}) {
  start();
  CUdeviceptr a = allocate(4);
  CUfunction f = function(store(), "store");
  OK(launch(f, a, 1));
  OK(launch(f, a, 2));
  EQUAL(2, read_int(a));
  OK(launch(f, a, 3));
  EXPECT(CUDA_ERROR_DEVICE_UNAVAILABLE, cuCtxSynchronize());
  EXPECT(CUDA_ERROR_DEVICE_UNAVAILABLE, cuMemFree(a));
  OK(cuDevicePrimaryCtxReset(0));
  EXPECT(CUDA_ERROR_DEVICE_UNAVAILABLE, cuDevicePrimaryCtxRetain(&context, 0));
}

TEST(settings_that_are_refused) {
  auto init = [] { cuInit(0); };
  for (auto [name, value] : std::vector<std::pair<std::string, std::string>>{{"CARD", "77"},
                                                                              {"CARD", "90x"},
                                                                              {"CARD", "90,"},
                                                                              {"MEMORY", "-1"},
                                                                              {"CHECK", "all"},
                                                                              {"CARDS", "90"},
                                                                              {"ERROR", "left"},
                                                                              {"ERROR", "random:"},
                                                                              {"ERROR", "up*0"},
                                                                              {"FAULT", "cuInit"},
                                                                              {"FAULT", "cuInit:1:0"},
                                                                              {"FAULT", "cuInit:nonsense"},
                                                                              {"FAULT", "cuFly:1"},
                                                                              {"FAULT", "cuInit:1:1:async"}}) {
    EQUAL(2, with_setting(name, value, init));
    SAID("CRNN_EMULATOR_" + name);
  }
  EQUAL(0, with_setting("CARD", "", init));
}

TEST(counts) {
  const std::string path = folder + "/driver_test.counts";
  EQUAL(0, with_setting("COUNT", path, [] {
          start();
          CUdeviceptr a = allocate(256);
          CUfunction f = function(store(), "store");
          OK(launch(f, a, 1, nullptr, 64));
          OK(launch(f, a, 1, nullptr, 64));
          OK(cuCtxSynchronize());
        }));
  std::ifstream file(path);
  std::string header, name;
  unsigned long launches, instructions, fma, requests, sectors, bytes;
  std::getline(file, header);
  file >> name >> launches >> instructions >> fma >> requests >> sectors >> bytes;
  unlink(path.c_str());
  EQUAL("kernel\tlaunches", header.substr(0, 15));
  EQUAL("store", name);
  EQUAL(2u, launches);
  EQUAL(4u, requests);  // one for each of two warps, twice
  EQUAL(16u, sectors);
  EQUAL(512u, bytes);
}

// A PTX kernel that writes 2^1.5 by ex2.approx to each place.
static const char power[] = R"(.version 7.0
.target sm_75
.address_size 64
.visible .entry power(.param .u64 to)
{
  .reg .b64 %to;
  .reg .f32 %f;
  ld.param.u64 %to, [to];
  mov.f32 %f, 0f3FC00000;
  ex2.approx.ftz.f32 %f, %f;
  st.global.f32 [%to], %f;
  ret;
}
)";

TEST(errors) {
  const float exact = 2.8284271247f;
  int ulps = 0;
  for (std::string mode : {"down", "up", "up*4"})
    EQUAL(0, with_setting("ERROR", mode, [&] {
            start();
            CUmodule module;
            CUfunction f;
            OK(cuModuleLoadData(&module, power));
            OK(cuModuleGetFunction(&f, module, "power"));
            CUdeviceptr a = allocate(4);
            void *params[] = {&a};
            OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr));
            float got = read<float>(a, 1)[0];
            ulps = int(std::lround((got - exact) / 0x1p-22f));
            EQUAL(mode == "down" ? -2 : mode == "up" ? 2 : 8, ulps);
          }));
}

TEST(contexts_are_noted) {
  const std::string path = folder + "/driver_test.contexts";
  unlink(path.c_str());
  pid_t first = 0;
  for (int process = 0; process < 2; process++)
    EQUAL(-1, with_setting("CONTEXTS", path, [&] {
            OK(cuInit(0));
            if (process == 1) raise(SIGKILL);  // it has none
            OK(cuDevicePrimaryCtxRetain(&context, 0));
            OK(cuDevicePrimaryCtxRetain(&context, 0));  // the same
            OK(cuDevicePrimaryCtxRelease(0));
            OK(cuDevicePrimaryCtxRelease(0));
            OK(cuDevicePrimaryCtxRetain(&context, 0));  // a second one
            raise(SIGKILL);
          }));
  std::ifstream file(path);
  std::string name;
  unsigned number;
  for (unsigned want : {1u, 2u}) {
    pid_t pid;
    CHECK(file >> pid >> name >> number);
    CHECK(first == 0 || pid == first);
    first = pid;
    EQUAL("driver_test", name);
    EQUAL(want, number);
  }
  CHECK(!(file >> name));
  unlink(path.c_str());
}

// ---- the rest

TEST(error_names) {
  const char *text;
  OK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &text));
  EQUAL(std::string("CUDA_ERROR_OUT_OF_MEMORY"), text);
  OK(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
  EQUAL(std::string("out of memory"), text);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetErrorName(static_cast<CUresult>(12345), &text));
  CHECK(text == nullptr);
}

TEST(addresses_of_entry_points) {
  void *address;
  CUdriverProcAddressQueryResult status;
  OK(cuGetProcAddress("cuMemAlloc", &address, 12000, 0, &status));
  CHECK(address == dlsym(RTLD_DEFAULT, "cuMemAlloc_v2"));
  EXPECT(CUDA_ERROR_NOT_FOUND, cuGetProcAddress("cuFly", &address, 12000, 0, &status));
  EQUAL(CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, status);
  EXPECT(CUDA_ERROR_NOT_FOUND, cuGetProcAddress("cuMemAlloc", &address, 13000, 0, &status));
  EQUAL(CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT, status);
}

TEST(limits) {
  start();
  size_t value;
  OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
  OK(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
  EQUAL(4096u, value);
  EXPECT(CUDA_ERROR_UNSUPPORTED_LIMIT, cuCtxSetLimit(CU_LIMIT_MAX, 1));
}

TEST(nvml, {"CARD", "89"}, {"DEVICES", "2"}) {
  void *library = dlopen((folder + "/libnvidia-ml.so.1").c_str(), RTLD_NOW);
  CHECK(library);
  exported("libnvidia-ml.so.1", "nvml");
  auto call = [&](const char *name, auto... arguments) {
    void *address = dlsym(library, name);
    if (!address) fail(__LINE__, std::string("no ") + name);
    return reinterpret_cast<int (*)(decltype(arguments)...)>(address)(arguments...);
  };
  struct {
    unsigned long long total, free, used;
  } memory;
  struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
  } memory2{sizeof memory2 | 2 << 24, 0, 0, 0, 0};
  struct {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
  } process;
  void *device;
  char text[96];
  unsigned number;
  EQUAL(1, call("nvmlDeviceGetCount_v2", &number));  // not initialised
  EQUAL(0, call("nvmlInit_v2"));
  EQUAL(0, call("nvmlDeviceGetCount_v2", &number));
  EQUAL(2u, number);
  EQUAL(2, call("nvmlDeviceGetHandleByIndex_v2", 2u, &device));
  EQUAL(0, call("nvmlDeviceGetHandleByIndex_v2", 1u, &device));
  EQUAL(0, call("nvmlDeviceGetUUID", device, text, 96u));
  EQUAL(std::string("GPU-656d756c-6174-6564-2047-505500000001"), text);
  EQUAL(0, call("nvmlDeviceGetName", device, text, 96u));
  EQUAL(std::string("emulated sm_89 GPU"), text);
  EQUAL(7, call("nvmlDeviceGetName", device, text, 5u));
  EQUAL(0, call("nvmlSystemGetDriverVersion", text, 96u));
  EQUAL(0, call("nvmlDeviceGetMemoryInfo", device, &memory));
  EQUAL(4ull << 30, memory.total);
  EQUAL(0, call("nvmlDeviceGetMemoryInfo_v2", device, &memory2));
  EQUAL(4ull << 30, memory2.total);
  EQUAL(0, call("nvmlDeviceGetTemperature", device, 0, &number));
  EQUAL(0, call("nvmlDeviceGetPowerUsage", device, &number));
  number = 0;
  EQUAL(7, call("nvmlDeviceGetComputeRunningProcesses_v3", device, &number, nullptr));
  EQUAL(1u, number);
  EQUAL(0, call("nvmlDeviceGetComputeRunningProcesses_v3", device, &number, &process));
  EQUAL(unsigned(getpid()), process.pid);
  EQUAL(0, call("nvmlShutdown"));
  EQUAL(1, call("nvmlShutdown"));
}

TEST(nvml_fails, {"FAULT", "nvmlInit:15"}) {
  void *library = dlopen((folder + "/libnvidia-ml.so.1").c_str(), RTLD_NOW);
  EQUAL(15, reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"))());
  OK(cuInit(0));
}

// ----

static bool run(const Case &test) {
  fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    report = fdopen(dup(2), "w");
    dup2(memfd_create("stderr", 0), 2);
    for (auto &[name, value] : test.settings) setenv(("CRNN_EMULATOR_" + name).c_str(), value.c_str(), 1);
      alarm(120);  // ends a case that hangs; none takes a second
    test.body();
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (status == 0) return true;
  printf("FAILED: %s%s\n", test.name.c_str(),
         WIFSIGNALED(status) ? (" by signal " + std::to_string(WTERMSIG(status))).c_str() : "");
  return false;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: driver_test FOLDER [CASE…]\n");
    return 2;
  }
  folder = argv[1];
  std::set<std::string> wanted(argv + 2, argv + argc);
  int failed = 0, passed = 0;
  for (const Case &test : cases())
    if (wanted.empty() || wanted.count(test.name)) ++(run(test) ? passed : failed);
  printf("driver: %d cases passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0;
}
