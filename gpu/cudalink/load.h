#include <stddef.h>

// cudalink_load loads libcuda.so.1 and points the driver's functions to it. It returns what cuInit
// returns, or -1 with the loader's message in error. path receives the library's file.
int cudalink_load(char *path, char *error, size_t size);

// cudalink_lacking returns the missing function of the library that was called last, or NULL.
const char *cudalink_lacking(void);
