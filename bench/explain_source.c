#include "explain_source.h"
#include "shown.h"
#include "tensors.h"

#include <stdlib.h>
#include <string.h>

/* ---- Opening ---- */

/* Without weights: q = k = v = x, one head as wide as x. */
static attn_status forget_weights(const char *path, attn_layer_problem *problem, attn_error *error)
{
    attn_shape *const shape = &problem->attention.shape;

    if (problem->embed_dim == 0)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "%s: an attn-input file has no weights; --no-weights is accepted with attn-layer files",
                              shown_path(path).text);
    if (problem->context_dim > 0)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: has a context; --no-weights is accepted with self-attention",
                              shown_path(path).text);
    shape->heads = shape->kv_heads = 1;
    shape->head_dim = shape->v_head_dim = problem->embed_dim;
    problem->attention.score.scale = 1;
    problem->projected = false;
    problem->out_dim = 0;
    problem->rotary = (attn_rotary){.style = ATTN_ROTARY_NONE};
    memset(problem->bias, 0, sizeof problem->bias);
    return ATTN_OK;
}

static attn_status replace_rotary(const char *path, attn_rotary_style style, attn_layer_problem *problem,
                                  attn_error *error)
{
    const int64_t D = problem->attention.shape.head_dim;

    if (problem->embed_dim == 0)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "%s: q and k of an attn-input file are as they are; --rotary is accepted with attn-layer "
                              "files",
                              shown_path(path).text);
    problem->rotary = (attn_rotary){.style = style, .theta = 10000, .dim = D - D % 2};
    if (style == ATTN_ROTARY_NONE)
        problem->rotary = (attn_rotary){.style = style};
    return ATTN_OK;
}

static attn_status replace_settings(const char *path, const explain_settings *settings, attn_layer_problem *problem,
                                    attn_error *error)
{
    attn_problem *const attention = &problem->attention;
    attn_status status = settings->no_weights ? forget_weights(path, problem, error) : ATTN_OK;

    attention->dtype = ATTN_FLOAT64;
    if (settings->causal)
        attention->mask.causal = true;
    if (settings->has_scale)
        attention->score.scale = settings->scale;
    if (settings->has_dropout)
        attention->dropout = settings->dropout;
    if (settings->has_seed)
        attention->dropout_seed = settings->seed;
    if (status == ATTN_OK && settings->has_rotary)
        status = replace_rotary(path, settings->rotary, problem, error);
    if (status == ATTN_OK)
        status =
            problem->embed_dim > 0 ? attn_layer_problem_check(problem, error) : attn_problem_check(attention, error);
    return status == ATTN_OK ? attn_explanation_check(attention, error) : status;
}

attn_status explain_source_open(const bench *launch, const char *path, const explain_settings *settings,
                                explain_source *out, attn_error *error)
{
    char schema[64];
    attn_status status = attn_file_schema(launch->comm, path, schema, sizeof schema, error);

    *out = (explain_source){.input = NULL};
    if (status != ATTN_OK)
        return status;
    if (strcmp(schema, "attn-input") == 0) {
        status = attn_input_open(launch->comm, path, &out->input, error);
        if (status == ATTN_OK)
            out->problem.attention = *attn_input_problem(out->input);
    } else if (strcmp(schema, "attn-layer") == 0) {
        status = attn_layer_file_open(launch->comm, path, &out->layer, error);
        if (status == ATTN_OK)
            out->problem = *attn_layer_file_problem(out->layer);
    } else {
        status = attn_error_set(error, ATTN_INPUT, "%s: schema %s; attn-input and attn-layer are accepted",
                                shown_path(path).text, schema);
    }
    return status == ATTN_OK ? replace_settings(path, settings, &out->problem, error) : status;
}

attn_status explain_source_close(explain_source *source, attn_status status, attn_error *error)
{
    if (status == ATTN_MPI)
        return status;
    if (status != ATTN_OK) {
        attn_input_discard(source->input);
        attn_layer_file_discard(source->layer);
        return status;
    }
    status = attn_input_close(source->input, error);
    return status == ATTN_OK ? attn_layer_file_close(source->layer, error) : status;
}

/* ---- Reading: rank 0 everything, the others nothing ---- */

/* Rank 0: memory for count numbers, and the rows 0 .. seq - 1. */
static attn_status make_room(const bench *launch, int64_t count, int64_t seq, double **array, attn_segments **rows,
                             attn_error *error)
{
    const int64_t begin = 0;
    attn_status status = ATTN_OK;

    *array = NULL;
    *rows = NULL;
    if (launch->rank == 0) {
        *array = tensor_allocate(count, ATTN_FLOAT64);
        status = *array != NULL ? attn_segments_create(1, &begin, &seq, rows, error)
                                : attn_error_set(error, ATTN_MEMORY, "no memory for %lld numbers", (long long)count);
    }
    return attn_comm_agree(launch->comm, status, error);
}

static attn_status read_input_array(const bench *launch, const explain_source *source, attn_input_array array,
                                    int64_t heads, int64_t seq, int64_t width, double **out, attn_error *error)
{
    attn_segments *rows;
    attn_status status =
        make_room(launch, source->problem.attention.shape.batch * heads * seq * width, seq, out, &rows, error);
    const attn_block block = {0, launch->rank == 0 ? heads : 0, rows};

    if (status == ATTN_OK)
        status = attn_input_read(source->input, array, &block, ATTN_FLOAT64, *out, error);
    attn_segments_destroy(rows);
    return status;
}

