/* The probes of AVX-512, which has 32 registers. */
#include <immintrin.h>

#define PROBE_SYMBOL(what) attn_probe_##what##_avx512
#define PROBE_NAME(what) what "-avx512"
#define PROBE_SUMMARY "512-bit vectors"
#define PROBE_NEEDS "AVX-512 F, BW, DQ and VL"
#define PROBE_CPU_HAS attn_cpu_avx512
#define VECTOR_BYTES 64
#define CHAINS 24
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define MAX_FLOAT(x, y) ((vec_float)_mm512_max_ps((__m512)(x), (__m512)(y)))
#include "measure/probe_vector_level.h"
