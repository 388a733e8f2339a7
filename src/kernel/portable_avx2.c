/* The portable kernel for AVX2, FMA and F16C. */
#define PORTABLE_SYMBOL attn_kernel_portable_avx2
#define PORTABLE_NAME "portable-avx2"
#define PORTABLE_SUMMARY "the same source compiled for AVX2 and FMA"
#define PORTABLE_NEEDS "AVX2 and FMA"
#define PORTABLE_CPU_HAS attn_cpu_avx2
#define VECTOR_BYTES 32
#define KEY_TILE 4
#define VALUE_TILE 4
#include "kernel/portable_level.h"