static attn_status read_layer_array(const bench *launch, const explain_source *source, attn_layer_array array,
                                    int64_t seq, int64_t width, double **out, attn_error *error)
{
    attn_segments *rows;
    attn_status status = make_room(launch, source->problem.attention.shape.batch * seq * width, seq, out, &rows, error);

    if (status == ATTN_OK)
        status = attn_layer_file_read(source->layer, array, rows, ATTN_FLOAT64, *out, error);
    attn_segments_destroy(rows);
    return status;
}

/* A weight or a bias; *out stays NULL where the layer has none. */
static attn_status read_weight(const bench *launch, const explain_source *source, int projection, bool bias, void **out,
                               attn_error *error)
{
    const attn_layer_problem *const problem = &source->problem;
    const attn_layer_weight weight = {.projection = (attn_projection)projection, .bias = bias};
    attn_weight_block block = {.row_count = attn_layer_weight_out(problem, weight.projection),
                               .column_count = bias ? 1 : attn_layer_weight_in(problem, weight.projection)};
    attn_segments *rows;
    double *array;
    attn_status status;

    if (block.row_count == 0 || (bias && !problem->bias[projection]))
        return ATTN_OK;
    status = make_room(launch, block.row_count * block.column_count, 1, &array, &rows, error);
    *out = array;
    attn_segments_destroy(rows);
    if (launch->rank != 0)
        block = (attn_weight_block){.row_count = 0};
    return status == ATTN_OK ? attn_layer_file_read_weight(source->layer, weight, &block, ATTN_FLOAT64, array, error)
                             : status;
}

/* ---- Computing ---- */

static attn_status compute_input(const bench *launch, const explain_source *source, attn_explanation **x,
                                 attn_explanation **unmasked, attn_error *error)
{
    const attn_shape *const s = &source->problem.attention.shape;
    attn_problem problem = source->problem.attention;
    double *q = NULL, *k = NULL, *v = NULL;
    attn_status status = read_input_array(launch, source, ATTN_INPUT_Q, s->heads, s->seq, s->head_dim, &q, error);

    if (status == ATTN_OK)
        status = read_input_array(launch, source, ATTN_INPUT_K, s->kv_heads, s->kv_seq, s->head_dim, &k, error);
    if (status == ATTN_OK)
        status = read_input_array(launch, source, ATTN_INPUT_V, s->kv_heads, s->kv_seq, s->v_head_dim, &v, error);
    if (status == ATTN_OK && launch->rank == 0) {
        status = attn_explanation_make_attention(&problem, q, k, v, x, error);
        problem.mask = (attn_mask)ATTN_MASK_FULL;
        if (status == ATTN_OK && unmasked != NULL)
            status = attn_explanation_make_attention(&problem, q, k, v, unmasked, error);
    }
    free(q);
    free(k);
    free(v);
    return status;
}

static attn_status read_weights(const bench *launch, const explain_source *source, attn_layer_arrays *weights,
                                attn_error *error)
{
    attn_status status = ATTN_OK;

    for (int p = 0; p < ATTN_PROJECTION_COUNT && status == ATTN_OK && source->problem.projected; p++) {
        status = read_weight(launch, source, p, false, &weights->weight[p], error);
        if (status == ATTN_OK)
            status = read_weight(launch, source, p, true, &weights->bias[p], error);
    }
    return status;
}

static attn_status compute_layer(const bench *launch, const explain_source *source, attn_explanation **x,
                                 attn_explanation **unmasked, attn_error *error)
{
    attn_layer_problem problem = source->problem;
    const attn_shape *const s = &problem.attention.shape;
    attn_layer_arrays weights = {.weight = {NULL}};
    double *rows = NULL, *context = NULL;
    attn_status status = read_layer_array(launch, source, ATTN_LAYER_X, s->seq, problem.embed_dim, &rows, error);

    if (status == ATTN_OK && problem.context_dim > 0)
        status = read_layer_array(launch, source, ATTN_LAYER_CONTEXT, s->kv_seq, problem.context_dim, &context, error);
    if (status == ATTN_OK)
        status = read_weights(launch, source, &weights, error);
    if (status == ATTN_OK && launch->rank == 0) {
        status = attn_explanation_make(&problem, &weights, rows, context, x, error);
        problem.attention.mask = (attn_mask)ATTN_MASK_FULL;
        if (status == ATTN_OK && unmasked != NULL)
            status = attn_explanation_make(&problem, &weights, rows, context, unmasked, error);
    }
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        free(weights.weight[p]);
        free(weights.bias[p]);
    }
    free(rows);
    free(context);
    return status;
}

attn_status explain_source_compute(const bench *launch, const explain_source *source, attn_explanation **x,
                                   attn_explanation **unmasked, attn_error *error)
{
    *x = NULL;
    if (unmasked != NULL)
        *unmasked = NULL;
    return source->layer != NULL ? compute_layer(launch, source, x, unmasked, error)
                                 : compute_input(launch, source, x, unmasked, error);
}
