/* The passes of a layer: rows are gathered in the head group, heads compute, their outputs become y; and back. */
#include "layer/gradients.h"
#include "layer/place.h"

#include <assert.h>
#include <string.h>

static attn_dtype sum_type(const attn_layer *layer)
{
    return attn_dtype_accumulator(layer->problem.attention.dtype);
}

static const char *offset(const void *array, int64_t elements, attn_dtype dtype)
{
    return array == NULL ? NULL : (const char *)array + (size_t)elements * attn_dtype_size(dtype);
}

/* Columns of this rank's heads, and of one of its heads, in a line of outputs. */
static int64_t own_width(const attn_layer *layer)
{
    return layer->part->head_count * layer->problem.attention.shape.v_head_dim;
}

static bool stacked(const attn_layer *layer)
{
    return layer->form == ATTN_LAYER_FORM_STACKED;
}

/* Row at which the n-th object's weights begin within the block of this rank. */
static int64_t first_row(const attn_layer *layer, attn_projection projection, int64_t n)
{
    const attn_shape *const shape = &layer->problem.attention.shape;

    if (!stacked(layer))
        return 0;
    if (projection == ATTN_PROJECTION_QUERY)
        return n * shape->head_dim;
    return attn_layer_kv_head(layer, n) * (projection == ATTN_PROJECTION_KEY ? shape->head_dim : shape->v_head_dim);
}

/* One of the arrays; without projections there need not be any. */
static void *weight_of(const attn_layer *layer, const attn_layer_arrays *arrays, attn_projection projection)
{
    return attn_layer_weight_out(&layer->problem, projection) > 0 ? arrays->weight[projection] : NULL;
}

static void *bias_of(const attn_layer *layer, const attn_layer_arrays *arrays, attn_projection projection)
{
    return layer->problem.bias[projection] ? arrays->bias[projection] : NULL;
}

static attn_heads_weights weights_of(const attn_layer *layer, const attn_layer_arrays *weights, int64_t n)
{
    const attn_dtype dtype = layer->problem.attention.dtype;
    attn_heads_weights of = {.weight = {NULL}};

    for (int p = 0; layer->problem.projected && p < ATTN_PROJECTION_OUT; p++) {
        const int64_t row = first_row(layer, (attn_projection)p, n);

        of.weight[p] = offset(weight_of(layer, weights, (attn_projection)p),
                              row * attn_layer_weight_in(&layer->problem, (attn_projection)p), dtype);
        of.bias[p] = offset(bias_of(layer, weights, (attn_projection)p), row, dtype);
    }
    return of;
}

/* All lines of the part, gathered where others have some. */
static attn_status gather(attn_layer *layer, attn_shares *shares, int64_t width, const void *own, void *all,
                          attn_error *error)
{
    return all == NULL ? ATTN_OK
                       : attn_shares_gather(shares, width * (int64_t)attn_dtype_size(layer->problem.attention.dtype),
                                            own, all, error);
}

static const void *all_x(const attn_layer *layer, const void *x)
{
    return layer->x_all != NULL ? layer->x_all : x;
}

static const void *all_context(const attn_layer *layer, const void *x, const void *context)
{
    if (layer->context == NULL)
        return all_x(layer, x);
    return layer->context_all != NULL ? layer->context_all : context;
}

attn_status attn_layer_forward(attn_layer *layer, const attn_layer_arrays *weights, const void *x, const void *context,
                               void *y, double seconds[ATTN_PHASE_COUNT], attn_error *error)
{
    const attn_dtype dtype = layer->problem.attention.dtype;
    const int64_t width = layer->problem.attention.shape.v_head_dim;
    attn_laps laps = attn_laps_start(seconds);
    attn_status status = gather(layer, layer->queries, layer->problem.embed_dim, x, layer->x_all, error);

    if (status == ATTN_OK && layer->context != NULL)
        status = gather(layer, layer->context, layer->problem.context_dim, context, layer->context_all, error);
    attn_lap(&laps, ATTN_PHASE_GATHER);
    for (int64_t n = 0; n < layer->head_objects && status == ATTN_OK; n++) {
        const attn_heads_weights of = weights_of(layer, weights, n);
        char *const lines = attn_output_lines(layer->output, y);

        status =
            attn_heads_forward(layer->heads[n], &of, all_x(layer, x), all_context(layer, x, context),
                               lines + (size_t)(n * width) * attn_dtype_size(dtype), own_width(layer), &laps, error);
    }
    if (status == ATTN_OK)
        status = attn_output_forward(layer->output, weight_of(layer, weights, ATTN_PROJECTION_OUT),
                                     bias_of(layer, weights, ATTN_PROJECTION_OUT), y, &laps, error);
    seconds[ATTN_PHASE_TOTAL] = laps.last - laps.begin;
    return status;
}

