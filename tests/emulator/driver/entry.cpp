// The way into every exported function: injected faults, the current context and its state,
// captures, and the returned code.
#include <dlfcn.h>

#include <cstdio>

#include "driver.h"

namespace emulator {

std::mutex mutex;
// Threads of streams may still wait when the process ends, so the objects they use are never destroyed.
std::condition_variable_any &changed = *new std::condition_variable_any;

std::map<uintptr_t, std::shared_ptr<Object>> &objects() {
  static auto &all = *new std::map<uintptr_t, std::shared_ptr<Object>>;
  return all;
}

uintptr_t new_handle(std::shared_ptr<Object> object) {
  static uintptr_t last = 0x1000;  // above the handles that cuda.h gives a meaning
  last += 16;
  objects()[last] = std::move(object);
  return last;
}

static void *symbol(const std::string &name) {
  static void *library = [] {
    Dl_info self;
    dladdr(reinterpret_cast<void *>(&cuInit), &self);
    return dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  }();
  return dlsym(library, name.c_str());
}

// The exported name of an entry point, given its name without a version's suffix.
static void *newest_version(const std::string &name) {
  for (const char *suffix : {"_v3", "_v2", ""})
    if (void *found = symbol(name + suffix)) return found;
  return nullptr;
}

static std::optional<CUresult> planted;

// Says whether the current call is the one that must fail.
static void inject_fault(const char *name) {
  static unsigned long calls = 0;
  static const InjectedFault *fault = [] {
    const InjectedFault &asked = settings().fault;
    // The entry points of NVML are in its own library.
    if (asked.entry.empty() || asked.entry.rfind("nvml", 0) == 0) return static_cast<const InjectedFault *>(nullptr);
    if (!newest_version(asked.entry)) refuse("CRNN_EMULATOR_FAULT: there is no entry point " + asked.entry);
    if (!error_code(asked.code)) refuse("CRNN_EMULATOR_FAULT: there is no error " + asked.code);
    return &asked;
  }();
  if (!fault || without_version(name) != fault->entry || ++calls != fault->nth) return;
  if (!fault->asynchronous) throw Error{*error_code(fault->code)};
  planted = error_code(fault->code);
}

std::optional<CUresult> take_planted_error() { return std::exchange(planted, std::nullopt); }

// Notes a call, if that was asked for.
static void note_call(const char *name) {
  static FILE *file = [] {
    const std::string &path = settings().calls_file;
    if (path.empty()) return static_cast<FILE *>(nullptr);
    FILE *opened = fopen(path.c_str(), "a");
    if (!opened) refuse("CRNN_EMULATOR_CALLS=" + path + ": cannot be written");
    setvbuf(opened, nullptr, _IOLBF, 0);
    return opened;
  }();
  if (file) fprintf(file, "%s\n", without_version(name).c_str());
}

CUresult enter(const char *name, Kind kind, bool needs_context, const std::function<void(Context *)> &body) {
  std::lock_guard lock(mutex);
  note_call(name);
  try {
    inject_fault(name);
    if (kind != anytime) require(is_initialised(), CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called");
    std::shared_ptr<Context> context;
    if (needs_context) {
      context = current_context();
      require(context != nullptr, CUDA_ERROR_INVALID_CONTEXT, "this thread has no current context");
      require(context->error == CUDA_SUCCESS, context->error);
    }
    if (kind == unsafe) refuse_in_capture(false);
    body(context.get());
    return CUDA_SUCCESS;
  } catch (const Error &error) {
    if (!error.why.empty()) say(std::string(name) + ": " + error_name(error.code) + ": " + error.why);
    return error.code;
  } catch (const std::exception &error) {  // memory or threads of this machine
    say(std::string(name) + ": " + error.what());
    return CUDA_ERROR_OPERATING_SYSTEM;
  }
}

}  // namespace emulator

using namespace emulator;

static CUresult get_proc_address(const char *entry_point, const char *name, void **function, int version,
                                 CUdriverProcAddressQueryResult *status) {
  return entry(entry_point, anytime, [&] {
    require(name && function, CUDA_ERROR_INVALID_VALUE, "no name, or nowhere to put the address");
    *function = newest_version(name);
    bool old = version > settings().driver;
    if (old) *function = nullptr;
    if (status)
      *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS
                : old     ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                          : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    require(*function, CUDA_ERROR_NOT_FOUND);
  });
}

#undef cuGetProcAddress
extern "C" CUresult cuGetProcAddress(const char *name, void **function, int version, cuuint64_t) {
  return get_proc_address(__func__, name, function, version, nullptr);
}

extern "C" CUresult cuGetProcAddress_v2(const char *name, void **function, int version, cuuint64_t,
                                        CUdriverProcAddressQueryResult *status) {
  return get_proc_address(__func__, name, function, version, status);
}
