//go:build cuda

#define _GNU_SOURCE
#include "load.h"

#include <dlfcn.h>
#include <stdio.h>

#define HIDDEN __attribute__((visibility("hidden")))

// Of forward.S.
extern HIDDEN void *cudalink_slots[], **cudalink_lacked;
extern HIDDEN void cudalink_missing(void);

static const char *const names[] = {
#define SYMBOL(name) #name,
#include "symbols.h"
};

// cuInit is called by gorgonia.org/cu when the program starts, and success is the one answer that
// lets it go on. The driver's own is called by cudalink_load.
HIDDEN int cuInit(unsigned int flags) { return 0; }

int cudalink_load(char *path, char *error, size_t size) {
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		snprintf(error, size, "%s", dlerror());
		return -1;
	}
	int (*init)(unsigned int) = (int (*)(unsigned int))dlsym(library, "cuInit");
	Dl_info info;
	if (!init || !dladdr((void *)init, &info)) {
		snprintf(error, size, "libcuda.so.1 has no function cuInit");
		return -1;
	}
	snprintf(path, size, "%s", info.dli_fname);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		void *function = dlsym(library, names[i]);
		cudalink_slots[i] = function ? function : (void *)cudalink_missing;
	}
	return init(0);
}

const char *cudalink_lacking(void) {
	return cudalink_lacked ? names[cudalink_lacked - cudalink_slots] : NULL;
}
