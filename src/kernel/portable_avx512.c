/* The portable kernel for AVX-512. */
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define PORTABLE_SYMBOL attn_kernel_portable_avx512
#define PORTABLE_NAME "portable-avx512"
#define PORTABLE_SUMMARY "the same source compiled for AVX-512"
#define PORTABLE_NEEDS "AVX-512 F, BW, DQ and VL"
#define PORTABLE_CPU_HAS attn_cpu_avx512
#define PORTABLE_DECODE attn_decode_avx512
#define VECTOR_BYTES 64
#define VECTORS 2
#define KEY_TILE 8
#define VALUE_TILE 8
#if defined(__AVX512F__)
#define MAX_FLOAT(x, y) ((vec_float)_mm512_max_ps((__m512)(x), (__m512)(y)))
#define MAX_DOUBLE(x, y) ((vec_double)_mm512_max_pd((__m512d)(x), (__m512d)(y)))
#define MULTIPLY_WORDS(x, y) ((dropout_words)_mm512_mul_epu32((__m512i)(x), (__m512i)(y)))
#endif
#include "kernel/portable_level.h"
