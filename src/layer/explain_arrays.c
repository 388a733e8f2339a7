#include "layer/explain_arrays.h"

#include "core/checked.h"

#include <attn/kernel.h>

#include <stdlib.h>

attn_status attn_explanation_array(double **out, int64_t a, int64_t b, int64_t c, int64_t d, attn_error *error)
{
    const int64_t extents[] = {a, b, c, d};
    int64_t count;

    if (attn_int64_product(extents, 4, &count))
        *out = attn_calloc_array(count, sizeof **out);
    if (*out == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld x %lld x %lld x %lld numbers", (long long)a,
                              (long long)b, (long long)c, (long long)d);
    return ATTN_OK;
}

/* The same, holding what is at `from` in another type. */
static attn_status copy_array(double **out, int64_t a, int64_t b, int64_t c, attn_dtype dtype, const void *from,
                              attn_error *error)
{
    attn_status status = attn_explanation_array(out, a, b, c, 1, error);

    if (status == ATTN_OK)
        attn_convert(ATTN_FLOAT64, *out, dtype, from, (size_t)(a * b * c));
    return status;
}

attn_status attn_explanation_check(const attn_problem *problem, attn_error *error)
{
    const attn_shape *const s = &problem->shape;
    const int64_t extents[] = {s->batch, s->heads, s->seq, s->kv_seq};
    int64_t count;

    if (!attn_int64_product(extents, 4, &count) || count > ATTN_WEIGHTS_MAX)
        return attn_error_set(
            error, ATTN_ARGUMENT, "weights of %lld x %lld x %lld x %lld elements: at most %d are explained",
            (long long)s->batch, (long long)s->heads, (long long)s->seq, (long long)s->kv_seq, ATTN_WEIGHTS_MAX);
    return ATTN_OK;
}

static attn_status make_attention_arrays(attn_explanation *x, attn_error *error)
{
    const attn_shape *const s = &x->problem.attention.shape;
    attn_status status = attn_explanation_check(&x->problem.attention, error);

    if (status == ATTN_OK)
        status = attn_explanation_array(&x->q, s->batch, s->heads, s->seq, s->head_dim, error);
    if (status == ATTN_OK)
        status = attn_explanation_array(&x->k, s->batch, s->kv_heads, s->kv_seq, s->head_dim, error);
    if (status == ATTN_OK)
        status = attn_explanation_array(&x->v, s->batch, s->kv_heads, s->kv_seq, s->v_head_dim, error);
    if (status == ATTN_OK)
        status = attn_explanation_array(&x->products, s->batch, s->heads, s->seq, s->kv_seq, error);
    if (status == ATTN_OK)
        status = attn_explanation_array(&x->scores, s->batch, s->heads, s->seq, s->kv_seq, error);
    if (status == ATTN_OK)
        status = attn_explanation_array(&x->weights, s->batch, s->heads, s->seq, s->kv_seq, error);
    if (status == ATTN_OK && x->problem.attention.dropout > 0)
        status = attn_explanation_array(&x->dropped, s->batch, s->heads, s->seq, s->kv_seq, error);
    if (status == ATTN_OK)
        status = attn_explanation_array(&x->lse, s->batch, s->heads, s->seq, 1, error);
    if (status == ATTN_OK)
        status = attn_explanation_array(&x->o, s->batch, s->heads, s->seq, s->v_head_dim, error);
    return status == ATTN_OK ? attn_explanation_array(&x->concat, s->batch, s->seq, s->heads, s->v_head_dim, error)
                             : status;
}

static attn_status copy_weights(attn_explanation *x, const attn_layer_arrays *weights, attn_error *error)
{
    const attn_layer_problem *const problem = &x->problem;
    const attn_shape *const s = &problem->attention.shape;
    const int64_t E = problem->embed_dim, Ec = problem->context_dim > 0 ? problem->context_dim : E;
    const struct {
        int64_t out, in;
    } extents[] = {[ATTN_PROJECTION_QUERY] = {s->heads * s->head_dim, E},
                   [ATTN_PROJECTION_KEY] = {s->kv_heads * s->head_dim, Ec},
                   [ATTN_PROJECTION_VALUE] = {s->kv_heads * s->v_head_dim, Ec},
                   [ATTN_PROJECTION_OUT] = {problem->out_dim, s->heads * s->v_head_dim}};
    attn_status status = ATTN_OK;

    for (int n = 0; n < ATTN_PROJECTION_COUNT && status == ATTN_OK; n++) {
        if (n == ATTN_PROJECTION_OUT && problem->out_dim == 0)
            continue;
        status = copy_array(&x->projection[n], extents[n].out, extents[n].in, 1, problem->attention.dtype,
                            weights->weight[n], error);
        if (status == ATTN_OK && problem->bias[n])
            status = copy_array(&x->bias[n], extents[n].out, 1, 1, problem->attention.dtype, weights->bias[n], error);
    }
    return status;
}

attn_status attn_explanation_begin_layer(attn_explanation *x, const attn_layer_arrays *weights, const void *rows,
                                         const void *context, attn_error *error)
{
    const attn_layer_problem *const problem = &x->problem;
    const attn_shape *const s = &problem->attention.shape;
    const attn_dtype dtype = problem->attention.dtype;
    attn_status status = copy_array(&x->x, s->batch, s->seq, problem->embed_dim, dtype, rows, error);

    if (status == ATTN_OK && problem->context_dim > 0)
        status = copy_array(&x->context, s->batch, s->kv_seq, problem->context_dim, dtype, context, error);
    if (status == ATTN_OK && problem->projected)
        status = copy_weights(x, weights, error);
    if (status == ATTN_OK && problem->rotary.style != ATTN_ROTARY_NONE) {
        status = attn_explanation_array(&x->q_projected, s->batch, s->heads, s->seq, s->head_dim, error);
        if (status == ATTN_OK)
            status = attn_explanation_array(&x->k_projected, s->batch, s->kv_heads, s->kv_seq, s->head_dim, error);
    }
    if (status == ATTN_OK && problem->out_dim > 0)
        status = attn_explanation_array(&x->y, s->batch, s->seq, problem->out_dim, 1, error);
    else
        x->y = x->concat;
    return status;
}

attn_status attn_explanation_begin(const attn_layer_problem *problem, attn_explanation **out, attn_error *error)
{
    attn_explanation *const x = calloc(1, sizeof *x);

    *out = x;
    if (x == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for an explanation");
    x->problem = *problem;
    return make_attention_arrays(x, error);
}

void attn_explanation_destroy(attn_explanation *explanation)
{
    attn_explanation *const x = explanation;

    if (x == NULL)
        return;
    if (x->y != x->concat)
        free(x->y);
    for (int n = 0; n < ATTN_PROJECTION_COUNT; n++) {
        free(x->projection[n]);
        free(x->bias[n]);
    }
    free(x->x);
    free(x->context);
    free(x->q_projected);
    free(x->k_projected);
    free(x->q);
    free(x->k);
    free(x->v);
    free(x->products);
    free(x->scores);
    free(x->weights);
    free(x->dropped);
    free(x->lse);
    free(x->o);
    free(x->concat);
    free(x);
}
