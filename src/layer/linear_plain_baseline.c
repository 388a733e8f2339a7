/* Plain products for the baseline of the target: SSE2 on x86-64, Advanced SIMD on aarch64. */
#define PLAIN_SYMBOL attn_linear_plain
#define PLAIN_NAME "plain"
#define PLAIN_CPU_HAS attn_cpu_baseline
#define VECTOR_BYTES 16
#define VECTORS 2
#define TILE_ROWS 6
#include "layer/linear_plain_level.h"
