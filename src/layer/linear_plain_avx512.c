/* Plain products for AVX-512. */
#define PLAIN_SYMBOL attn_linear_plain_avx512
#define PLAIN_NAME "plain-avx512"
#define PLAIN_CPU_HAS attn_cpu_avx512
#define VECTOR_BYTES 64
#define VECTORS 2
#define TILE_ROWS 12
#include "layer/linear_plain_level.h"
