/* The gradients of attention as they are defined, in float64 and plain loops: what every backward kernel is checked
 * against. */
#include "kernel/backward.h"
#include "kernel/reference.h"

#include <math.h>
#include <string.h>

static double dot(const double *a, const double *b, int64_t count)
{
    double sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < count; d++)
        sum += a[d] * b[d];
    return sum;
}

/* The weight p(i,j) without dropout, and the cap's derivative 1 - tanh^2: the gradient of q . k without the scale is
 * ds = p (dp - delta) times that, dp = do v with the factor of dropout. A row of lse -inf sees no key. */
static double find_weight(const attn_problem *problem, double scaled, int64_t h, int64_t i, int64_t j, double lse,
                          double *cap_slope)
{
    const attn_score *score = &problem->score;
    double s = scaled;

    *cap_slope = 1;
    if (score->softcap > 0) {
        const double t = tanh(scaled / score->softcap);

        s = score->softcap * t;
        *cap_slope = 1 - t * t;
    }
    if (score->alibi_slopes != NULL)
        s -= score->alibi_slopes[h] * fabs((double)(i + problem->shape.kv_seq - problem->shape.seq - j));
    return lse == -INFINITY ? 0 : exp(s - lse);
}

void attn_reference_add_pair(const attn_problem *problem, const double *q, const double *d_o, double lse, double delta,
                             int64_t b, int64_t h, int64_t i, int64_t j, const double *k, const double *v, double *dk,
                             double *dv)
{
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim;
    double cap_slope;
    const double p = find_weight(problem, problem->score.scale * dot(q, k, D), h, i, j, lse, &cap_slope);
    const double kept = attn_reference_kept(problem, b, h, i, j);
    const double ds = p * (kept * dot(d_o, v, Dv) - delta) * cap_slope;

    for (int64_t d = 0; d < D; d++)
        dk[d] += ds * q[d];
    for (int64_t d = 0; d < Dv; d++)
        dv[d] += kept * p * d_o[d];
}

static void read_row(const attn_array *from, attn_dtype dtype, int64_t place, int64_t width, double *to)
{
    attn_convert(ATTN_FLOAT64, to, dtype, (const char *)from->data + (size_t)place * attn_dtype_size(dtype),
                 (size_t)width);
}

void attn_reference_add_dq(const attn_problem *problem, const double *q, const double *d_o, double lse, double delta,
                           int64_t b, int64_t h, int64_t i, const attn_array *k, const attn_array *v, attn_dtype dtype,
                           int64_t kv_head, const attn_segments *rows, double *row_buffer, double *dq)
{
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim;
    const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, b, i);
    const int64_t end = attn_segments_below(rows, keys.hi);
    double *const key = row_buffer, *const value = row_buffer + D;

    for (int64_t row = attn_segments_below(rows, keys.lo); row < end; row++) {
        const int64_t j = attn_segments_global(rows, row);
        double cap_slope, p, ds;

        read_row(k, dtype, b * k->batch_stride + kv_head * k->head_stride + row * k->row_stride, D, key);
        read_row(v, dtype, b * v->batch_stride + kv_head * v->head_stride + row * v->row_stride, Dv, value);
        p = find_weight(problem, problem->score.scale * dot(q, key, D), h, i, j, lse, &cap_slope);
        ds = p * (attn_reference_kept(problem, b, h, i, j) * dot(d_o, value, Dv) - delta) * cap_slope *
             problem->score.scale;
        for (int64_t d = 0; d < D; d++)
            dq[d] += ds * key[d];
    }
}

/* A query row of the call and what belongs to it. */
typedef struct query {
    double *q, *d_o; /* [D], [Dv] */
    double lse, delta;
    int64_t h, i; /* global numbers */
} query;

static void load_query(const attn_backward_call *call, const attn_backward_task *task, int64_t folded, query *of)
{
    const attn_backward_setup *setup = call->setup;
    const attn_problem *problem = setup->problem;
    const attn_backward_buffers *buffers = call->buffers;
    const int64_t h = task->head + folded % task->heads, r = folded / task->heads;

    read_row(&buffers->q, problem->dtype, attn_backward_place(task, &buffers->q, folded), problem->shape.head_dim,
             of->q);
    read_row(&buffers->d_o, problem->dtype, attn_backward_place(task, &buffers->d_o, folded), problem->shape.v_head_dim,
             of->d_o);
    of->lse = attn_load(attn_dtype_accumulator(problem->dtype), buffers->lse.data,
                        (size_t)attn_backward_place(task, &buffers->lse, folded));
    of->delta = call->delta[(task->b * setup->head_count + h) * setup->q_rows->rows + r];
    of->h = setup->head_begin + h;
    of->i = attn_segments_global(setup->q_rows, r);
}

