#include "io/layer_format.h"

#include "core/checked.h"

#include <stdio.h>
#include <string.h>

static const struct {
    attn_projection first;
    int count;
    const char *words;
} roles[ATTN_LAYER_ROLE_COUNT] = {
#define ROLE_ROW(name, first, count, words) [ATTN_LAYER_ROLE_##name] = {ATTN_PROJECTION_##first, count, words},
    ATTN_LAYER_ROLE_LIST(ROLE_ROW)
#undef ROLE_ROW
};

static const struct {
    const char *path, *symbols, *meaning;
} arrays[ATTN_LAYER_ARRAY_COUNT] = {
    [ATTN_LAYER_X] = {"x", "[B,S,E]", "input of the layer"},
    [ATTN_LAYER_CONTEXT] = {"context", "[B,Skv,Ec]", "context of the layer"},
    [ATTN_LAYER_DY] = {"dy", "[B,S,out]", "gradient of the output"},
    [ATTN_LAYER_EXPECTED_Y] = {"expected/y", "[B,S,out]", "expected output"},
    [ATTN_LAYER_EXPECTED_DX] = {"expected/dx", "[B,S,E]", "expected gradient of the input"},
    [ATTN_LAYER_EXPECTED_DCONTEXT] = {"expected/dcontext", "[B,Skv,Ec]", "expected gradient of the context"},
};

attn_projection attn_layer_role_first(attn_layer_role role)
{
    return roles[role].first;
}

int attn_layer_role_count(attn_layer_role role)
{
    return roles[role].count;
}

const char *attn_layer_role_words(attn_layer_role role)
{
    return roles[role].words;
}

const char *attn_layer_array_path(attn_layer_array array)
{
    static const char *const paths[] = {
#define ARRAY_PATH(name, path) [ATTN_LAYER_##name] = path,
        ATTN_LAYER_ARRAY_LIST(ARRAY_PATH)
#undef ARRAY_PATH
    };

    return (unsigned)array < ATTN_LAYER_ARRAY_COUNT ? paths[array] : "unknown array";
}

const char *attn_layer_array_symbols(attn_layer_array array)
{
    return arrays[array].symbols;
}

const char *attn_layer_array_meaning(attn_layer_array array)
{
    return arrays[array].meaning;
}

void attn_layer_array_extents(const attn_layer_problem *problem, attn_layer_array array, int64_t extents[3])
{
    const attn_shape *const shape = &problem->attention.shape;

    extents[0] = shape->batch;
    extents[1] = shape->seq;
    extents[2] = problem->embed_dim;
    if (array == ATTN_LAYER_CONTEXT || array == ATTN_LAYER_EXPECTED_DCONTEXT) {
        extents[1] = shape->kv_seq;
        extents[2] = problem->context_dim;
    } else if (array == ATTN_LAYER_DY || array == ATTN_LAYER_EXPECTED_Y) {
        extents[2] = attn_layer_out_dim(problem);
    }
}

const attn_layer_dataset *attn_layer_header_find(const attn_layer_header *header, attn_projection projection, bool bias,
                                                 int64_t *row)
{
    for (int n = 0; n < header->dataset_count; n++) {
        const attn_layer_dataset *const dataset = &header->datasets[n];
        const int first = (int)roles[dataset->role].first;

        if (dataset->bias != bias || (int)projection < first || (int)projection >= first + roles[dataset->role].count)
            continue;
        *row = 0;
        for (int p = first; p < (int)projection; p++)
            *row += attn_layer_weight_out(&header->problem, (attn_projection)p);
        return dataset;
    }
    return NULL;
}

