#include <attn/layer.h>

#include "core/checked.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const projection_names[] = {
#define PROJECTION_NAME(name, text) [ATTN_PROJECTION_##name] = text,
    ATTN_PROJECTION_LIST(PROJECTION_NAME)
#undef PROJECTION_NAME
};

static const char *const rotary_names[] = {
#define ROTARY_NAME(name, text, meaning) [ATTN_ROTARY_##name] = text,
    ATTN_ROTARY_LIST(ROTARY_NAME)
#undef ROTARY_NAME
};

const char *attn_projection_name(attn_projection projection)
{
    return (unsigned)projection < ATTN_PROJECTION_COUNT ? projection_names[projection] : "unknown";
}

const char *attn_rotary_style_name(attn_rotary_style style)
{
    return (unsigned)style < ATTN_ROTARY_COUNT ? rotary_names[style] : "unknown";
}

bool attn_rotary_style_find(const char *name, attn_rotary_style *style)
{
    for (int s = 0; s < ATTN_ROTARY_COUNT; s++)
        if (strcmp(name, rotary_names[s]) == 0) {
            *style = (attn_rotary_style)s;
            return true;
        }
    return false;
}

/* No weights: q, k and v are x. */
static attn_status check_plain(const attn_layer_problem *problem, attn_error *error)
{
    const attn_shape *const shape = &problem->attention.shape;

    if (shape->heads != 1)
        return attn_error_set(error, ATTN_ARGUMENT, "heads %" PRId64 ": a layer without projections has 1",
                              shape->heads);
    if (shape->head_dim != problem->embed_dim || shape->v_head_dim != problem->embed_dim)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "head-dim %" PRId64 ", v-head-dim %" PRId64
                              ": without projections both are the width of x, %" PRId64,
                              shape->head_dim, shape->v_head_dim, problem->embed_dim);
    if (problem->context_dim != 0)
        return attn_error_set(error, ATTN_ARGUMENT, "context width %" PRId64 ": must be 0 without projections",
                              problem->context_dim);
    if (problem->out_dim != 0)
        return attn_error_set(error, ATTN_ARGUMENT, "output width %" PRId64 ": must be 0 without projections",
                              problem->out_dim);
    if (problem->rotary.style != ATTN_ROTARY_NONE)
        return attn_error_set(error, ATTN_ARGUMENT, "rotary style %s: must be none without projections",
                              attn_rotary_style_name(problem->rotary.style));
    return ATTN_OK;
}

static attn_status check_rotary(const attn_layer_problem *problem, attn_error *error)
{
    const attn_rotary *const rotary = &problem->rotary;
    const int64_t head_dim = problem->attention.shape.head_dim;

    if ((unsigned)rotary->style >= ATTN_ROTARY_COUNT)
        return attn_error_set(error, ATTN_ARGUMENT, "rotary style %d: must be none, half or interleaved",
                              (int)rotary->style);
    if (rotary->style == ATTN_ROTARY_NONE)
        return ATTN_OK;
    if (!(rotary->theta > 0 && isfinite(rotary->theta)))
        return attn_error_set(error, ATTN_ARGUMENT, "rotary theta %g: must be a positive number", rotary->theta);
    if (rotary->dim < 2 || rotary->dim > head_dim || rotary->dim % 2 != 0)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "rotary dim %" PRId64 ": must be even, at least 2 and at most head-dim %" PRId64,
                              rotary->dim, head_dim);
    return ATTN_OK;
}

/* The bytes of [rows,columns] of an array, 8 an element. */
static attn_status check_bytes(const char *array, int64_t rows, int64_t columns, attn_error *error)
{
    const int64_t factors[] = {rows, columns, 8};
    int64_t bytes;

    if (attn_int64_product(factors, 3, &bytes))
        return ATTN_OK;
    return attn_error_set(error, ATTN_ARGUMENT,
                          "%s of %" PRId64 " x %" PRId64 " elements: too large; its bytes must fit in 63 bits", array,
                          rows, columns);
}

