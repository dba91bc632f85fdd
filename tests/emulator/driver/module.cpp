// Modules: PTX texts are checked and decoded as the driver's own compiler would.
#include "module.h"

#include <algorithm>
#include <cstring>

namespace emulator {

// The longest list of parameters in bytes: PTX ISA 8.1 and sm_70 raised it.
static size_t param_limit(unsigned version) { return version >= 81 ? 32764 : 4096; }

// The newest PTX ISA that a driver's compiler takes, as in the PTX ISA manual's release notes.
static unsigned newest_ptx(int driver) {
  int major = driver / 1000, minor = driver % 1000 / 10;
  if (major == 12 && minor >= 6) return 80 + minor - 1;
  return (major - 4) * 10 + minor;
}

struct Header {
  unsigned version = 0, target = 0;
  char suffix = 0;  // a: only for that architecture
};

// The directives at the head, read first: if the text is too new, the rest may contain anything.
static Header read_header(const std::string &text) {
  Header header;
  size_t line_start = 0;
  while (line_start < text.size() && header.target == 0) {
    size_t line_end = std::min(text.find('\n', line_start), text.size());
    std::string line = text.substr(line_start, line_end - line_start);
    unsigned major, minor;
    if (sscanf(line.c_str(), " .version %u.%u", &major, &minor) == 2) header.version = major * 10 + minor;
    sscanf(line.c_str(), " .target sm_%u%c", &header.target, &header.suffix);
    line_start = line_end + 1;
  }
  return header;
}

static std::string dotted(unsigned version) {
  return std::to_string(version / 10) + "." + std::to_string(version % 10);
}

// The logs that a caller of cuModuleLoadDataEx asked for.
struct Log {
  char *error = nullptr, *info = nullptr;
  size_t error_size = 0, info_size = 0;
  void **error_used = nullptr, **info_used = nullptr;

  Log(unsigned count, CUjit_option *options, void **values) {
    require(count == 0 || (options && values), CUDA_ERROR_INVALID_VALUE, "options without values");
    for (unsigned i = 0; i < count; i++) {
      size_t number = reinterpret_cast<size_t>(values[i]);
      switch (options[i]) {
        case CU_JIT_ERROR_LOG_BUFFER: error = static_cast<char *>(values[i]); break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
          error_size = static_cast<unsigned>(number), error_used = &values[i];
          break;
        case CU_JIT_INFO_LOG_BUFFER: info = static_cast<char *>(values[i]); break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
          info_size = static_cast<unsigned>(number), info_used = &values[i];
          break;
        default:
          // The other options change the speed of the code, not its results.
          require(options[i] >= 0 && options[i] < CU_JIT_NUM_OPTIONS, CUDA_ERROR_INVALID_VALUE, "an unknown option");
      }
    }
    write(error, error_size, error_used, "");
    write(info, info_size, info_used, "");
  }

  [[noreturn]] void fail(CUresult code, const std::string &message) const {
    write(error, error_size, error_used, message);
    throw Error{code};
  }

