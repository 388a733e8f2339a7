/* The probes of the baseline of the target: SSE2 on x86-64, Advanced SIMD on aarch64. */
#define PROBE_SYMBOL(what) attn_probe_##what
#define PROBE_NAME(what) what ""
#define PROBE_SUMMARY "128-bit vectors, compiled for the baseline of the target"
#define PROBE_NEEDS "nothing"
#define PROBE_CPU_HAS attn_cpu_baseline
#define VECTOR_BYTES 16
#define CHAINS 12
#define TILE_ROWS 4
#define TILE_VECTORS 2
#include "measure/probe_vector_level.h"
