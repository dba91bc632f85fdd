// A stand-in for NVIDIA's libnvidia-ml.so.1 with one card, that of libcuda.c.

#include <string.h>

#ifndef INIT
#define INIT 0
#endif

static int card;

int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Not Supported"; }

static int text(char *to, unsigned int size, const char *from) {
	strncpy(to, from, size);
	return 0;
}

int nvmlSystemGetDriverVersion(char *version, unsigned int size) { return text(version, size, "535.104.05"); }
int nvmlSystemGetProcessName(unsigned int id, char *name, unsigned int size) { return text(name, size, "python3"); }
int nvmlDeviceGetName(void *device, char *name, unsigned int size) { return text(name, size, "Stand-in"); }
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int size) {
	return text(uuid, size, "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f");
}

#ifndef OLD
int nvmlSystemGetCudaDriverVersion_v2(int *version) {
	*version = 12020;
	return 0;
}
#endif

#ifndef OLD
int nvmlDeviceGetMigMode(void *device, unsigned int *current, unsigned int *pending) {
#ifdef MIG
	*current = *pending = 1;
	return 0;
#else
	return 3; // not supported, as by most cards
#endif
}
#endif

int nvmlDeviceGetCount_v2(unsigned int *count) {
	*count = 1;
	return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
	*device = &card;
	return index ? 2 : 0;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long memory[3]) { // total, free, used
	memory[0] = 80ull << 30;
	memory[1] = 78ull << 30;
	memory[2] = 2ull << 30;
	return 0;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *celsius) {
	*celsius = 41;
	return 0;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
	*milliwatts = 68400;
	return 3; // not supported, so this is not to be shown
}

struct process {
	unsigned int id;
	unsigned long long memory;
	unsigned int instance, compute;
};

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, struct process *processes) {
	unsigned int room = *count;
	*count = 1;
	if (room < 1)
		return 7; // too small
	processes[0] = (struct process){1234, 1ull << 30, -1, -1};
	return 0;
}
