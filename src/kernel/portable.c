/* The portable kernel for the baseline of the target: SSE2 on x86-64, Advanced SIMD on aarch64. */
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define PORTABLE_SYMBOL attn_kernel_portable
#define PORTABLE_NAME "portable"
#define PORTABLE_SUMMARY "blocked, online softmax, compiled for the baseline of the target"
#define PORTABLE_NEEDS "nothing"
#define PORTABLE_CPU_HAS attn_cpu_baseline
#define PORTABLE_DECODE attn_decode_baseline
#define VECTOR_BYTES 16
#define VECTORS 2
#define KEY_TILE 4
#define VALUE_TILE 4
#if defined(__SSE2__)
#define MULTIPLY_WORDS(x, y) ((dropout_words)_mm_mul_epu32((__m128i)(x), (__m128i)(y)))
#endif
#include "kernel/portable_level.h"
