/* Decoding for AVX-512. */
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define DECODE_LEVEL attn_decode_avx512
#define VECTOR_BYTES 64
#define SUMS 16
#if defined(__AVX512F__)
#define KEEP(v) __asm__("" : "+v"(v))
#define MAX_FLOAT(x, y) ((vec_float)_mm512_max_ps((__m512)(x), (__m512)(y)))
#define MAX_DOUBLE(x, y) ((vec_double)_mm512_max_pd((__m512d)(x), (__m512d)(y)))
#define FLOAT_OF_FLOAT16(half) _mm512_cvtph_ps((__m256i)(half))
#define LOAD_PART(from, bytes) _mm512_maskz_loadu_epi8(((uint64_t)1 << (bytes)) - 1, (from))
#endif
#include "kernel/decode_level.h"