/* Writes or adds factor times a row of dk or dv. */
static void store_row(const attn_backward_setup *setup, const attn_backward_task *task, const attn_array *to,
                      int64_t row, const double *values, double factor, int64_t width)
{
    const int64_t place = task->b * to->batch_stride + task->kv_head * to->head_stride + row * to->row_stride;

    for (int64_t d = 0; d < width; d++) {
        const size_t at = (size_t)(place + d);
        const double old = setup->accumulate ? attn_load(setup->dkv_dtype, to->data, at) : 0;

        attn_store(setup->dkv_dtype, to->data, at, old + factor * values[d]);
    }
}

/* dk and dv of one key: over all query rows that see it. */
static void find_key(const attn_backward_call *call, const attn_backward_task *task, int64_t row, double *scratch)
{
    const attn_backward_setup *setup = call->setup;
    const attn_problem *problem = setup->problem;
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim;
    const attn_array *k = &call->buffers->k[task->part], *v = &call->buffers->v[task->part];
    const int64_t j = attn_segments_global(setup->part_rows[task->part], row);
    double *const key = scratch, *const value = key + D, *const dk = value + Dv, *const dv = dk + D;
    query of = {.q = dv + Dv, .d_o = dv + Dv + D};

    read_row(k, problem->dtype, task->b * k->batch_stride + task->kv_head * k->head_stride + row * k->row_stride, D,
             key);
    read_row(v, problem->dtype, task->b * v->batch_stride + task->kv_head * v->head_stride + row * v->row_stride, Dv,
             value);
    memset(dk, 0, (size_t)(D + Dv) * sizeof *dk);
    for (int64_t f = task->first; f < task->last; f++) {
        attn_interval keys;

        load_query(call, task, f, &of);
        keys = attn_mask_row(&problem->mask, &problem->shape, task->b, of.i);
        if (keys.lo <= j && j < keys.hi)
            attn_reference_add_pair(problem, of.q, of.d_o, of.lse, of.delta, task->b, of.h, of.i, j, key, value, dk,
                                    dv);
    }
    store_row(setup, task, &call->buffers->dk[task->part], row, dk, problem->score.scale, D);
    store_row(setup, task, &call->buffers->dv[task->part], row, dv, 1, Dv);
}

void attn_reference_backward(const attn_backward_call *call, attn_backward_task *task, void *scratch)
{
    const attn_backward_setup *setup = call->setup;
    const attn_problem *problem = setup->problem;
    const attn_dtype sum_dtype = attn_dtype_accumulator(problem->dtype);
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim;
    double *const row_buffer = scratch, *const dq = row_buffer + D + Dv;
    query of = {.q = dq + D, .d_o = dq + 2 * D};

    for (int64_t row = task->key; row < task->key + task->keys; row++)
        find_key(call, task, row, scratch);
    attn_backward_await(task, INT64_MAX);
    for (int64_t f = task->first; f < task->last; f++) {
        const size_t place = (size_t)attn_backward_dq_place(task, f);

        load_query(call, task, f, &of);
        memset(dq, 0, (size_t)D * sizeof *dq);
        attn_reference_add_dq(problem, of.q, of.d_o, of.lse, of.delta, task->b, of.h, of.i,
                              &call->buffers->k[task->part], &call->buffers->v[task->part], problem->dtype,
                              task->kv_head, setup->part_rows[task->part], row_buffer, dq);
        for (int64_t d = 0; d < D; d++)
            attn_store(sum_dtype, task->dq, place + (size_t)d,
                       attn_load(sum_dtype, task->dq, place + (size_t)d) + dq[d]);
    }
}

int64_t attn_reference_backward_keys(const attn_shape *shape, attn_dtype dtype)
{
    (void)dtype;
    return shape->kv_seq; /* all, as dq of a row is the sum over all keys of a part */
}

size_t attn_reference_backward_bytes(const attn_shape *shape, attn_dtype dtype)
{
    (void)dtype;
    return (size_t)(3 * (shape->head_dim + shape->v_head_dim)) * sizeof(double);
}
