/* Reading the settings of a layer file and checking every extent and type, by one process. */
#include "io/h5.h"
#include "io/layer_format.h"
#include "io/schema.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct scan {
    const char *path;
    hid_t file;
    attn_layer_header *header;
} scan;

/* Reads the extents and the type of an array, where it is there. */
static attn_status read_array(const scan *s, attn_layer_array array, int64_t extents[3], attn_error *error)
{
    const char *const name = attn_layer_array_path(array);
    hsize_t found[H5S_MAX_RANK] = {0};
    hid_t dataset;
    int rank;
    char type[128];
    attn_status status;

    if (!attn_h5_has_object(s->file, name))
        return ATTN_OK;
    status = attn_h5_open_dataset(s->file, s->path, name, &dataset, &rank, found, error);
    if (status != ATTN_OK)
        return status;
    if (rank != 3)
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %d dimensions; %s is needed", s->path, name,
                                rank, attn_layer_array_symbols(array));
    for (int d = 0; status == ATTN_OK && d < 3; d++) {
        if (found[d] == 0 || found[d] > INT64_MAX)
            status =
                attn_error_set(error, ATTN_INPUT, "%s: dataset %s: extent %d of %s is %llu; at least 1 is needed",
                               s->path, name, d + 1, attn_layer_array_symbols(array), (unsigned long long)found[d]);
        extents[d] = (int64_t)found[d];
    }
    if (status == ATTN_OK && !attn_h5_dtype_of(dataset, &s->header->stored[array], type, sizeof type))
        status = attn_h5_dtype_refuse(s->path, name, type, error);
    s->header->present[array] = status == ATTN_OK;
    attn_h5_close(dataset);
    return status;
}

/* x and the context give the shape its lengths and the layer its widths. */
static attn_status scan_inputs(const scan *s, attn_error *error)
{
    attn_layer_problem *const problem = &s->header->problem;
    attn_shape *const shape = &problem->attention.shape;
    int64_t x[3] = {0}, context[3] = {0};
    attn_status status = read_array(s, ATTN_LAYER_X, x, error);

    if (status == ATTN_OK && !s->header->present[ATTN_LAYER_X])
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset x is missing; one of [B,S,E] is needed", s->path);
    if (status == ATTN_OK)
        status = read_array(s, ATTN_LAYER_CONTEXT, context, error);
    if (status != ATTN_OK)
        return status;
    if (s->header->present[ATTN_LAYER_CONTEXT] && context[0] != x[0])
        return attn_error_set(error, ATTN_INPUT, "%s: dataset context: B is %" PRId64 "; %" PRId64 " as in x is needed",
                              s->path, context[0], x[0]);
    shape->batch = x[0];
    shape->seq = x[1];
    shape->kv_seq = s->header->present[ATTN_LAYER_CONTEXT] ? context[1] : x[1];
    problem->embed_dim = x[2];
    problem->context_dim = context[2];
    problem->attention.dtype = s->header->stored[ATTN_LAYER_X];
    return ATTN_OK;
}

/* The other arrays follow the layer. */
static attn_status check_array(const scan *s, attn_layer_array array, attn_error *error)
{
    static const char *const words[3] = {"B", "rows", "width"};
    int64_t found[3] = {0}, wanted[3];
    attn_status status = read_array(s, array, found, error);

    attn_layer_array_extents(&s->header->problem, array, wanted);
    if (status == ATTN_OK && s->header->present[array] && wanted[2] == 0)
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s: there is no context; none is accepted", s->path,
                              attn_layer_array_path(array));
    for (int d = 0; status == ATTN_OK && s->header->present[array] && d < 3; d++)
        if (found[d] != wanted[d])
            status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s: %s is %" PRId64 "; %" PRId64 " is needed",
                                    s->path, attn_layer_array_path(array), words[d], found[d], wanted[d]);
    return status;
}