/* From the lines of the part to this rank's, in the problem's dtype. */
static attn_status scatter(attn_layer *layer, attn_shares *shares, int64_t width, void *all, void *out, attn_laps *laps,
                           attn_error *error)
{
    const attn_dtype dtype = layer->problem.attention.dtype, sum = sum_type(layer);
    const int64_t lines = attn_shares_own_lines(shares);
    void *sums = all;
    attn_status status = ATTN_OK;

    if (out == NULL || all == out)
        return ATTN_OK;
    if (attn_shares_ranks(shares) > 1) {
        sums = layer->own_sum != NULL ? layer->own_sum : out;
        status = attn_shares_sum(shares, sum, width, all, layer->room, sums, layer->plan.threads, error);
    }
    if (status == ATTN_OK && sums != out) {
#pragma omp parallel for schedule(static) num_threads(layer->plan.threads)
        for (int64_t n = 0; n < lines; n++)
            attn_convert(dtype, (char *)out + (size_t)(n * width) * attn_dtype_size(dtype), sum,
                         (char *)sums + (size_t)(n * width) * attn_dtype_size(sum), (size_t)width);
    }
    attn_lap(laps, ATTN_PHASE_GATHER);
    return status;
}

/* Where heads leave the gradients of lines of x, or of the context: what the caller gets, where it is of that type and
 * has no other contributions. NULL: not needed. */
static void *lines_of(void *all, void *wanted)
{
    return wanted == NULL || all == NULL ? wanted : all;
}

/* One pair of passes of attention after the other: the gradients of lines are sums over them. */
static attn_status heads_backward(attn_layer *layer, const attn_layer_arrays *weights, const void *x,
                                  const void *context, const void *d_lines, void *dx, void *d_context,
                                  const attn_layer_arrays *gradients, attn_laps *laps, attn_error *error)
{
    const attn_dtype dtype = layer->problem.attention.dtype;
    const int64_t width = layer->problem.attention.shape.v_head_dim;
    attn_status status = ATTN_OK;

    for (int64_t n = 0; n < layer->head_objects && status == ATTN_OK; n++) {
        const attn_heads_weights of = weights_of(layer, weights, n);

        status =
            attn_heads_backward(layer->heads[n], x, offset(d_lines, n * width, dtype), own_width(layer), laps, error);
        if (status != ATTN_OK)
            return status;
        if (!layer->problem.projected) {
            /* no weights */
        } else if (stacked(layer)) {
            attn_layer_single_weights(layer, n, x, context, gradients, laps);
        } else {
            const attn_heads_gradients all = {
                .weight = {gradients->weight[0], gradients->weight[1], gradients->weight[2]},
                .bias = {gradients->bias[0], gradients->bias[1], gradients->bias[2]}};

            attn_heads_weights_backward(layer->heads[n], x, context, &all, laps);
            attn_layer_sum_heads(layer, gradients); /* beside the gradients of lines */
            attn_lap(laps, ATTN_PHASE_WEIGHT_REDUCE);
        }
        attn_heads_data_backward(layer->heads[n], &of, n > 0, dx, d_context, laps);
    }
    return status;
}

/* A rank without heads adds nothing. */
static void clear_lines(const attn_layer *layer, const attn_shares *shares, int64_t width, void *lines)
{
    if (lines != NULL && layer->head_objects == 0)
        memset(lines, 0, (size_t)(attn_shares_lines(shares) * width) * attn_dtype_size(sum_type(layer)));
}

attn_status attn_layer_backward(attn_layer *layer, const attn_layer_arrays *weights, const void *x, const void *context,
                                const void *dy, void *dx, void *d_context, const attn_layer_arrays *gradients,
                                double seconds[ATTN_PHASE_COUNT], attn_error *error)
{
    const attn_layer_problem *const problem = &layer->problem;
    void *const dx_lines = lines_of(layer->dx_all, dx);
    void *const d_context_lines = layer->context != NULL ? lines_of(layer->d_context_all, d_context) : NULL;
    const void *d_lines;
    attn_laps laps = attn_laps_start(seconds);
    attn_status status;

    assert(layer->plan.pass == ATTN_PASS_BACKWARD);
    status = attn_output_backward(layer->output, weight_of(layer, weights, ATTN_PROJECTION_OUT), dy,
                                  weight_of(layer, gradients, ATTN_PROJECTION_OUT),
                                  bias_of(layer, gradients, ATTN_PROJECTION_OUT), &d_lines, &laps, error);
    if (status != ATTN_OK)
        return status;
    attn_layer_sum_output(layer, gradients); /* beside attention */
    attn_lap(&laps, ATTN_PHASE_WEIGHT_REDUCE);
    clear_lines(layer, layer->queries, problem->embed_dim, dx_lines);
    clear_lines(layer, attn_layer_keys(layer), problem->context_dim, d_context_lines);
    status = heads_backward(layer, weights, all_x(layer, x), all_context(layer, x, context), d_lines, dx_lines,
                            d_context_lines, gradients, &laps, error);
    if (status == ATTN_OK && stacked(layer) && problem->projected) {
        status = attn_layer_collect_heads(layer, gradients, error);
        if (status == ATTN_OK)
            attn_layer_sum_heads(layer, gradients);
        attn_lap(&laps, ATTN_PHASE_WEIGHT_REDUCE);
    }
    if (status == ATTN_OK)
        status = scatter(layer, layer->queries, problem->embed_dim, dx_lines, dx, &laps, error);
    if (status == ATTN_OK && d_context_lines != NULL)
        status = scatter(layer, layer->context, problem->context_dim, d_context_lines, d_context, &laps, error);
    if (status == ATTN_OK)
        status = attn_layer_finish_sums(layer, gradients, error);
    attn_lap(&laps, ATTN_PHASE_WEIGHT_REDUCE);
    seconds[ATTN_PHASE_TOTAL] = laps.last - laps.begin;
    return status;
}
