/* The multiply-add peaks of AVX-512, which has 32 registers. */
#define FMA_SYMBOL(type) attn_probe_fma_##type##_avx512
#define FMA_NAME(type) "fma-" type "-avx512"
#define FMA_SUMMARY "multiply-add peak of 512-bit vectors"
#define FMA_NEEDS "AVX-512 F, BW, DQ and VL"
#define FMA_CPU_HAS attn_cpu_avx512
#define VECTOR_BYTES 64
#define CHAINS 24
#include "measure/probe_fma_level.h"
