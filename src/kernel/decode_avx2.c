/* Decoding for AVX2, FMA and F16C. */
#include <immintrin.h>

#define DECODE_LEVEL attn_decode_avx2
#define VECTOR_BYTES 32
#define SUMS 8
#define MAX_FLOAT(x, y) ((vec_float)_mm256_max_ps((__m256)(x), (__m256)(y)))
#define MAX_DOUBLE(x, y) ((vec_double)_mm256_max_pd((__m256d)(x), (__m256d)(y)))
#define FLOAT_OF_FLOAT16(half) _mm256_cvtph_ps((__m128i)(half))
#include "kernel/decode_level.h"
