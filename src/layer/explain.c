/* Attention with trainable weights as a textbook writes it: one rank, float64, straight loops, every intermediate array
 * kept. It shares no arithmetic with the kernels and projections that are made to be fast, so that they can be checked
 * against it. compute_layer has the steps in their order.
 *
 * Letters: b batch, h query head, i query row, j key row, d dimension of a head, e dimension of x. */
#include "layer/explain_arrays.h"

#include <attn/random.h>

#include <math.h>
#include <stdlib.h>

/* y_r = x_r W^T + bias: element `row` of y_r is the dot product of x_r and row `row` of W [out,in]. */
static void project(const double *x, const double *weight, const double *bias, int64_t rows, int64_t in, int64_t out,
                    double *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t row = 0; row < out; row++) {
            double sum = bias != NULL ? bias[row] : 0;

            for (int64_t e = 0; e < in; e++)
                sum += x[r * in + e] * weight[row * in + e];
            y[r * out + row] = sum;
        }
}

/* [B,S,H D] to [B,H,S,D]: elements h D .. h D + D - 1 of a row are head h. */
static void split_heads(const double *rows, int64_t B, int64_t H, int64_t S, int64_t D, double *heads)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < S; i++)
                for (int64_t d = 0; d < D; d++)
                    heads[((b * H + h) * S + i) * D + d] = rows[((b * S + i) * H + h) * D + d];
}

/* The way back: the heads side by side. */
static void concatenate_heads(const double *heads, int64_t B, int64_t H, int64_t S, int64_t D, double *rows)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < S; i++)
                for (int64_t d = 0; d < D; d++)
                    rows[((b * S + i) * H + h) * D + d] = heads[((b * H + h) * S + i) * D + d];
}

/* Turns pair d of a row by the angle position theta^(-2 d / dim) (Su et al. 2021, eq. 34). */
static void rotate(const attn_rotary *rotary, int64_t position, double *row)
{
    const bool half = rotary->style == ATTN_ROTARY_HALF;

    for (int64_t d = 0; d < rotary->dim / 2; d++) {
        const double angle = (double)position * pow(rotary->theta, -2 * (double)d / (double)rotary->dim);
        double *const first = half ? &row[d] : &row[2 * d];
        double *const second = half ? &row[d + rotary->dim / 2] : &row[2 * d + 1];
        const double a = *first, b = *second;

        *first = a * cos(angle) - b * sin(angle);
        *second = a * sin(angle) + b * cos(angle);
    }
}

/* Turns all rows of [.., rows, D]; row r stands at position r + shift. */
static void rotate_rows(const attn_rotary *rotary, int64_t heads, int64_t rows, int64_t D, int64_t shift,
                        const double *from, double *to)
{
    for (int64_t n = 0; n < heads * rows; n++) {
        for (int64_t d = 0; d < D; d++)
            to[n * D + d] = from[n * D + d];
        rotate(rotary, n % rows + shift, &to[n * D]);
    }
}

/* s = cap(scale q . k) - slope |i' - j| (problem.h). */
static double score(const attn_problem *problem, double product, int64_t h, int64_t i, int64_t j)
{
    const attn_score *const setting = &problem->score;
    const int64_t diagonal = i + problem->shape.kv_seq - problem->shape.seq; /* i' */
    double s = setting->scale * product;

    if (setting->softcap > 0)
        s = setting->softcap * tanh(s / setting->softcap);
    if (setting->alibi_slopes != NULL)
        s -= setting->alibi_slopes[h] * fabs((double)(diagonal - j));
    return s;
}

/* p_j = exp(s_j - max) / (sum over j of exp(s_j - max)), the sink being one more term of the sum. Returns lse.
 *   s, p  [n]; a masked score is -inf, and exp(-inf) = 0 */
static double softmax(const double *s, int64_t n, const double *sink, double *p)
{
    double max = sink != NULL ? *sink : -INFINITY, sum;

    for (int64_t j = 0; j < n; j++)
        max = fmax(max, s[j]);
    sum = sink != NULL ? exp(*sink - max) : 0;
    for (int64_t j = 0; j < n; j++) {
        p[j] = s[j] == -INFINITY ? 0 : exp(s[j] - max);
        sum += p[j];
    }
    for (int64_t j = 0; j < n; j++)
        p[j] = sum > 0 ? p[j] / sum : 0; /* no key is visible: no weights */
    return max + log(sum);
}

