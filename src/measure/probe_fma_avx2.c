/* The multiply-add peaks of AVX2 and FMA, which have 16 registers. */
#define FMA_SYMBOL(type) attn_probe_fma_##type##_avx2
#define FMA_NAME(type) "fma-" type "-avx2"
#define FMA_SUMMARY "multiply-add peak of 256-bit vectors"
#define FMA_NEEDS "AVX2 and FMA"
#define FMA_CPU_HAS attn_cpu_avx2
#define VECTOR_BYTES 32
#define CHAINS 12
#include "measure/probe_fma_level.h"
