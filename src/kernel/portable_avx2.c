/* The portable kernel for AVX2, FMA and F16C. */
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define PORTABLE_SYMBOL attn_kernel_portable_avx2
#define PORTABLE_NAME "portable-avx2"
#define PORTABLE_SUMMARY "the same source compiled for AVX2 and FMA"
#define PORTABLE_NEEDS "AVX2 and FMA"
#define PORTABLE_CPU_HAS attn_cpu_avx2
#define PORTABLE_DECODE attn_decode_avx2
#define VECTOR_BYTES 32
#define VECTORS 3
#define KEY_TILE 4
#define VALUE_TILE 4
#if defined(__AVX2__)
#define MAX_FLOAT(x, y) ((vec_float)_mm256_max_ps((__m256)(x), (__m256)(y)))
#define MAX_DOUBLE(x, y) ((vec_double)_mm256_max_pd((__m256d)(x), (__m256d)(y)))
#define MULTIPLY_WORDS(x, y) ((dropout_words)_mm256_mul_epu32((__m256i)(x), (__m256i)(y)))
#endif
#include "kernel/portable_level.h"
