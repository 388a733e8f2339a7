#include "fixture.h"

#include "harness.h"

#include <attn/mask.h>
#include <attn/random.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int64_t fixture_elements(const attn_shape *s, int64_t heads, int64_t rows, int64_t width)
{
    return s->batch * heads * rows * width;
}

static void *random_array(attn_dtype dtype, attn_stream stream, int64_t count)
{
    void *array = malloc((size_t)count * attn_dtype_size(dtype) + 1);

    attn_random_fill(7, stream, 0, (size_t)count, dtype, array);
    return array;
}

/* Attention by its definition, with the mask written out pair by pair rather than as an interval. */
static bool visible(const attn_problem *p, int64_t b, int64_t i, int64_t j)
{
    const int64_t diagonal = i + p->shape.kv_seq - p->shape.seq;
    bool same = true;

    if (p->mask.cu_seqlens != NULL)
        for (int64_t n = 1; n < p->mask.documents; n++)
            same = same && (i >= p->mask.cu_seqlens[n]) == (j >= p->mask.cu_seqlens[n]);
    return same && (!p->mask.causal || j <= diagonal) &&
           (p->mask.window_left < 0 || j >= diagonal - p->mask.window_left) &&
           (p->mask.window_right < 0 || j <= diagonal + p->mask.window_right) &&
           (p->mask.kv_len == NULL || j < p->mask.kv_len[b]);
}

/* The inputs in float64, and the scores of one row. */
typedef struct exact_inputs {
    double *q, *k, *v, *scores;
} exact_inputs;

static double *exact(attn_dtype dtype, const void *array, int64_t count)
{
    double *to = malloc((size_t)count * sizeof *to + 1);

    attn_convert(ATTN_FLOAT64, to, dtype, array, (size_t)count);
    return to;
}

/* What ALiBi takes off a score. */
static double bias(const attn_problem *p, int64_t h, int64_t i, int64_t j)
{
    if (p->score.alibi_slopes == NULL)
        return 0;
    return p->score.alibi_slopes[h] * fabs((double)(i + p->shape.kv_seq - p->shape.seq - j));
}

static double score(const attn_problem *p, const double *q, const double *k, int64_t h, int64_t i, int64_t j)
{
    double x = 0;

    for (int64_t d = 0; d < p->shape.head_dim; d++)
        x += q[d] * k[d];
    x *= p->score.scale;
    if (p->score.softcap > 0)
        x = p->score.softcap * tanh(x / p->score.softcap);
    return x - bias(p, h, i, j);
}

/* The factor of dropout on a weight. */
static double kept(const attn_problem *p, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const uint32_t threshold = attn_dropout_threshold(p->dropout);

    return attn_dropout_keeps(threshold, p->dropout_seed, b * p->shape.heads + h, i, j) ? 1 / (1 - p->dropout) : 0;
}

static void solve_row(fixture *f, const exact_inputs *in, int64_t b, int64_t h, int64_t i)
{
    const attn_problem *p = &f->problem;
    const attn_shape *s = &p->shape;
    const int64_t row = (b * s->heads + h) * s->seq + i;
    const int64_t keys = (b * s->kv_heads + h / attn_shape_group(s)) * s->kv_seq;
    double max = p->score.sinks != NULL ? p->score.sinks[h] : -INFINITY, sum = 0;

    for (int64_t j = 0; j < s->kv_seq; j++)
        if (visible(p, b, i, j)) {
            const double x = score(p, in->q + row * s->head_dim, in->k + (keys + j) * s->head_dim, h, i, j);

            in->scores[j] = x;
            max = fmax(max, x);
            f->max_score = fmax(f->max_score, fabs(x));
        }
    if (p->score.sinks != NULL)
        sum = exp(p->score.sinks[h] - max);
    memset(f->o + row * s->v_head_dim, 0, (size_t)s->v_head_dim * sizeof *f->o);
    for (int64_t j = 0; j < s->kv_seq; j++)
        if (visible(p, b, i, j)) {
            const double weight = exp(in->scores[j] - max), reaches = weight * kept(p, b, h, i, j);

            sum += weight;
            for (int64_t d = 0; d < s->v_head_dim; d++)
                f->o[row * s->v_head_dim + d] += reaches * in->v[(keys + j) * s->v_head_dim + d];
        }
    for (int64_t d = 0; d < s->v_head_dim && sum > 0; d++)
        f->o[row * s->v_head_dim + d] /= sum;
    f->lse[row] = sum > 0 ? max + log(sum) : -INFINITY;
}

void fixture_solve(fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const exact_inputs in = {
        .q = exact(dtype, f->q, fixture_elements(s, s->heads, s->seq, s->head_dim)),
        .k = exact(dtype, f->k, fixture_elements(s, s->kv_heads, s->kv_seq, s->head_dim)),
        .v = exact(dtype, f->v, fixture_elements(s, s->kv_heads, s->kv_seq, s->v_head_dim)),
        .scores = malloc((size_t)s->kv_seq * sizeof(double)),
    };

    f->max_score = 0;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < s->heads; h++)
            for (int64_t i = 0; i < s->seq; i++)
                solve_row(f, &in, b, h, i);
    free(in.q);
    free(in.k);
    free(in.v);
    free(in.scores);
}

