/* Plain products for AVX2 and FMA. */
#define PLAIN_SYMBOL attn_linear_plain_avx2
#define PLAIN_NAME "plain-avx2"
#define PLAIN_CPU_HAS attn_cpu_avx2
#define VECTOR_BYTES 32
#define VECTORS 2
#define TILE_ROWS 6
#include "layer/linear_plain_level.h"