  static void write(char *buffer, size_t size, void **used, const std::string &message) {
    size_t length = size > 0 ? std::min(message.size(), size - 1) : 0;
    if (buffer && size > 0) {
      memcpy(buffer, message.data(), length);
      buffer[length] = 0;
    }
    if (used) *used = reinterpret_cast<void *>(length);
  }
};

static std::unique_ptr<ptx::Module> compile(const char *image, const Log &log) {
  // An ELF file or a bundle of several: code of a real card.
  if (memcmp(image, "\x7f" "ELF", 4) == 0 || memcmp(image, "\x50\xed\x55\xba", 4) == 0)
    throw Error{CUDA_ERROR_INVALID_IMAGE, "the emulator runs PTX only, not compiled code"};
  std::string text = image;
  Header header = read_header(text);
  int capability = card().capability;
  if (header.version == 0 || header.target == 0)
    log.fail(CUDA_ERROR_INVALID_PTX, "missing .version or .target directive");
  if (header.version > newest_ptx(settings().driver))
    log.fail(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "unsupported .version " + dotted(header.version) +
                                                     ": the current version is " +
                                                     dotted(newest_ptx(settings().driver)));
  bool fits = header.suffix == 'a' ? int(header.target) == capability : int(header.target) <= capability;
  if (!fits)
    log.fail(CUDA_ERROR_INVALID_PTX, "the .target sm_" + std::to_string(header.target) +
                                         (header.suffix == 'a' ? "a" : "") + " does not run on sm_" +
                                         std::to_string(capability));
  try {
    auto module = ptx::parse(text);
    for (const ptx::Kernel &kernel : module->kernels) {
      if (kernel.param_bytes > param_limit(header.version))
        log.fail(CUDA_ERROR_INVALID_PTX,
                 kernel.name + ": " + std::to_string(kernel.param_bytes) + " bytes of parameters");
      if (kernel.static_shared > size_t(Card::shared_per_block))
        log.fail(CUDA_ERROR_INVALID_PTX,
                 kernel.name + ": " + std::to_string(kernel.static_shared) + " bytes of static shared memory");
    }
    return module;
  } catch (const ptx::ParseError &error) {
    // Printed in any case: a lack of the emulator is no mistake of the caller.
    say(error.what());
    log.fail(CUDA_ERROR_INVALID_PTX, error.what());
  }
}

static void release_globals(const Module &module) {
  for (const ptx::Global &global : module.code->globals)
    if (global.address) release(global.address);
}

static CUmodule load(Context &context, const void *image, const Log &log) {
  require(image, CUDA_ERROR_INVALID_VALUE, "no image");
  auto module = std::make_shared<Module>();
  module->context = &context;
  module->code = compile(static_cast<const char *>(image), log);
  try {
    for (ptx::Global &global : module->code->globals) {
      global.address = allocate(context, global.size);
      memcpy(host_address(global.address, global.size), global.init.data(), global.size);
    }
  } catch (const Error &) {
    release_globals(*module);
    throw;
  }
  return publish<CUmodule>(module);
}

int Function::max_threads() const { return kernel->max_threads ? kernel->max_threads : Card::threads_per_block; }

int Function::registers() const {
  int warps = (max_threads() + Card::warp - 1) / Card::warp;
  int bound = Card::registers / (warps * Card::warp) / 8 * 8;
  return std::clamp<int>((kernel->registers + 7) / 8 * 8, 16, std::min(bound, 255));
}

int resident_blocks(const Function &function, unsigned threads, size_t dynamic_shared) {
  const Card &c = card();
  size_t shared = function.kernel->static_shared + dynamic_shared;
  if (threads == 0 || threads > unsigned(function.max_threads()) || shared > size_t(c.shared_per_block_optin)) return 0;
  int warps = (threads + Card::warp - 1) / Card::warp;
  // Registers are given to a warp in units of 256, shared memory to a block in units of 128 bytes.
  int registers_per_warp = (function.registers() * Card::warp + 255) / 256 * 256;
  int shared_per_block = (shared + c.shared_reserved + 127) / 128 * 128;
  int blocks = std::min(c.blocks_per_multiprocessor, c.threads_per_multiprocessor / Card::warp / warps);
  blocks = std::min(blocks, Card::registers / registers_per_warp / warps);
  return shared_per_block > 0 ? std::min(blocks, c.shared_per_multiprocessor / shared_per_block) : blocks;
}

static int attribute(const Function &function, CUfunction_attribute name) {
  const ptx::Kernel &kernel = *function.kernel;
  switch (name) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return function.max_threads();
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: return kernel.static_shared;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES: return 0;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: return kernel.local;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: return function.registers();
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: return function.module->code->target;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: return card().capability;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: return 0;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: return function.max_dynamic_shared;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: return function.preferred_carveout;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH: return kernel.cluster[0];
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT: return kernel.cluster[1];
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH: return kernel.cluster[2];
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED: return function.large_clusters;
    default:
      throw Error{CUDA_ERROR_NOT_SUPPORTED, "the emulator does not know function attribute " + std::to_string(name)};
  }
}

