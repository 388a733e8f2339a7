/* Decoding for AVX2, FMA and F16C. */
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define DECODE_LEVEL attn_decode_avx2
#define VECTOR_BYTES 32
#define SUMS 8
#if defined(__AVX2__)
#define KEEP(v) __asm__("" : "+v"(v))
#define MAX_FLOAT(x, y) ((vec_float)_mm256_max_ps((__m256)(x), (__m256)(y)))
#define MAX_DOUBLE(x, y) ((vec_double)_mm256_max_pd((__m256d)(x), (__m256d)(y)))
#define FLOAT_OF_FLOAT16(half) _mm256_cvtph_ps((__m128i)(half))
#endif
#include "kernel/decode_level.h"
