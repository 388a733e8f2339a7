/* The peak of bfloat16 dot products (VDPBF16PS): each lane of a sum gets two products. Independent chains as in
 * probe_fma_loop.h; there is one unit or two, and a result takes about 6 cycles. */
#include "core/cpu.h"
#include "measure/probe.h"

#if defined(__AVX512BF16__)

#include <immintrin.h>

enum { CHAINS = 24, REPEATS = 4, LANES = 16 };

#if defined(__clang__)
#define PROBE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PROBE_UNROLL _Pragma("GCC unroll 32")
#endif

static void pass(void *context, int thread, int64_t passes)
{
    volatile float one = 1, keep; /* unknown to the compiler and of use to it: nothing can be left out */
    const __m512 small = _mm512_set1_ps(one * 1e-3f);
    const __m512bh a = _mm512_cvtne2ps_pbh(small, small);
    __m512 sums[CHAINS];

    (void)context, (void)thread;
    for (int c = 0; c < CHAINS; c++)
        sums[c] = _mm512_set1_ps(one * (float)c);
    for (int64_t n = 0; n < passes; n++) {
        PROBE_UNROLL
        for (int r = 0; r < REPEATS; r++) {
            PROBE_UNROLL
            for (int c = 0; c < CHAINS; c++)
                sums[c] = _mm512_dpbf16_ps(sums[c], a, a);
        }
    }
    for (int c = 1; c < CHAINS; c++)
        sums[0] = _mm512_add_ps(sums[0], sums[c]);
    keep = _mm512_reduce_add_ps(sums[0]);
    (void)keep;
}

static attn_status run_here(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    const attn_probe_work work = {.pass = pass, .amount = 4.0 * LANES * CHAINS * REPEATS};

    return attn_probe_time(&work, setup, out, error);
}

#else

#define run_here NULL /* never called: cpu_has is false there */

#endif

const attn_probe attn_probe_bf16 = {
    .name = "dot-bfloat16-avx512",
    .summary = "peak of bfloat16 dot products, 512-bit vectors",
    .unit = "FLOP/s",
    .needs = "AVX-512 with bfloat16 dot products",
#if defined(__AVX512BF16__)
    .cpu_has = attn_cpu_avx512_bf16,
#else
    .cpu_has = attn_cpu_none,
#endif
    .peak_of = ATTN_DTYPE_COUNT,
    .run = run_here,
};
