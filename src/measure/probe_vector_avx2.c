/* The probes of AVX2 and FMA, which have 16 registers. */
#include <immintrin.h>

#define PROBE_SYMBOL(what) attn_probe_##what##_avx2
#define PROBE_NAME(what) what "-avx2"
#define PROBE_SUMMARY "256-bit vectors"
#define PROBE_NEEDS "AVX2 and FMA"
#define PROBE_CPU_HAS attn_cpu_avx2
#define VECTOR_BYTES 32
#define CHAINS 12
#define TILE_ROWS 4
#define TILE_VECTORS 3
#define MAX_FLOAT(x, y) ((vec_float)_mm256_max_ps((__m256)(x), (__m256)(y)))
#include "measure/probe_vector_level.h"