/* How a score changes with its q . k, from the capped score without its bias. */
static double steepness(const attn_problem *p, double s)
{
    const double bent = p->score.softcap > 0 ? s / p->score.softcap : 0;

    return p->score.scale * (1 - bent * bent);
}

static void solve_gradients_of_row(fixture *f, const exact_inputs *in, const double *d_o, int64_t b, int64_t h,
                                   int64_t i)
{
    const attn_problem *p = &f->problem;
    const attn_shape *s = &p->shape;
    const int64_t row = (b * s->heads + h) * s->seq + i, D = s->head_dim, Dv = s->v_head_dim;
    const int64_t keys = (b * s->kv_heads + h / attn_shape_group(s)) * s->kv_seq;
    const double *q = in->q + row * D;
    double delta = 0;

    for (int64_t d = 0; d < Dv; d++)
        delta += d_o[row * Dv + d] * f->o[row * Dv + d];
    for (int64_t j = 0; j < s->kv_seq; j++)
        if (visible(p, b, i, j)) {
            const double *k = in->k + (keys + j) * D, *v = in->v + (keys + j) * Dv;
            const double factor = p->dropout > 0 ? kept(p, b, h, i, j) : 1, x = score(p, q, k, h, i, j);
            const double weight = exp(x - f->lse[row]);
            double dp = 0, ds;

            for (int64_t d = 0; d < Dv; d++) {
                dp += factor * d_o[row * Dv + d] * v[d];
                f->dv[(keys + j) * Dv + d] += factor * weight * d_o[row * Dv + d];
            }
            ds = weight * (dp - delta) * steepness(p, x + bias(p, h, i, j));
            for (int64_t d = 0; d < D; d++) {
                f->dq[row * D + d] += ds * k[d];
                f->dk[(keys + j) * D + d] += ds * q[d];
            }
        }
}

void fixture_solve_gradients(fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const int64_t q_count = fixture_elements(s, s->heads, s->seq, s->head_dim);
    const int64_t o_count = fixture_elements(s, s->heads, s->seq, s->v_head_dim);
    const int64_t k_count = fixture_elements(s, s->kv_heads, s->kv_seq, s->head_dim);
    const int64_t v_count = fixture_elements(s, s->kv_heads, s->kv_seq, s->v_head_dim);
    const exact_inputs in = {
        .q = exact(dtype, f->q, q_count), .k = exact(dtype, f->k, k_count), .v = exact(dtype, f->v, v_count)};
    double *d_o;

    f->d_o = random_array(dtype, ATTN_STREAM_DO, o_count);
    f->dq = calloc((size_t)q_count, sizeof *f->dq);
    f->dk = calloc((size_t)k_count, sizeof *f->dk);
    f->dv = calloc((size_t)v_count, sizeof *f->dv);
    d_o = exact(dtype, f->d_o, o_count);
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < s->heads; h++)
            for (int64_t i = 0; i < s->seq; i++)
                solve_gradients_of_row(f, &in, d_o, b, h, i);
    free(d_o);
    free(in.q);
    free(in.k);
    free(in.v);
}

fixture fixture_make(const attn_problem *problem)
{
    const attn_shape *s = &problem->shape;
    fixture f = {.problem = *problem};

    TEST_OK(attn_problem_check(problem, &attn_test_error));
    f.q = random_array(problem->dtype, ATTN_STREAM_Q, fixture_elements(s, s->heads, s->seq, s->head_dim));
    f.k = random_array(problem->dtype, ATTN_STREAM_K, fixture_elements(s, s->kv_heads, s->kv_seq, s->head_dim));
    f.v = random_array(problem->dtype, ATTN_STREAM_V, fixture_elements(s, s->kv_heads, s->kv_seq, s->v_head_dim));
    f.o = malloc((size_t)fixture_elements(s, s->heads, s->seq, s->v_head_dim) * sizeof *f.o);
    f.lse = malloc((size_t)fixture_elements(s, s->heads, s->seq, 1) * sizeof *f.lse);
    fixture_solve(&f);
    return f;
}

void fixture_drop(fixture *f)
{
    free(f->q);
    free(f->k);
    free(f->v);
    free(f->o);
    free(f->lse);
    free(f->d_o);
    free(f->dq);
    free(f->dk);
    free(f->dv);
}

double fixture_tolerance(const fixture *f)
{
    const double eps = attn_dtype_epsilon(f->problem.dtype);

    return attn_dtype_size(f->problem.dtype) == 2 ? 2 * eps : 8 * eps * fmax(1, f->max_score);
}

void *fixture_cut(const attn_shape *shape, attn_dtype dtype, const void *from, int64_t heads, int64_t seq,
                  int64_t width, int64_t head_begin, int64_t head_count, const attn_segments *rows)
{
    const size_t bytes = attn_dtype_size(dtype) * (size_t)width;
    char *to = malloc((size_t)(shape->batch * head_count * rows->rows) * bytes + 1);
    char *next = to;

    for (int64_t b = 0; b < shape->batch; b++)
        for (int64_t h = head_begin; h < head_begin + head_count; h++)
            for (int64_t r = 0; r < rows->rows; r++, next += bytes)
                memcpy(next,
                       (const char *)from + (size_t)((b * heads + h) * seq + attn_segments_global(rows, r)) * bytes,
                       bytes);
    return to;
}