static attn_status check_sizes(const attn_layer_problem *problem, attn_error *error)
{
    const attn_shape *const shape = &problem->attention.shape;
    int64_t lines = 0, context_lines = 0, width = 0;
    attn_status status = ATTN_OK;

    if (!attn_int64_multiply(shape->batch, shape->seq, &lines) ||
        !attn_int64_multiply(shape->batch, shape->kv_seq, &context_lines) ||
        !attn_int64_multiply(shape->heads, shape->head_dim, &width) ||
        !attn_int64_multiply(shape->heads, shape->v_head_dim, &width))
        return attn_error_set(error, ATTN_ARGUMENT, "batch %" PRId64 " of %" PRId64 " rows: too many", shape->batch,
                              shape->seq);
    status = check_bytes("x", lines, problem->embed_dim, error);
    if (status == ATTN_OK)
        status = check_bytes("context", context_lines, problem->context_dim, error);
    if (status == ATTN_OK)
        status = check_bytes("y", lines, attn_layer_out_dim(problem), error);
    for (int p = 0; p < ATTN_PROJECTION_COUNT && status == ATTN_OK; p++)
        status = check_bytes(projection_names[p], attn_layer_weight_out(problem, (attn_projection)p),
                             attn_layer_weight_in(problem, (attn_projection)p), error);
    return status;
}

attn_status attn_layer_problem_check(const attn_layer_problem *problem, attn_error *error)
{
    const attn_shape *const shape = &problem->attention.shape;
    attn_status status = attn_problem_check(&problem->attention, error);

    if (status != ATTN_OK)
        return status;
    if (problem->embed_dim <= 0)
        return attn_error_set(error, ATTN_ARGUMENT, "embed-dim %" PRId64 ": must be a positive number",
                              problem->embed_dim);
    if (problem->context_dim < 0)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "context width %" PRId64 ": must be 0 (self-attention) or a positive number",
                              problem->context_dim);
    if (problem->out_dim < 0)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "output width %" PRId64 ": must be 0 (no output projection) or a positive number",
                              problem->out_dim);
    if (problem->context_dim == 0 && shape->kv_seq != shape->seq)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "kv-seq %" PRId64 ": self-attention has as many keys as queries, %" PRId64
                              "; other lengths need a context",
                              shape->kv_seq, shape->seq);
    status = check_rotary(problem, error);
    if (status == ATTN_OK && !problem->projected)
        status = check_plain(problem, error);
    for (int p = 0; p < ATTN_PROJECTION_COUNT && status == ATTN_OK; p++)
        if (problem->bias[p] && attn_layer_weight_out(problem, (attn_projection)p) == 0)
            status = attn_error_set(error, ATTN_ARGUMENT, "bias of %s: the layer has no such projection",
                                    projection_names[p]);
    return status == ATTN_OK ? check_sizes(problem, error) : status;
}

int64_t attn_layer_weight_out(const attn_layer_problem *problem, attn_projection projection)
{
    const attn_shape *const shape = &problem->attention.shape;

    if (!problem->projected)
        return 0;
    switch (projection) {
    case ATTN_PROJECTION_QUERY:
        return shape->heads * shape->head_dim;
    case ATTN_PROJECTION_KEY:
        return shape->kv_heads * shape->head_dim;
    case ATTN_PROJECTION_VALUE:
        return shape->kv_heads * shape->v_head_dim;
    case ATTN_PROJECTION_OUT:
        return problem->out_dim;
    default:
        return 0;
    }
}

int64_t attn_layer_weight_in(const attn_layer_problem *problem, attn_projection projection)
{
    const attn_shape *const shape = &problem->attention.shape;

    if (attn_layer_weight_out(problem, projection) == 0)
        return 0;
    switch (projection) {
    case ATTN_PROJECTION_QUERY:
        return problem->embed_dim;
    case ATTN_PROJECTION_OUT:
        return shape->heads * shape->v_head_dim;
    default:
        return problem->context_dim > 0 ? problem->context_dim : problem->embed_dim;
    }
}

int64_t attn_layer_out_dim(const attn_layer_problem *problem)
{
    const attn_shape *const shape = &problem->attention.shape;

    return problem->out_dim > 0 ? problem->out_dim : shape->heads * shape->v_head_dim;
}

/* Multiplications of all projections: their weights times the rows that they are applied to. */
static double count_products(const attn_layer_problem *problem)
{
    const attn_shape *const shape = &problem->attention.shape;
    double products = 0;

    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        const bool keys = p == ATTN_PROJECTION_KEY || p == ATTN_PROJECTION_VALUE;

        products += (double)attn_layer_weight_out(problem, (attn_projection)p) *
                    (double)attn_layer_weight_in(problem, (attn_projection)p) * (double)shape->batch *
                    (double)(keys ? shape->kv_seq : shape->seq);
    }
    return products;
}

double attn_layer_flops_forward(const attn_layer_problem *problem)
{
    return 2 * count_products(problem) + attn_flops_forward(&problem->attention);
}

double attn_layer_flops_backward(const attn_layer_problem *problem)
{
    return 4 * count_products(problem) + attn_flops_backward(&problem->attention);
}
