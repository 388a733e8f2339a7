/* Decoding for the baseline of the target: SSE2 on x86-64, Advanced SIMD on aarch64. */
#define DECODE_LEVEL attn_decode_baseline
#define VECTOR_BYTES 16
#define SUMS 8
#include "kernel/decode_level.h"