static attn_status scan_heads(const scan *s, bool projected, attn_error *error)
{
    attn_shape *const shape = &s->header->problem.attention.shape;
    attn_status status;

    if (projected && !attn_h5_has_attribute(s->file, "num_heads"))
        return attn_error_set(error, ATTN_INPUT,
                              "%s: attribute num_heads is missing; the number of query heads is needed", s->path);
    status = attn_settings_integer(s->file, s->path, "num_heads", 1, &shape->heads, error);
    if (status == ATTN_OK)
        status = attn_settings_integer(s->file, s->path, "num_kv_heads", shape->heads, &shape->kv_heads, error);
    if (status == ATTN_OK && (shape->heads < 1 || shape->heads > INT32_MAX))
        status = attn_error_set(error, ATTN_INPUT, "%s: attribute num_heads is %" PRId64 "; 1 to %d is accepted",
                                s->path, shape->heads, INT32_MAX);
    if (status == ATTN_OK && (shape->kv_heads < 1 || shape->heads % shape->kv_heads != 0))
        status =
            attn_error_set(error, ATTN_INPUT,
                           "%s: attribute num_kv_heads is %" PRId64 "; a divisor of num_heads %" PRId64 " is needed",
                           s->path, shape->kv_heads, shape->heads);
    if (status == ATTN_OK && !projected && shape->heads > 1)
        status =
            attn_error_set(error, ATTN_INPUT, "%s: attribute num_heads is %" PRId64 "; without weights 1 is accepted",
                           s->path, shape->heads);
    return status;
}

static attn_status scan_rotary(const scan *s, attn_error *error)
{
    attn_rotary *const rotary = &s->header->problem.rotary;
    char *style = NULL;
    attn_status status;

    if (!attn_h5_has_attribute(s->file, "rotary_style"))
        return ATTN_OK;
    status = attn_h5_read_text(s->file, s->path, "rotary_style", &style, error);
    if (status == ATTN_OK && !attn_rotary_style_find(style, &rotary->style))
        status = attn_error_set(error, ATTN_INPUT,
                                "%s: attribute rotary_style is \"%.40s\"; half, interleaved or none is accepted",
                                s->path, style);
    free(style);
    if (status == ATTN_OK)
        status = attn_settings_real(s->file, s->path, "rotary_theta", 10000, &rotary->theta, error);
    if (status == ATTN_OK)
        status = attn_settings_integer(s->file, s->path, "rotary_dim", s->header->problem.attention.shape.head_dim,
                                       &rotary->dim, error);
    return status;
}

/* Without weights q, k and v are x. */
static attn_status set_plain(const scan *s, attn_error *error)
{
    attn_layer_problem *const problem = &s->header->problem;

    if (problem->context_dim > 0)
        return attn_error_set(error, ATTN_INPUT, "%s: dataset context: without weights none is accepted", s->path);
    problem->attention.shape.head_dim = problem->attention.shape.v_head_dim = problem->embed_dim;
    return ATTN_OK;
}

static attn_status scan_file(const scan *s, attn_error *error)
{
    attn_layer_problem *const problem = &s->header->problem;
    const bool projected = attn_h5_has_object(s->file, "weights");
    attn_error found = ATTN_ERROR_INIT;
    attn_status status = attn_schema_check(s->file, s->path, "attn-layer", error);

    if (status == ATTN_OK)
        status = attn_h5_check_group(s->file, s->path, "expected", "y, dx, dcontext, weights", error);
    if (status == ATTN_OK)
        status = scan_inputs(s, error);
    if (status == ATTN_OK)
        status = scan_heads(s, projected, error);
    if (status == ATTN_OK)
        status = projected ? attn_layer_scan_weights(s->file, s->path, s->header, error) : set_plain(s, error);
    for (int a = ATTN_LAYER_DY; a < ATTN_LAYER_ARRAY_COUNT && status == ATTN_OK; a++)
        status = check_array(s, (attn_layer_array)a, error);
    if (status == ATTN_OK)
        status = attn_settings_name_file(s->path, attn_shape_check(&problem->attention.shape, &found), &found, error);
    if (status == ATTN_OK)
        status = attn_settings_scan(s->file, s->path, &problem->attention, &s->header->settings, error);
    if (status == ATTN_OK)
        status = scan_rotary(s, error);
    if (status == ATTN_OK)
        status = attn_settings_name_file(s->path, attn_layer_problem_check(problem, &found), &found, error);
    return status;
}

attn_status attn_layer_scan(const char *path, attn_layer_header *header, attn_error *error)
{
    scan s = {.path = path, .header = header};
    attn_status status = attn_h5_open(path, &s.file, error);

    if (status != ATTN_OK)
        return status;
    status = scan_file(&s, error);
    attn_h5_close(s.file);
    return status;
}