static void set_attribute(Function &function, CUfunction_attribute name, int value) {
  switch (name) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: {
      int most = card().shared_per_block_optin - int(function.kernel->static_shared);
      require(value >= 0 && value <= most, CUDA_ERROR_INVALID_VALUE,
              function.kernel->name + ": " + std::to_string(value) + " bytes of dynamic shared memory, at most " +
                  std::to_string(most) + " on this card");
      function.max_dynamic_shared = value;
      return;
    }
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      require(value >= -1 && value <= 100, CUDA_ERROR_INVALID_VALUE, "a carveout is -1 or a percentage");
      function.preferred_carveout = value;
      return;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      require(card().processor_clusters > 0, CUDA_ERROR_NOT_SUPPORTED, "this card has no clusters");
      function.large_clusters = value != 0;
      return;
    default:
      throw Error{CUDA_ERROR_INVALID_VALUE, "function attribute " + std::to_string(name) + " cannot be set"};
  }
}

}  // namespace emulator

using namespace emulator;

CUresult cuModuleLoadData(CUmodule *handle, const void *image) {
  return entry(__func__, unsafe, [&](Context &context) {
    require(handle, CUDA_ERROR_INVALID_VALUE);
    *handle = load(context, image, Log(0, nullptr, nullptr));
  });
}

CUresult cuModuleLoadDataEx(CUmodule *handle, const void *image, unsigned count, CUjit_option *options, void **values) {
  return entry(__func__, unsafe, [&](Context &context) {
    require(handle, CUDA_ERROR_INVALID_VALUE);
    *handle = load(context, image, Log(count, options, values));
  });
}

CUresult cuModuleUnload(CUmodule handle) {
  return entry(__func__, unsafe, [&](Context &context) {
    auto module = get<Module>(&context, handle);
    finish(context);
    release_globals(*module);
    for (auto &[name, function] : module->functions) forget(function);
    forget(handle);
  });
}

CUresult cuModuleGetFunction(CUfunction *handle, CUmodule module_handle, const char *name) {
  return entry(__func__, initialised, [&](Context &context) {
    require(handle && name, CUDA_ERROR_INVALID_VALUE);
    auto module = get<Module>(&context, module_handle);
    CUfunction &known = module->functions[name];
    if (!known) {
      const ptx::Kernel *kernel = module->code->find(name);
      require(kernel, CUDA_ERROR_NOT_FOUND);
      auto function = std::make_shared<Function>();
      function->context = &context;
      function->module = module;
      function->kernel = kernel;
      function->max_dynamic_shared = Card::shared_per_block - int(kernel->static_shared);
      known = publish<CUfunction>(function);
    }
    *handle = known;
  });
}

CUresult cuModuleGetGlobal(CUdeviceptr *address, size_t *size, CUmodule handle, const char *name) {
  return entry(__func__, initialised, [&](Context &context) {
    require(name, CUDA_ERROR_INVALID_VALUE);
    auto module = get<Module>(&context, handle);
    for (const ptx::Global &global : module->code->globals) {
      if (global.name != name) continue;
      if (address) *address = global.address;
      if (size) *size = global.size;
      return;
    }
    throw Error{CUDA_ERROR_NOT_FOUND};
  });
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute name, CUfunction handle) {
  return entry(__func__, initialised, [&](Context &context) {
    require(value, CUDA_ERROR_INVALID_VALUE);
    *value = attribute(*get<Function>(&context, handle), name);
  });
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute name, int value) {
  return entry(__func__, initialised,
               [&](Context &context) { set_attribute(*get<Function>(&context, handle), name, value); });
}
