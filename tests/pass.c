#include "pass.h"

#include "harness.h"

#include <stdlib.h>
#include <string.h>

pass pass_make(const fixture *f, attn_dist *dist)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const attn_part *part = attn_dist_part(dist);
    pass run = {.dist = dist};
    size_t o_bytes, lse_bytes;

    run.q =
        fixture_cut(s, dtype, f->q, s->heads, s->seq, s->head_dim, part->head_begin, part->head_count, part->q_rows);
    run.k = fixture_cut(s, dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, part->kv_head_begin, part->kv_head_count,
                        part->kv_rows);
    run.v = fixture_cut(s, dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, part->kv_head_begin, part->kv_head_count,
                        part->kv_rows);
    o_bytes = (size_t)fixture_elements(s, attn_dist_output_heads(dist), part->q_rows->rows, s->v_head_dim) *
              attn_dtype_size(dtype);
    lse_bytes = (size_t)fixture_elements(s, part->head_count, part->q_rows->rows, 1) *
                attn_dtype_size(attn_dtype_accumulator(dtype));
    run.buffers =
        (attn_dist_buffers){.q = run.q, .k = run.k, .v = run.v, .o = malloc(o_bytes + 1), .lse = malloc(lse_bytes + 1)};
    memset(run.buffers.o, 0xff, o_bytes);
    memset(run.buffers.lse, 0xff, lse_bytes);
    return run;
}

void pass_forward(pass *run)
{
    double seconds[ATTN_PHASE_COUNT], sum = 0;

    TEST_OK(attn_dist_forward(run->dist, &run->buffers, seconds, &attn_test_error));
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
        CU_ASSERT(seconds[phase] >= 0);
        sum += phase == ATTN_PHASE_TOTAL ? 0 : seconds[phase];
    }
    TEST_CLOSE(sum, seconds[ATTN_PHASE_TOTAL], 1e-9); /* the phases leave nothing out */
}

void pass_compare(const fixture *f, const pass *run)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(run->dist);
    const int64_t rows = part->q_rows->rows, heads = attn_dist_output_heads(run->dist);
    const int64_t head_begin = attn_dist_output_head_begin(run->dist);
    const attn_dtype sum_dtype = attn_dtype_accumulator(f->problem.dtype);

    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t r = 0; r < rows; r++) {
                const int64_t at = (b * s->heads + head_begin + h) * s->seq + attn_segments_global(part->q_rows, r);

                for (int64_t d = 0; d < s->v_head_dim; d++)
                    TEST_CLOSE(attn_load(f->problem.dtype, run->buffers.o,
                                         (size_t)(((b * heads + h) * rows + r) * s->v_head_dim + d)),
                               f->o[at * s->v_head_dim + d], fixture_tolerance(f));
            }
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < part->head_count; h++)
            for (int64_t r = 0; r < rows; r++)
                TEST_CLOSE(
                    attn_load(sum_dtype, run->buffers.lse, (size_t)((b * part->head_count + h) * rows + r)),
                    f->lse[(b * s->heads + part->head_begin + h) * s->seq + attn_segments_global(part->q_rows, r)],
                    fixture_tolerance(f));
}

void pass_finish(pass *run)
{
    attn_dist_destroy(run->dist);
    free(run->q);
    free(run->k);
    free(run->v);
    free(run->buffers.o);
    free(run->buffers.lse);
}
