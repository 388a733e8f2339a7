/* The portable kernel for AVX-512. */
#define PORTABLE_SYMBOL attn_kernel_portable_avx512
#define PORTABLE_NAME "portable-avx512"
#define PORTABLE_SUMMARY "the same source compiled for AVX-512"
#define PORTABLE_NEEDS "AVX-512 F, BW, DQ and VL"
#define PORTABLE_CPU_HAS attn_cpu_avx512
#define VECTOR_BYTES 64
#define KEY_TILE 8
#define VALUE_TILE 8
#include "kernel/portable_level.h"
