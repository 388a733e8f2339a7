/* Attention as it is defined, in float64 and plain loops: what every kernel is checked against. */
#include "kernel/reference.h"

#include "core/cpu.h"
#include "kernel/kernel.h"

#include <attn/random.h>

#include <math.h>

double attn_reference_score(const attn_problem *problem, const double *q, int64_t h, int64_t i, int64_t j,
                            const double *key)
{
    const attn_shape *shape = &problem->shape;
    double s = 0;

#pragma omp simd reduction(+ : s)
    for (int64_t d = 0; d < shape->head_dim; d++)
        s += q[d] * key[d];
    s *= problem->score.scale;
    if (problem->score.softcap > 0)
        s = problem->score.softcap * tanh(s / problem->score.softcap);
    if (problem->score.alibi_slopes != NULL) {
        const int64_t diagonal = i + shape->kv_seq - shape->seq;

        s -= problem->score.alibi_slopes[h] * fabs((double)(diagonal - j));
    }
    return s;
}

double attn_reference_kept(const attn_problem *problem, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t head = b * problem->shape.heads + h;

    if (problem->dropout == 0)
        return 1;
    return attn_dropout_keeps(attn_dropout_threshold(problem->dropout), problem->dropout_seed, head, i, j)
               ? 1 / (1 - problem->dropout)
               : 0;
}

/* Multiplies what was summed so far by exp(old max - new max); nothing was summed when the old maximum is -inf. */
static void rescale(attn_partial *partial, double max, int64_t width)
{
    const double factor = partial->max == -INFINITY ? 0 : exp(partial->max - max);

    partial->sum *= factor;
    for (int64_t d = 0; d < width; d++)
        partial->weighted[d] *= factor;
    partial->max = max;
}

/* A row of an array in float64. */
static const double *read_row(const attn_array *from, attn_dtype dtype, int64_t b, int64_t head, int64_t row,
                              int64_t width, double *to)
{
    const int64_t place = b * from->batch_stride + head * from->head_stride + row * from->row_stride;

    attn_convert(ATTN_FLOAT64, to, dtype, (const char *)from->data + (size_t)place * attn_dtype_size(dtype),
                 (size_t)width);
    return to;
}

void attn_reference_partial(const attn_problem *problem, const double *q, int64_t b, int64_t h, int64_t i,
                            const attn_array *k, const attn_array *v, attn_dtype dtype, int64_t kv_head,
                            const attn_segments *rows, double *row_buffer, attn_partial *out)
{
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim;
    const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, b, i);
    const int64_t end = attn_segments_below(rows, keys.hi);

    out->max = -INFINITY;
    out->sum = out->max_abs = 0;
    for (int64_t d = 0; d < Dv; d++)
        out->weighted[d] = 0;
    for (int64_t row = attn_segments_below(rows, keys.lo); row < end; row++) {
        const double *key = read_row(k, dtype, b, kv_head, row, D, row_buffer), *value;
        const int64_t j = attn_segments_global(rows, row);
        const double s = attn_reference_score(problem, q, h, i, j, key);
        double weight;

        if (s == -INFINITY) /* a weight of 0, also where no larger score has been seen yet */
            continue;
        if (s > out->max)
            rescale(out, s, Dv);
        weight = exp(s - out->max);
        out->sum += weight;
        weight *= attn_reference_kept(problem, b, h, i, j);
        value = read_row(v, dtype, b, kv_head, row, Dv, row_buffer);
        for (int64_t d = 0; d < Dv; d++)
            out->weighted[d] += weight * value[d];
        if (isfinite(s))
            out->max_abs = fmax(out->max_abs, fabs(s));
    }
}

void attn_reference_merge(attn_partial *into, const attn_partial *other, int64_t width)
{
    double factor;

    if (other->max == -INFINITY && other->sum == 0)
        return;
    if (other->max > into->max)
        rescale(into, other->max, width);
    factor = exp(other->max - into->max);
    into->sum += factor * other->sum;
    for (int64_t d = 0; d < width; d++)
        into->weighted[d] += factor * other->weighted[d];
    into->max_abs = fmax(into->max_abs, other->max_abs);
}

double attn_reference_finish(attn_partial *into, const double *sink, int64_t width)
{
    if (sink != NULL) {
        if (*sink > into->max)
            rescale(into, *sink, width);
        into->sum += exp(*sink - into->max);
    }
    if (into->sum == 0)
        return -INFINITY;
    for (int64_t d = 0; d < width; d++)
        into->weighted[d] /= into->sum;
    return into->max + log(into->sum);
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
    return (size_t)(2 * shape->head_dim + 3 * shape->v_head_dim) * sizeof(double);
}

static void forward(const attn_forward_setup *setup, const attn_forward_buffers *buffers, const attn_task *task,
                    void *scratch)
{
    const attn_problem *problem = setup->problem;
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim;
    const double *sinks = setup->add_sinks ? problem->score.sinks : NULL;
    const attn_dtype dtype = problem->dtype, sum_dtype = attn_dtype_accumulator(dtype);
    const attn_array *q = &buffers->q, *o = &buffers->o, *lse = &buffers->lse;
    double *q_row = scratch, *row_buffer = q_row + D; /* the buffer has room for D + Dv */
    attn_partial all = {.weighted = row_buffer + D + Dv}, one = {.weighted = all.weighted + Dv};

    for (int64_t f = task->row; f < task->row + task->rows; f++) {
        const int64_t local = attn_task_head(task, f), h = setup->head_begin + local;
        const int64_t r = attn_task_row(task, f), i = attn_segments_global(setup->q_rows, r);
        const int64_t o_place = task->b * o->batch_stride + local * o->head_stride + r * o->row_stride;
        const int64_t lse_place = task->b * lse->batch_stride + local * lse->head_stride + r * lse->row_stride;

        read_row(q, dtype, task->b, local, r, D, q_row);
        all.max = -INFINITY;
        all.sum = all.max_abs = 0;
        for (int64_t d = 0; d < Dv; d++)
            all.weighted[d] = 0;
        for (int64_t part = 0; part < setup->part_count; part++) {
            attn_reference_partial(problem, q_row, task->b, h, i, &buffers->k[part], &buffers->v[part], dtype,
                                   task->kv_head, setup->part_rows[part], row_buffer, &one);
            attn_reference_merge(&all, &one, Dv);
        }
        attn_store(sum_dtype, lse->data, (size_t)lse_place,
                   attn_reference_finish(&all, sinks != NULL ? &sinks[h] : NULL, Dv));
        for (int64_t d = 0; d < Dv; d++)
            attn_store(setup->o_dtype, o->data, (size_t)(o_place + d), all.weighted[d]);
    }
}

const attn_kernel attn_kernel_reference = {
    .name = "reference",
    .summary = "float64 arithmetic in plain loops, for checking",
    .needs = "nothing",
    .cpu_has = attn_cpu_baseline,
    .forward =
        {[ATTN_FLOAT64] = forward, [ATTN_FLOAT32] = forward, [ATTN_FLOAT16] = forward, [ATTN_BFLOAT16] = forward},
    .block_rows = block_rows,
    .panel_rows = panel_rows,
    .scratch_bytes = scratch_bytes,
    .backward = {[ATTN_FLOAT64] = attn_reference_backward,
                 [ATTN_FLOAT32] = attn_reference_backward,
                 [ATTN_FLOAT16] = attn_reference_backward,
                 [ATTN_BFLOAT16] = attn_reference_backward},
    .backward_keys = attn_reference_backward_keys,
    .backward_bytes = attn_reference_backward_bytes,
    .dropout = true,
};