/* The weights as dropout leaves them: 0, or p / (1 - dropout). */
static double drop(const attn_problem *problem, int64_t b, int64_t h, int64_t i, int64_t j, double p)
{
    const int64_t head = b * problem->shape.heads + h;

    if (problem->dropout == 0)
        return p;
    return attn_dropout_keeps(attn_dropout_threshold(problem->dropout), problem->dropout_seed, head, i, j)
               ? p / (1 - problem->dropout)
               : 0;
}

/* One row of one head: products, scores, weights, and the context vector o_i = sum over j of p(i,j) v_j. */
static void attend(attn_explanation *x, int64_t b, int64_t h, int64_t i)
{
    const attn_problem *const problem = &x->problem.attention;
    const attn_shape *const shape = &problem->shape;
    const int64_t D = shape->head_dim, Dv = shape->v_head_dim, Skv = shape->kv_seq;
    const int64_t row = (b * shape->heads + h) * shape->seq + i;
    const int64_t keys = (b * shape->kv_heads + h / attn_shape_group(shape)) * Skv; /* first row of the head's k, v */
    const attn_interval seen = attn_mask_row(&problem->mask, shape, b, i);
    double *const products = &x->products[row * Skv], *const s = &x->scores[row * Skv];
    double *const p = &x->weights[row * Skv], *const o = &x->o[row * Dv];

    for (int64_t j = 0; j < Skv; j++) {
        products[j] = 0;
        for (int64_t d = 0; d < D; d++)
            products[j] += x->q[row * D + d] * x->k[(keys + j) * D + d];
        s[j] = seen.lo <= j && j < seen.hi ? score(problem, products[j], h, i, j) : -INFINITY;
    }
    x->lse[row] = softmax(s, Skv, problem->score.sinks != NULL ? &problem->score.sinks[h] : NULL, p);
    for (int64_t d = 0; d < Dv; d++)
        o[d] = 0;
    for (int64_t j = seen.lo; j < seen.hi; j++) {
        const double weight = drop(problem, b, h, i, j, p[j]);

        if (x->dropped != NULL)
            x->dropped[row * Skv + j] = weight;
        for (int64_t d = 0; d < Dv; d++)
            o[d] += weight * x->v[(keys + j) * Dv + d];
    }
}

static void attend_all(attn_explanation *x)
{
    const attn_shape *const shape = &x->problem.attention.shape;

    for (int64_t b = 0; b < shape->batch; b++)
        for (int64_t h = 0; h < shape->heads; h++)
            for (int64_t i = 0; i < shape->seq; i++)
                attend(x, b, h, i);
}

/* Projects to [B,S,heads width], and splits that into heads. Without weights the rows are the head. */
static attn_status project_heads(const attn_explanation *x, attn_projection projection, int64_t heads, int64_t width,
                                 double *out, attn_error *error)
{
    const attn_layer_problem *const problem = &x->problem;
    const attn_shape *const s = &problem->attention.shape;
    const bool query = projection == ATTN_PROJECTION_QUERY, crosses = !query && problem->context_dim > 0;
    const int64_t rows = query ? s->seq : s->kv_seq, in = crosses ? problem->context_dim : problem->embed_dim;
    const double *const from = crosses ? x->context : x->x;
    double *projected = NULL;
    attn_status status;

    if (!problem->projected) {
        split_heads(from, s->batch, 1, rows, width, out);
        return ATTN_OK;
    }
    status = attn_explanation_array(&projected, s->batch, rows, heads, width, error);
    if (status == ATTN_OK) {
        project(from, x->projection[projection], x->bias[projection], s->batch * rows, in, heads * width, projected);
        split_heads(projected, s->batch, heads, rows, width, out);
    }
    free(projected);
    return status;
}

