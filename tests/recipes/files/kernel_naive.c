/* Attention in two passes over the keys: the largest score first, then the weighted sum. Softmax as in textbooks, with
 * none of the tricks of the other kernels, in float64. */
#include "core/cpu.h"
#include "kernel/kernel.h"

#include <math.h>

typedef struct place {
    const attn_forward_setup *setup;
    const attn_forward_buffers *buffers;
    int64_t b, h, i; /* batch, global head, global row */
    int64_t q;       /* of the row in the array q */
} place;

/* Index of the first element of a row. */
static int64_t row_of(const attn_array *array, int64_t b, int64_t head, int64_t row)
{
    return b * array->batch_stride + head * array->head_stride + row * array->row_stride;
}

/* s(i,j) of attn/problem.h for the key in a row of a part. */
static double score(const place *at, int64_t part, int64_t k, int64_t row)
{
    const attn_problem *problem = at->setup->problem;
    const int64_t j = attn_segments_global(at->setup->part_rows[part], row);
    double s = 0;

    for (int64_t d = 0; d < problem->shape.head_dim; d++)
        s += attn_load(problem->dtype, at->buffers->q.data, (size_t)(at->q + d)) *
             attn_load(problem->dtype, at->buffers->k[part].data, (size_t)(k + d));
    s *= problem->score.scale;
    if (problem->score.softcap > 0)
        s = problem->score.softcap * tanh(s / problem->score.softcap);
    if (problem->score.alibi_slopes != NULL)
        s -=
            problem->score.alibi_slopes[at->h] * fabs((double)(at->i + problem->shape.kv_seq - problem->shape.seq - j));
    return s;
}

/* One pass over the visible keys: the maximum into *max when weighted is NULL, otherwise sum and weighted values. */
static void pass(const place *at, int64_t kv_head, double *max, double *sum, double *weighted)
{
    const attn_problem *problem = at->setup->problem;
    const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, at->b, at->i);

    for (int64_t part = 0; part < at->setup->part_count; part++) {
        const attn_segments *rows = at->setup->part_rows[part];
        const int64_t end = attn_segments_below(rows, keys.hi);

        for (int64_t row = attn_segments_below(rows, keys.lo); row < end; row++) {
            const double s = score(at, part, row_of(&at->buffers->k[part], at->b, kv_head, row), row);
            const int64_t v = row_of(&at->buffers->v[part], at->b, kv_head, row);

            if (weighted == NULL) {
                *max = s > *max || isnan(s) ? s : *max;
                continue;
            }
            if (s == -INFINITY) /* weighs nothing, whatever the value */
                continue;
            *sum += exp(s - *max);
            for (int64_t d = 0; d < problem->shape.v_head_dim; d++)
                weighted[d] += exp(s - *max) * attn_load(problem->dtype, at->buffers->v[part].data, (size_t)(v + d));
        }
    }
}

static void forward(const attn_forward_setup *setup, const attn_forward_buffers *buffers, const attn_task *task,
                    void *scratch)
{
    const attn_problem *problem = setup->problem;
    const bool sink = setup->add_sinks && problem->score.sinks != NULL;
    double *weighted = scratch;

    for (int64_t f = task->row; f < task->row + task->rows; f++) {
        const int64_t local = attn_task_head(task, f), r = attn_task_row(task, f), h = setup->head_begin + local;
        const place at = {
            setup, buffers, task->b, h, attn_segments_global(setup->q_rows, r), row_of(&buffers->q, task->b, local, r)};
        const int64_t o = row_of(&buffers->o, task->b, local, r), lse = row_of(&buffers->lse, task->b, local, r);
        double max = sink ? problem->score.sinks[h] : -INFINITY, sum = 0;

        for (int64_t d = 0; d < problem->shape.v_head_dim; d++)
            weighted[d] = 0;
        pass(&at, task->kv_head, &max, NULL, NULL);
        pass(&at, task->kv_head, &max, &sum, weighted);
        sum += sink ? exp(problem->score.sinks[h] - max) : 0;
        for (int64_t d = 0; d < problem->shape.v_head_dim; d++)
            attn_store(setup->o_dtype, buffers->o.data, (size_t)(o + d), sum == 0 ? 0 : weighted[d] / sum);
        attn_store(attn_dtype_accumulator(problem->dtype), buffers->lse.data, (size_t)lse,
                   sum == 0 ? -INFINITY : max + log(sum));
    }
}

static int64_t block_rows(const attn_shape *shape, attn_dtype dtype)
{
    (void)shape, (void)dtype;
    return 16;
}

static int64_t panel_rows(attn_dtype dtype)
{
    (void)dtype;
    return 1;
}

static size_t scratch_bytes(const attn_shape *shape, attn_dtype dtype, int64_t rows)
{
    (void)dtype, (void)rows;
    return (size_t)shape->v_head_dim * sizeof(double);
}

const attn_kernel attn_kernel_naive = {
    .name = "naive",
    .summary = "two passes over the keys, in float64",
    .needs = "nothing",
    .cpu_has = attn_cpu_baseline,
    .forward =
        {[ATTN_FLOAT64] = forward, [ATTN_FLOAT32] = forward, [ATTN_FLOAT16] = forward, [ATTN_BFLOAT16] = forward},
    .block_rows = block_rows,
    .panel_rows = panel_rows,
    .scratch_bytes = scratch_bytes,
};
