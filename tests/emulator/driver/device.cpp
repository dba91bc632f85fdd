// Devices, their primary contexts, and which context a thread uses.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "driver.h"

namespace emulator {

static bool init_called = false;

struct Device {
  CUcontext handle = nullptr;  // of the primary context, while it is retained
  unsigned retained = 0;
  unsigned flags = 0;
  bool lost = false;
  unsigned long kernels = 0;
};

static Device &device(CUdevice number) {
  static auto &all = *new std::vector<Device>(settings().visible.size());
  require(number >= 0 && static_cast<size_t>(number) < all.size(), CUDA_ERROR_INVALID_DEVICE,
          "there is no device " + std::to_string(number));
  return all[number];
}

static std::vector<CUcontext> &stack() {
  thread_local std::vector<CUcontext> contexts;
  return contexts;
}

bool is_initialised() { return init_called; }

std::shared_ptr<Context> current_context() {
  if (stack().empty() || !stack().back()) return nullptr;
  std::shared_ptr<Context> context = find_object<Context>(stack().back());
  require(context != nullptr, CUDA_ERROR_CONTEXT_IS_DESTROYED, "the current context was destroyed");
  return context;
}

const Card &card(CUdevice number) { return *settings().cards[settings().visible[number]]; }

const Card &card() { return card(current_context()->device); }

void count_towards_loss(int number) {
  std::lock_guard lock(mutex);
  Device &d = device(number);
  if (settings().lost_after && d.kernels++ >= *settings().lost_after) d.lost = true;
  require(!d.lost, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void destroy(CUcontext handle) {
  std::shared_ptr<Context> context = find_object<Context>(handle);
  drop_captures(*context);
  forget(handle);
  std::erase_if(objects(), [&](auto &item) { return item.second->context == context.get(); });
  close_streams(*context);
  release_all(*context);
}

// Notes, if asked for, a context that this process creates: at once, so that the note survives if the
// process is killed, and in one write, so that lines of several processes do not mix.
static void note_context() {
  const std::string &path = settings().contexts_file;
  if (path.empty()) return;
  static unsigned created = 0;
  char line[96];
  int length = snprintf(line, sizeof line, "%d\t%.64s\t%u\n", int(getpid()), program_invocation_short_name, ++created);
  int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0 || write(file, line, length) != length) refuse("CRNN_EMULATOR_CONTEXTS=" + path + ": cannot be written");
  close(file);
}

static int attribute(CUdevice_attribute name, CUdevice number) {
  const Card &c = card(number);
  switch (name) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return Card::threads_per_block;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return Card::shared_per_block;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 64 << 10;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return Card::warp;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: return Card::registers;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return Card::registers;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return c.clock_khz;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return c.memory_clock_khz;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return c.memory_bus_bits;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return c.l2_bytes;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return c.multiprocessors;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return c.threads_per_multiprocessor;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return c.blocks_per_multiprocessor;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return c.shared_per_multiprocessor;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return c.shared_per_block_optin;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return c.shared_reserved;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return c.capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return c.capability % 10;
    case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH: return c.processor_clusters > 0;
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: return 1;
    case CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT: return 0;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED: return 0;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY: return 1;
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM: return 1;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE: return CU_COMPUTEMODE_DEFAULT;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS: return 1;
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP: return 1;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 2;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: return 1;
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY: return 0;
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS: return 0;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 0;
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_ECC_ENABLED: return 0;
    case CU_DEVICE_ATTRIBUTE_TCC_DRIVER: return 0;
    case CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD: return 0;
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID: return 0;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return settings().visible[number] + 1;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID: return 0;
    default:
      throw Error{CUDA_ERROR_NOT_SUPPORTED, "the emulator does not know device attribute " + std::to_string(name)};
  }
}

}  // namespace emulator

using namespace emulator;

CUresult cuInit(unsigned flags) {
  return entry(__func__, anytime, [&] {
    require(flags == 0, CUDA_ERROR_INVALID_VALUE, "flags have to be 0");
    require(!settings().visible.empty(), CUDA_ERROR_NO_DEVICE);
    init_called = true;
  });
}

CUresult cuDriverGetVersion(int *version) {
  return entry(__func__, anytime, [&] {
    require(version, CUDA_ERROR_INVALID_VALUE);
    *version = settings().driver;
  });
}

CUresult cuDeviceGetCount(int *count) {
  return entry(__func__, initialised, [&] {
    require(count, CUDA_ERROR_INVALID_VALUE);
    *count = settings().visible.size();
  });
}

CUresult cuDeviceGet(CUdevice *number, int ordinal) {
  return entry(__func__, initialised, [&] {
    require(number, CUDA_ERROR_INVALID_VALUE);
    device(ordinal);
    *number = ordinal;
  });
}

CUresult cuDeviceGetName(char *name, int length, CUdevice number) {
  return entry(__func__, initialised, [&] {
    require(name && length > 0, CUDA_ERROR_INVALID_VALUE);
    device(number);
    snprintf(name, length, "%s", card(number).name().c_str());
  });
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute name, CUdevice number) {
  return entry(__func__, initialised, [&] {
    require(value, CUDA_ERROR_INVALID_VALUE);
    device(number);
    *value = attribute(name, number);
  });
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice number) {
  return entry(__func__, initialised, [&] {
    require(bytes, CUDA_ERROR_INVALID_VALUE);
    device(number);
    *bytes = settings().memory;
  });
}

