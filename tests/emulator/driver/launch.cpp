// Launches of kernels, and the number of their blocks that fit on a card.
#include <algorithm>
#include <cstring>

#include "module.h"

namespace emulator {

struct Shape {
  unsigned x = 0, y = 0, z = 0;
  uint64_t count() const { return uint64_t(x) * y * z; }
  std::string text() const { return std::to_string(x) + "x" + std::to_string(y) + "x" + std::to_string(z); }
};

struct Geometry {
  Shape grid, block;
  size_t shared = 0;
  Shape cluster = {};  // 0: none
  bool cooperative = false;
};

// The geometry of a launch, with the clusters for which the kernel was compiled.
static Geometry geometry(const Function &function, const CUlaunchConfig &config) {
  Geometry g{{config.gridDimX, config.gridDimY, config.gridDimZ},
             {config.blockDimX, config.blockDimY, config.blockDimZ},
             config.sharedMemBytes};
  const unsigned *compiled = function.kernel->cluster;
  g.cluster = {compiled[0], compiled[1], compiled[2]};
  require(config.numAttrs == 0 || config.attrs, CUDA_ERROR_INVALID_VALUE, "no attributes where some are announced");
  for (unsigned i = 0; i < config.numAttrs; i++) {
    const CUlaunchAttribute &a = config.attrs[i];
    switch (a.id) {
      case CU_LAUNCH_ATTRIBUTE_IGNORE:
      case CU_LAUNCH_ATTRIBUTE_PRIORITY: break;
      case CU_LAUNCH_ATTRIBUTE_COOPERATIVE: g.cooperative = a.value.cooperative != 0; break;
      case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION: {
        Shape asked{a.value.clusterDim.x, a.value.clusterDim.y, a.value.clusterDim.z};
        require(g.cluster.count() == 0 || g.cluster.text() == asked.text(), CUDA_ERROR_INVALID_CLUSTER_SIZE,
                function.kernel->name + " was compiled for clusters of " + g.cluster.text() + ", not " + asked.text());
        g.cluster = asked;
        break;
      }
      default:
        throw Error{CUDA_ERROR_NOT_SUPPORTED, "the emulator does not know launch attribute " + std::to_string(a.id)};
    }
  }
  return g;
}

// Clusters of a function that run at the same time on the whole card.
static int resident_clusters(const Function &function, const Geometry &g) {
  int blocks = resident_blocks(function, g.block.count(), g.shared), clusters = 0;
  for (int multiprocessors : card().multiprocessors_by_cluster())
    clusters += multiprocessors * blocks / int(g.cluster.count());
  return clusters;
}

static void check_cluster(const Function &function, const Geometry &g) {
  const std::string &name = function.kernel->name;
  require(card().processor_clusters > 0, CUDA_ERROR_NOT_SUPPORTED, name + ": this card has no clusters");
  uint64_t most = function.large_clusters ? 16 : 8;
  require(g.cluster.count() <= most, CUDA_ERROR_INVALID_CLUSTER_SIZE,
          name + ": clusters of " + g.cluster.text() + " blocks, at most " + std::to_string(most) + " are allowed");
  require(g.grid.x % g.cluster.x == 0 && g.grid.y % g.cluster.y == 0 && g.grid.z % g.cluster.z == 0,
          CUDA_ERROR_INVALID_VALUE,
          name + ": a grid of " + g.grid.text() + " is not made of whole clusters of " + g.cluster.text());
}

static void check(const Function &function, const Geometry &g) {
  const std::string &name = function.kernel->name;
  require(g.grid.count() > 0 && g.grid.x <= 0x7fffffff && g.grid.y <= 65535 && g.grid.z <= 65535,
          CUDA_ERROR_INVALID_VALUE, name + ": a grid of " + g.grid.text());
  require(g.block.count() > 0 && g.block.x <= 1024 && g.block.y <= 1024 && g.block.z <= 64 &&
              g.block.count() <= unsigned(function.max_threads()),
          CUDA_ERROR_INVALID_VALUE,
          name + ": blocks of " + g.block.text() + " threads, at most " + std::to_string(function.max_threads()));
  require(g.shared <= size_t(function.max_dynamic_shared), CUDA_ERROR_INVALID_VALUE,
          name + ": " + std::to_string(g.shared) + " bytes of dynamic shared memory, at most " +
              std::to_string(function.max_dynamic_shared) + " unless cuFuncSetAttribute allows more");
  int blocks = resident_blocks(function, g.block.count(), g.shared);
  require(blocks > 0, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, name + ": a block does not fit on a multiprocessor");
  if (g.cluster.count() > 0) {
    check_cluster(function, g);
    require(resident_clusters(function, g) > 0, CUDA_ERROR_INVALID_CLUSTER_SIZE,
            name + ": a cluster does not fit on the card");
  }
  require(!g.cooperative || g.grid.count() <= uint64_t(blocks) * card().multiprocessors,
          CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
          name + ": a grid of " + g.grid.text() + " does not fit on the card at once");
}

// Copies the parameters, from an array of their addresses or from the buffer that `extra` names.
static std::vector<char> copy_params(const ptx::Kernel &kernel, void **params, void **extra) {
  std::vector<char> bytes(kernel.param_bytes);
  require(!params || !extra, CUDA_ERROR_INVALID_VALUE, kernel.name + ": parameters given in both ways");
  if (extra) {
    const char *buffer = nullptr;
    size_t size = 0;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
      if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
        buffer = static_cast<char *>(extra[1]);
      else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
        size = *static_cast<size_t *>(extra[1]);
      else
        throw Error{CUDA_ERROR_INVALID_VALUE, kernel.name + ": an unknown extra option"};
    }
    require(
        size == bytes.size() && (buffer || size == 0), CUDA_ERROR_INVALID_VALUE,
        kernel.name + ": " + std::to_string(size) + " bytes of parameters instead of " + std::to_string(bytes.size()));
    if (size > 0) memcpy(bytes.data(), buffer, size);
    return bytes;
  }
  require(params || kernel.params.empty(), CUDA_ERROR_INVALID_VALUE, kernel.name + ": no parameters");
  for (size_t i = 0; i < kernel.params.size(); i++) {
    const ptx::Param &param = kernel.params[i];
    require(params[i], CUDA_ERROR_INVALID_VALUE, kernel.name + ": no parameter " + param.name);
    memcpy(bytes.data() + param.offset, params[i], param.size);
  }
  return bytes;
}