static attn_status compute_layer(attn_explanation *x, attn_error *error)
{
    const attn_layer_problem *const problem = &x->problem;
    const attn_shape *const s = &problem->attention.shape;
    const bool turned = problem->rotary.style != ATTN_ROTARY_NONE;
    attn_status status;

    /* 1. q = x Wq^T + bq, k = c Wk^T + bk, v = c Wv^T + bv */
    status = project_heads(x, ATTN_PROJECTION_QUERY, s->heads, s->head_dim, turned ? x->q_projected : x->q, error);
    if (status == ATTN_OK)
        status = project_heads(x, ATTN_PROJECTION_KEY, s->kv_heads, s->head_dim, turned ? x->k_projected : x->k, error);
    if (status == ATTN_OK)
        status = project_heads(x, ATTN_PROJECTION_VALUE, s->kv_heads, s->v_head_dim, x->v, error);
    if (status != ATTN_OK)
        return status;
    /* 2. Turned by their positions: query row i at i' = i + Skv - Sq, key row j at j. */
    if (turned) {
        rotate_rows(&problem->rotary, s->batch * s->heads, s->seq, s->head_dim, s->kv_seq - s->seq, x->q_projected,
                    x->q);
        rotate_rows(&problem->rotary, s->batch * s->kv_heads, s->kv_seq, s->head_dim, 0, x->k_projected, x->k);
    }
    /* 3. o = attention(q, k, v), each head for itself */
    attend_all(x);
    /* 4. y = concat(o_0 .. o_Hq-1) Wo^T + bo */
    concatenate_heads(x->o, s->batch, s->heads, s->seq, s->v_head_dim, x->concat);
    if (problem->out_dim > 0)
        project(x->concat, x->projection[ATTN_PROJECTION_OUT], x->bias[ATTN_PROJECTION_OUT], s->batch * s->seq,
                s->heads * s->v_head_dim, problem->out_dim, x->y);
    return ATTN_OK;
}

static attn_status end(attn_status status, attn_explanation *x, attn_explanation **out)
{
    if (status != ATTN_OK)
        attn_explanation_destroy(x);
    *out = status == ATTN_OK ? x : NULL;
    return status;
}

attn_status attn_explanation_make(const attn_layer_problem *problem, const attn_layer_arrays *weights, const void *x,
                                  const void *context, attn_explanation **out, attn_error *error)
{
    attn_explanation *made;
    attn_status status = attn_explanation_begin(problem, &made, error);

    if (status == ATTN_OK)
        status = attn_explanation_begin_layer(made, weights, x, context, error);
    if (status == ATTN_OK)
        status = compute_layer(made, error);
    return end(status, made, out);
}

attn_status attn_explanation_make_attention(const attn_problem *problem, const void *q, const void *k, const void *v,
                                            attn_explanation **out, attn_error *error)
{
    const attn_layer_problem layer = {.attention = *problem};
    const attn_shape *const s = &problem->shape;
    attn_explanation *made;
    attn_status status = attn_explanation_begin(&layer, &made, error);

    if (status == ATTN_OK) {
        attn_convert(ATTN_FLOAT64, made->q, problem->dtype, q, (size_t)(s->batch * s->heads * s->seq * s->head_dim));
        attn_convert(ATTN_FLOAT64, made->k, problem->dtype, k,
                     (size_t)(s->batch * s->kv_heads * s->kv_seq * s->head_dim));
        attn_convert(ATTN_FLOAT64, made->v, problem->dtype, v,
                     (size_t)(s->batch * s->kv_heads * s->kv_seq * s->v_head_dim));
        attend_all(made);
        concatenate_heads(made->o, s->batch, s->heads, s->seq, s->v_head_dim, made->concat);
    }
    return end(status, made, out);
}

void attn_running_row_begin(const attn_explanation *explanation, attn_running_row *row)
{
    row->max = -INFINITY;
    row->sum = 0;
    for (int64_t d = 0; d < explanation->problem.attention.shape.v_head_dim; d++)
        row->weighted[d] = 0;
}

void attn_running_row_take(const attn_explanation *explanation, int64_t b, int64_t h, int64_t i, int64_t begin,
                           int64_t end, attn_running_row *row)
{
    const attn_problem *const problem = &explanation->problem.attention;
    const attn_shape *const shape = &problem->shape;
    const int64_t keys = (b * shape->kv_heads + h / attn_shape_group(shape)) * shape->kv_seq, Dv = shape->v_head_dim;
    const double *const s = &explanation->scores[((b * shape->heads + h) * shape->seq + i) * shape->kv_seq];
    double max = row->max, factor;

    for (int64_t j = begin; j < end; j++)
        max = fmax(max, s[j]);
    if (max == -INFINITY)
        return;                   /* nothing visible so far */
    factor = exp(row->max - max); /* exp(-inf) = 0 at the first visible block */
    row->max = max;
    row->sum *= factor;
    for (int64_t d = 0; d < Dv; d++)
        row->weighted[d] *= factor;
    for (int64_t j = begin; j < end; j++) {
        const double term = exp(s[j] - max);

        if (s[j] == -INFINITY)
            continue;
        row->sum += term;
        for (int64_t d = 0; d < Dv; d++)
            row->weighted[d] += drop(problem, b, h, i, j, term) * explanation->v[(keys + j) * Dv + d];
    }
}