/* One dataset for each weight and bias, named as the project does. */
static void name_datasets(attn_layer_header *header, const attn_layer_contents *contents)
{
    for (int n = 0; n < 2 * ATTN_PROJECTION_COUNT; n++) {
        const attn_projection projection = (attn_projection)(n / 2);
        const bool bias = n % 2 == 1;
        attn_layer_dataset *const dataset = &header->datasets[header->dataset_count];

        if (attn_layer_weight_out(&header->problem, projection) == 0 || (bias && !header->problem.bias[projection]))
            continue;
        header->dataset_count++;
        dataset->role = (attn_layer_role)projection;
        dataset->bias = bias;
        dataset->stored = contents->weights;
        dataset->rows = attn_layer_weight_out(&header->problem, projection);
        dataset->columns = bias ? 1 : attn_layer_weight_in(&header->problem, projection);
        snprintf(dataset->path, sizeof dataset->path, "weights/%s.%s", attn_projection_name(projection),
                 bias ? "bias" : "weight");
        snprintf(dataset->expected, sizeof dataset->expected, "expected/weights/%s.%s",
                 attn_projection_name(projection), bias ? "bias" : "weight");
    }
}

static attn_status check_contents(const attn_layer_problem *problem, const attn_layer_contents *contents,
                                  attn_error *error)
{
    const bool context = problem->context_dim > 0;

    if (!contents->present[ATTN_LAYER_X] || contents->present[ATTN_LAYER_CONTEXT] != context)
        return attn_error_set(error, ATTN_ARGUMENT, "contents of a layer file: x%s needed",
                              context ? " and the context are" : " is, and no context is");
    for (int a = 0; a < ATTN_LAYER_ARRAY_COUNT; a++)
        if (contents->present[a] && (unsigned)contents->stored[a] >= ATTN_DTYPE_COUNT)
            return attn_error_set(error, ATTN_ARGUMENT, "%s: element type %d; 0 to %d are known", arrays[a].path,
                                  (int)contents->stored[a], ATTN_DTYPE_COUNT - 1);
    if ((contents->like == NULL && (unsigned)contents->weights >= ATTN_DTYPE_COUNT) ||
        (contents->gradients && (unsigned)contents->gradient_type >= ATTN_DTYPE_COUNT))
        return attn_error_set(error, ATTN_ARGUMENT, "weights of a layer file: element types 0 to %d are known",
                              ATTN_DTYPE_COUNT - 1);
    return ATTN_OK;
}

/* Whether the file has just the weights that the layer needs. */
static bool has_weights(const attn_layer_file *like, const attn_layer_problem *problem)
{
    const attn_layer_problem *const theirs = &like->header.problem;
    bool same = true;

    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
        same =
            same && theirs->bias[p] == problem->bias[p] &&
            attn_layer_weight_out(theirs, (attn_projection)p) == attn_layer_weight_out(problem, (attn_projection)p) &&
            attn_layer_weight_in(theirs, (attn_projection)p) == attn_layer_weight_in(problem, (attn_projection)p);
    return same;
}

attn_status attn_layer_header_set(attn_layer_header *header, const attn_layer_problem *problem,
                                  const attn_layer_contents *contents, attn_error *error)
{
    attn_status status = attn_layer_problem_check(problem, error);

    if (status == ATTN_OK)
        status = check_contents(problem, contents, error);
    if (status == ATTN_OK && contents->like != NULL && !has_weights(contents->like, problem))
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: has other weights than the layer to be written",
                                contents->like->file.path);
    if (status != ATTN_OK)
        return status;
    header->problem = *problem;
    memcpy(header->present, contents->present, sizeof header->present);
    memcpy(header->stored, contents->stored, sizeof header->stored);
    if (contents->like != NULL) {
        header->dataset_count = contents->like->header.dataset_count;
        memcpy(header->datasets, contents->like->header.datasets, sizeof header->datasets);
    } else {
        name_datasets(header, contents);
    }
    for (int n = 0; n < header->dataset_count; n++) {
        header->datasets[n].has_expected = contents->gradients;
        header->datasets[n].expected_type = contents->gradient_type;
    }
    return attn_settings_set(&header->settings, &header->problem.attention, error);
}
