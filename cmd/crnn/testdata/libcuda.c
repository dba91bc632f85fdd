// A stand-in for NVIDIA's libcuda.so.1 that answers as told by macros and computes nothing.

#ifndef INIT
#define INIT 0
#endif
#ifndef VERSION
#define VERSION 12020
#endif
#ifndef COUNT
#define COUNT 1
#endif
#ifndef CAPABILITY
#define CAPABILITY 90
#endif
#ifndef MODE
#define MODE 0
#endif
#ifndef NAME
#define NAME "Stand-in"
#endif
#ifndef RETAIN
#define RETAIN 0
#endif

static int started;

int cuInit(unsigned int flags) {
	started = INIT == 0;
	return INIT;
}

int cuDriverGetVersion(int *version) {
	*version = VERSION;
	return 0;
}

int cuDeviceGetCount(int *count) {
	*count = COUNT;
	return started ? 0 : 3;
}

int cuDeviceGet(int *device, int index) {
	*device = index;
	return index < COUNT ? 0 : 101;
}

int cuDeviceGetName(char *name, int size, int device) {
	for (const char *from = NAME; (*name++ = *from++);)
		;
	return 0;
}

#ifndef WITHOUT_MEMORY
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) {
	*bytes = 8ul << 30;
	return 0;
}
#endif

int cuDeviceGetUuid_v2(char *uuid, int device) {
	for (int i = 0; i < 16; i++)
		uuid[i] = i + device;
	return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
	switch (attribute) {
	case 75: *value = CAPABILITY / 10; break;
	case 76: *value = CAPABILITY % 10; break;
	case 20: *value = MODE; break;
	default: *value = 1;
	}
	return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
	*context = &started;
	return RETAIN;
}

int cuGetErrorName(int code, const char **name) {
	*name = "CUDA_ERROR_OF_THE_STAND_IN";
	return 0;
}

int cuGetErrorString(int code, const char **text) {
	*text = "nobody knows";
	return 0;
}
