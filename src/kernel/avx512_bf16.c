/* The bfloat16 kernel for AVX512-BF16: a dot product of two pairs is added to each lane (VDPBF16PS). */
#include "core/cpu.h"
#include "kernel/decode.h"
#include "kernel/kernel.h"

#if defined(__AVX512BF16__)

enum { BLOCK_ROWS = 384, KEY_BLOCK = 128 };

#include "kernel/bf16_task.h"
/* after it */
#include "kernel/bf16_backward.h"

enum { TILE = 8 }; /* keys, or columns of V, of a register tile; times VECTORS sums */

static int64_t count_key_groups(const bf16_work *w)
{
    (void)w;
    return CHUNK / TILE;
}

static int64_t count_value_groups(const bf16_work *w, int64_t keys)
{
    (void)keys;
    return (w->Dv + TILE - 1) / TILE;
}

/* TILE rows of pairs, each times the lanes of a row of pairs: sum[n] += from[n][pair] to[pair]. */
static inline __attribute__((always_inline)) void
multiply_tile(const uint16_t *from, int64_t stride, const uint32_t *lanes, int64_t pairs, __m512 sum[TILE][VECTORS])
{
    for (int64_t p = 0; p < pairs; p++) {
        UNROLL
        for (int n = 0; n < TILE; n++) {
            uint32_t pair;
            __m512i all;

            memcpy(&pair, from + n * stride + 2 * p, sizeof pair);
            all = _mm512_set1_epi32((int32_t)pair);
            UNROLL
            for (int m = 0; m < VECTORS; m++)
                sum[n][m] = _mm512_dpbf16_ps(sum[n][m], (__m512bh)_mm512_loadu_si512(lanes + p * LANES + m * WIDTH),
                                             (__m512bh)all);
        }
    }
}

static void multiply_keys(bf16_work *w, const bf16_keys *keys, const bf16_chunk *chunk, bf16_softmax *beside)
{
    for (int64_t row = 0; row < CHUNK; row += TILE) {
        const uint16_t *k = keys->k + (chunk->j + row) * keys->k_stride;
        float *scores = chunk->scores + row * LANES;
        __m512 sum[TILE][VECTORS];

        UNROLL
        for (int n = 0; n < TILE; n++)
            for (int m = 0; m < VECTORS; m++)
                sum[n][m] = _mm512_setzero_ps();
        multiply_tile(k, keys->k_stride, chunk->stage->panel->q, (w->D + 1) / 2, sum);
        UNROLL
        for (int n = 0; n < TILE; n++)
            for (int m = 0; m < VECTORS; m++)
                _mm512_storeu_ps(scores + n * LANES + m * WIDTH, sum[n][m]);
        softmax_pairs(beside, beside->share);
        prefetch_lines(&w->products.ahead);
    }
}

static void multiply_values(bf16_work *w, const bf16_keys *keys, const bf16_stage *stage, bf16_softmax *beside)
{
    for (int64_t d = 0; d < w->Dv; d += TILE) {
        float *o = stage->panel->o + d * LANES;
        __m512 sum[TILE][VECTORS];

        UNROLL
        for (int n = 0; n < TILE; n++)
            for (int m = 0; m < VECTORS; m++)
                sum[n][m] = _mm512_mul_ps(_mm512_loadu_ps(o + n * LANES + m * WIDTH), stage->rescale[m]);
        multiply_tile(keys->v + d * VALUE_STRIDE + stage->from, VALUE_STRIDE, stage->weights,
                      (stage->to - stage->from) / 2, sum);
        UNROLL
        for (int n = 0; n < TILE; n++)
            for (int m = 0; m < VECTORS; m++)
                _mm512_storeu_ps(o + n * LANES + m * WIDTH, sum[n][m]);
        softmax_pairs(beside, beside->share);
        prefetch_lines(&w->products.ahead);
    }
}

static void finish_products(bf16_work *w)
{
    (void)w;
}

static int64_t count_groups(int64_t count)
{
    (void)count;
    return CHUNK / TILE;
}

static void multiply_block(bf16_backward *w, const uint16_t *from, int64_t stride, const uint32_t *lanes, int64_t count,
                           bool add, float *c)
{
    for (int64_t row = 0; row < CHUNK; row += TILE) {
        float *const to = c + row * LANES;
        __m512 sum[TILE][VECTORS];

        UNROLL
        for (int n = 0; n < TILE; n++)
            for (int m = 0; m < VECTORS; m++)
                sum[n][m] = add ? _mm512_loadu_ps(to + n * LANES + m * WIDTH) : _mm512_setzero_ps();
        multiply_tile(from + row * stride, stride, lanes, count / 2, sum);
        UNROLL
        for (int n = 0; n < TILE; n++)
            for (int m = 0; m < VECTORS; m++)
                _mm512_storeu_ps(to + n * LANES + m * WIDTH, sum[n][m]);
        prefetch_lines(&w->products.ahead);
    }
}

static void finish_blocks(bf16_backward *w)
{
    (void)w;
}

#endif

const attn_kernel attn_kernel_avx512_bf16 = {
    .name = "avx512-bf16",
    .summary = "bfloat16 dot products of AVX-512",
    .needs = "AVX512-BF16",
    .peak = "dot-bfloat16-avx512",
#if defined(__AVX512BF16__)
    .cpu_has = attn_cpu_avx512_bf16,
    .cpu_prefers = attn_cpu_fast_bf16_dots,
    .forward = {[ATTN_BFLOAT16] = run_task},
    .block_rows = block_rows,
    .key_block = KEY_BLOCK,
    .panel_rows = panel_rows,
    .scratch_bytes = scratch_bytes,
    .backward = {[ATTN_BFLOAT16] = run_backward},
    .backward_keys = backward_keys,
    .backward_bytes = backward_bytes,
    .decode = &attn_decode_avx512,
    .paged = true,
#else
    .cpu_has = attn_cpu_none,
#endif
};
