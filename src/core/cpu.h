/* What this CPU can run, asked at run time. */
#ifndef ATTN_CORE_CPU_H
#define ATTN_CORE_CPU_H

#include <stdbool.h>

/* Always true: code for the baseline of the target. */
bool attn_cpu_baseline(void);

/* AVX2, FMA and F16C. */
bool attn_cpu_avx2(void);

/* AVX-512 F, BW, DQ and VL. */
bool attn_cpu_avx512(void);

#endif
