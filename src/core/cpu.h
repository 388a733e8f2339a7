/* What this CPU can run, asked at run time. */
#ifndef ATTN_CORE_CPU_H
#define ATTN_CORE_CPU_H

#include <stdbool.h>

/* Always true: code for the baseline of the target. */
bool attn_cpu_baseline(void);

/* Always false: code that the compiler could not make. */
bool attn_cpu_none(void);

/* AVX2, FMA and F16C. */
bool attn_cpu_avx2(void);

/* AVX-512 F, BW, DQ and VL. */
bool attn_cpu_avx512(void);

/* AVX-512 as above and its bfloat16 dot products. */
bool attn_cpu_avx512_bf16(void);

/* Whether bfloat16 dot products do more work in the same time than float32 multiply-adds: twice as much where AMD made
 * the CPU (Zen 4 and later), less where Intel did (measured on one with tiles: 98 against 157 GFLOP/s). */
bool attn_cpu_fast_bf16_dots(void);

/* AVX-512 with bfloat16 as above, tiles (AMX) and their bfloat16 products. Asks the operating system for the use of
 * tiles as well, for all threads of the process, as it must be asked before the first tile is touched; the answer
 * stays. */
bool attn_cpu_amx_bf16(void);

#endif