// Runs one kernel after the other, which is one of the orders possible on a card.
static void run_kernel(const ptx::Module &module, const ptx::Kernel &kernel, const Geometry &g,
                       const std::vector<char> &params, int device) {
  static auto &busy = *new std::mutex;
  std::lock_guard lock(busy);
  count_towards_loss(device);
  ptx::Counts counts;
  ptx::Options options{settings().threads, settings().races, settings().order, counting() ? &counts : nullptr,
                       settings().errors};
  ptx::run(
      {&module, &kernel, {g.grid.x, g.grid.y, g.grid.z}, {g.block.x, g.block.y, g.block.z}, g.shared, params.data()},
      memory(), options);
  if (counting()) count_launch(kernel.name, counts);
}

static CUresult launch(const char *entry_point, const CUlaunchConfig &config, CUfunction handle, void **params,
                       void **extra) {
  return entry(entry_point, initialised, [&](Context &context) {
    auto function = get<Function>(&context, handle);
    auto stream = get_stream(context, config.hStream);
    Geometry g = geometry(*function, config);
    check(*function, g);
    ptx::Kernel kernel = *function->kernel;
    std::tie(kernel.cluster[0], kernel.cluster[1], kernel.cluster[2]) = std::tie(g.cluster.x, g.cluster.y, g.cluster.z);
    submit(*stream, {CU_GRAPH_NODE_TYPE_KERNEL, function->kernel,
                     [module = function->module, kernel, g, bytes = copy_params(kernel, params, extra),
                      device = context.device] { run_kernel(*module->code, kernel, g, bytes, device); }});
  });
}

static CUresult max_active_blocks(const char *entry_point, int *blocks, CUfunction handle, int threads, size_t shared) {
  return entry(entry_point, initialised, [&](Context &context) {
    require(blocks && threads > 0, CUDA_ERROR_INVALID_VALUE);
    *blocks = resident_blocks(*get<Function>(&context, handle), threads, shared);
  });
}

}  // namespace emulator

using namespace emulator;

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void **params,
                        void **extra) {
  CUlaunchConfig config{grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, nullptr, 0};
  return launch(__func__, config, function, params, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                                   CUstream stream, void **params) {
  CUlaunchAttribute cooperative{};
  cooperative.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  cooperative.value.cooperative = 1;
  CUlaunchConfig config{grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, &cooperative, 1};
  return launch(__func__, config, function, params, nullptr);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
  static const CUlaunchConfig none{};
  return launch(__func__, config ? *config : none, function, params, extra);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared) {
  return max_active_blocks(__func__, blocks, function, threads, shared);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function, int threads,
                                                              size_t shared, unsigned) {
  return max_active_blocks(__func__, blocks, function, threads, shared);
}

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction handle, const CUlaunchConfig *config) {
  return entry(__func__, initialised, [&](Context &context) {
    require(clusters && config, CUDA_ERROR_INVALID_VALUE);
    auto function = get<Function>(&context, handle);
    Geometry g = geometry(*function, *config);
    require(g.cluster.count() > 0, CUDA_ERROR_INVALID_VALUE, function->kernel->name + ": no size of cluster given");
    check_cluster(*function, g);
    *clusters = resident_clusters(*function, g);
  });
}
