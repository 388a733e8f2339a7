/* The multiply-add peaks of the baseline of the target: SSE2 on x86-64, Advanced SIMD on aarch64. */
#define FMA_SYMBOL(type) attn_probe_fma_##type
#define FMA_NAME(type) "fma-" type ""
#define FMA_SUMMARY "multiply-add peak of 128-bit vectors, compiled for the baseline of the target"
#define FMA_NEEDS "nothing"
#define FMA_CPU_HAS attn_cpu_baseline
#define VECTOR_BYTES 16
#define CHAINS 12
#include "measure/probe_fma_level.h"