static CUresult get_uuid(const char *entry_point, CUuuid *id, CUdevice number) {
  return entry(entry_point, initialised, [&] {
    require(id, CUDA_ERROR_INVALID_VALUE);
    device(number);
    memcpy(id->bytes, device_uuid(settings().visible[number]).data(), sizeof id->bytes);
  });
}

CUresult cuDeviceGetUuid(CUuuid *id, CUdevice number) { return get_uuid(__func__, id, number); }

CUresult cuDeviceGetUuid_v2(CUuuid *id, CUdevice number) { return get_uuid(__func__, id, number); }

CUresult cuDevicePrimaryCtxRetain(CUcontext *handle, CUdevice number) {
  return entry(__func__, initialised, [&] {
    require(handle, CUDA_ERROR_INVALID_VALUE);
    Device &d = device(number);
    require(!d.lost, CUDA_ERROR_DEVICE_UNAVAILABLE);
    if (d.retained++ == 0) {
      auto context = std::make_shared<Context>();
      context->device = number;
      context->null_stream = new_stream(*context, CU_STREAM_DEFAULT, 0);
      context->limits = {
          {CU_LIMIT_STACK_SIZE, 1024}, {CU_LIMIT_PRINTF_FIFO_SIZE, 1 << 20}, {CU_LIMIT_MALLOC_HEAP_SIZE, 8 << 20}};
      d.handle = publish<CUcontext>(context);
      note_context();
    }
    *handle = d.handle;
  });
}

CUresult cuDevicePrimaryCtxRelease(CUdevice number) {
  return entry(__func__, initialised, [&] {
    Device &d = device(number);
    require(d.retained > 0, CUDA_ERROR_INVALID_CONTEXT, "the primary context was not retained");
    if (--d.retained == 0) destroy(std::exchange(d.handle, nullptr));
  });
}

CUresult cuDevicePrimaryCtxReset(CUdevice number) {
  return entry(__func__, initialised, [&] {
    Device &d = device(number);
    d.retained = 0;
    if (d.handle) destroy(std::exchange(d.handle, nullptr));
  });
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice number, unsigned flags) {
  return entry(__func__, initialised, [&] { device(number).flags = flags; });
}

CUresult cuDevicePrimaryCtxGetState(CUdevice number, unsigned *flags, int *active) {
  return entry(__func__, initialised, [&] {
    require(flags && active, CUDA_ERROR_INVALID_VALUE);
    *flags = device(number).flags;
    *active = device(number).retained > 0;
  });
}

static void require_context(CUcontext handle) {
  require(find_object<Context>(handle) != nullptr, CUDA_ERROR_INVALID_CONTEXT,
          "not a context, or one that was destroyed");
}

CUresult cuCtxSetCurrent(CUcontext handle) {
  return entry(__func__, initialised, [&] {
    if (handle) require_context(handle);
    if (stack().empty())
      stack().push_back(handle);
    else
      stack().back() = handle;
  });
}

CUresult cuCtxGetCurrent(CUcontext *handle) {
  return entry(__func__, initialised, [&] {
    require(handle, CUDA_ERROR_INVALID_VALUE);
    *handle = stack().empty() ? nullptr : stack().back();
  });
}

CUresult cuCtxPushCurrent(CUcontext handle) {
  return entry(__func__, initialised, [&] {
    require_context(handle);
    stack().push_back(handle);
  });
}

CUresult cuCtxPopCurrent(CUcontext *handle) {
  return entry(__func__, initialised, [&] {
    require(!stack().empty(), CUDA_ERROR_INVALID_CONTEXT, "this thread has no current context");
    if (handle) *handle = stack().back();
    stack().pop_back();
  });
}

CUresult cuCtxGetDevice(CUdevice *number) {
  return entry(__func__, initialised, [&](Context &context) {
    require(number, CUDA_ERROR_INVALID_VALUE);
    *number = context.device;
  });
}

CUresult cuCtxGetFlags(unsigned *flags) {
  return entry(__func__, initialised, [&](Context &context) {
    require(flags, CUDA_ERROR_INVALID_VALUE);
    *flags = device(context.device).flags;
  });
}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned *version) {
  return entry(__func__, initialised, [&] {
    require(version, CUDA_ERROR_INVALID_VALUE);
    if (handle) require_context(handle);
    *version = 3020;
  });
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
  return entry(__func__, initialised, [&](Context &context) {
    require(context.limits.count(limit), CUDA_ERROR_UNSUPPORTED_LIMIT);
    context.limits[limit] = value;
  });
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
  return entry(__func__, initialised, [&](Context &context) {
    require(value, CUDA_ERROR_INVALID_VALUE);
    require(context.limits.count(limit), CUDA_ERROR_UNSUPPORTED_LIMIT);
    *value = context.limits[limit];
  });
}

CUresult cuCtxSynchronize() {
  return entry(__func__, initialised, [&](Context &context) {
    refuse_in_capture(true);
    finish(context);
  });
}
