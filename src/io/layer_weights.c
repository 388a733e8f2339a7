/* The datasets below weights/: what each holds by its name, whether they are complete, and the heads' widths, which a
 * layer file does not state but have their extents. By one process. */
#include "io/files.h"
#include "io/h5.h"
#include "io/layer_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct scan {
    const char *path;
    hid_t file;
    attn_layer_header *header;
} scan;

/* ---- Which datasets there are ---- */

typedef struct listing {
    attn_names *names;
    attn_status status;
    attn_error *error;
} listing;

/* Takes each link below weights/ that is no group. */
static herr_t take_link(hid_t group, const char *name, const H5L_info_t *info, void *data)
{
    listing *const to = data;
    const hid_t object = info->type == H5L_TYPE_HARD ? H5Oopen(group, name, H5P_DEFAULT) : H5I_INVALID_HID;
    const bool is_group = object >= 0 && H5Iget_type(object) == H5I_GROUP;

    attn_h5_close(object);
    if (!is_group)
        to->status = attn_names_append(to->names, name, to->error);
    return to->status == ATTN_OK ? 0 : -1;
}

/* The names of all datasets below a group ("self/query/weight"), in their order. */
static attn_status list_names(const scan *s, const char *path, attn_names *names, attn_error *error)
{
    listing to = {names, ATTN_OK, error};
    const hid_t group = H5Oopen(s->file, path, H5P_DEFAULT);
    const bool is_group = group >= 0 && H5Iget_type(group) == H5I_GROUP;
    attn_status status = ATTN_OK;

    if (!is_group)
        status =
            attn_error_set(error, ATTN_INPUT, "%s: %s is not a group; one with the weights is needed", s->path, path);
    else if (H5Lvisit(group, H5_INDEX_NAME, H5_ITER_INC, take_link, &to) < 0)
        status =
            to.status != ATTN_OK ? to.status : attn_h5_error(error, ATTN_INPUT, "%s: %s cannot be read", s->path, path);
    attn_h5_close(group);
    return status;
}

/* ---- What they hold ---- */

static attn_status read_extents(const scan *s, attn_layer_dataset *out, attn_error *error)
{
    hsize_t extents[H5S_MAX_RANK] = {0};
    hid_t dataset;
    int rank;
    char type[128];
    attn_status status = attn_h5_open_dataset(s->file, s->path, out->path, &dataset, &rank, extents, error);

    if (status != ATTN_OK)
        return status;
    if (rank != (out->bias ? 1 : 2))
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %d dimensions; %s is needed", s->path, out->path,
                                rank, out->bias ? "[out]" : "[out,in]");
    for (int d = 0; status == ATTN_OK && d < rank; d++)
        if (extents[d] == 0 || extents[d] > INT32_MAX)
            status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s: %s is %llu; 1 to %d is accepted", s->path,
                                    out->path, d == 0 ? "out" : "in", (unsigned long long)extents[d], INT32_MAX);
    if (status == ATTN_OK && !attn_h5_dtype_of(dataset, &out->stored, type, sizeof type))
        status = attn_h5_dtype_refuse(s->path, out->path, type, error);
    out->rows = (int64_t)extents[0];
    out->columns = out->bias ? 1 : (int64_t)extents[1];
    attn_h5_close(dataset);
    return status;
}

/* Takes a dataset for what its name says that it is. */
static attn_status take_dataset(scan *s, const char *name, attn_error *error)
{
    attn_layer_header *const header = s->header;
    attn_layer_dataset one = {.path = ""};

    if ((size_t)snprintf(one.expected, sizeof one.expected, "expected/weights/%s", name) >= sizeof one.expected)
        return attn_error_set(error, ATTN_INPUT, "%s: weights/%.60s...: a shorter name is needed", s->path, name);
    snprintf(one.path, sizeof one.path, "weights/%s", name);
    if (!attn_layer_name_find(name, &one.role, &one.bias))
        return attn_error_set(
            error, ATTN_INPUT,
            "%s: weights/%s is no name of an attention layer's weight; query.weight, key.weight, "
            "value.weight, out_proj.weight, .bias of these, and the other names of docs/layers.md are "
            "accepted",
            s->path, name);
    for (int n = 0; n < header->dataset_count; n++) {
        const attn_layer_dataset *const other = &header->datasets[n];
        const int first = (int)attn_layer_role_first(other->role), begin = (int)attn_layer_role_first(one.role);

        if (other->bias == one.bias && begin < first + attn_layer_role_count(other->role) &&
            first < begin + attn_layer_role_count(one.role))
            return attn_error_set(error, ATTN_INPUT, "%s: %s and %s are names of one %s; one of them is needed",
                                  s->path, other->path, one.path, one.bias ? "bias" : "weight");
    }
    header->datasets[header->dataset_count++] = one; /* at most one each: there is room */
    return read_extents(s, &header->datasets[header->dataset_count - 1], error);
}

static const attn_layer_dataset *dataset_of(const attn_layer_header *header, attn_projection projection, bool bias)
{
    int64_t row;

    return attn_layer_header_find(header, projection, bias, &row);
}

/* Query, key and value have weights; what has a bias has a weight. */
static attn_status check_complete(const scan *s, attn_error *error)
{
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        const char *const name = attn_projection_name((attn_projection)p);
        const attn_layer_dataset *const bias = dataset_of(s->header, (attn_projection)p, true);

        if (dataset_of(s->header, (attn_projection)p, false) != NULL)
            continue;
        if (p != ATTN_PROJECTION_OUT)
            return attn_error_set(error, ATTN_INPUT,
                                  "%s: weights/%s.weight, or another name of it, is missing; query, key and value are "
                                  "needed",
                                  s->path, name);
        if (bias != NULL)
            return attn_error_set(error, ATTN_INPUT, "%s: %s has no weight; weights/%s.weight is needed", s->path,
                                  bias->path, name);
    }
    return ATTN_OK;
}

/* ---- The widths ---- */

/* Divides the rows of a dataset, less those of other projections in it, by heads. */
static attn_status divide(const scan *s, const attn_layer_dataset *from, int64_t others, int64_t heads,
                          const char *meaning, int64_t *out, attn_error *error)
{
    const int64_t rows = from->rows - others;

    if (rows <= 0 || rows % heads != 0)
        return attn_error_set(error, ATTN_INPUT,
                              "%s: dataset %s: out is %" PRId64 "; %s%" PRId64 " times the head dimension of the %s is "
                              "needed",
                              s->path, from->path, from->rows, others > 0 ? "what is left must be " : "", heads,
                              meaning);
    *out = rows / heads;
    return ATTN_OK;
}

/* Finds D and Dv. Of query, key and value in one dataset Dv is that of the output projection's columns, or D. */
static attn_status find_head_dims(const scan *s, attn_error *error)
{
    attn_shape *const shape = &s->header->problem.attention.shape;
    const attn_layer_dataset *const query = dataset_of(s->header, ATTN_PROJECTION_QUERY, false);
    const attn_layer_dataset *const value = dataset_of(s->header, ATTN_PROJECTION_VALUE, false);
    const attn_layer_dataset *const out = dataset_of(s->header, ATTN_PROJECTION_OUT, false);
    attn_status status;

    if (query->role == ATTN_LAYER_ROLE_QKV) {
        const int64_t value_rows = out != NULL ? out->columns / shape->heads * shape->kv_heads : 0;

        if (out != NULL && out->columns % shape->heads != 0)
            return attn_error_set(error, ATTN_INPUT,
                                  "%s: dataset %s: in is %" PRId64 "; a multiple of num_heads %" PRId64 " is needed",
                                  s->path, out->path, out->columns, shape->heads);
        status = divide(s, query, value_rows, shape->heads + shape->kv_heads * (out != NULL ? 1 : 2),
                        "queries and keys", &shape->head_dim, error);
        shape->v_head_dim = out != NULL ? out->columns / shape->heads : shape->head_dim;
        return status;
    }
    status = divide(s, query, 0, shape->heads, "queries", &shape->head_dim, error);
    if (status != ATTN_OK)
        return status;
    return divide(s, value, value->role == ATTN_LAYER_ROLE_KV ? shape->kv_heads * shape->head_dim : 0, shape->kv_heads,
                  "values", &shape->v_head_dim, error);
}

/* Compares the extents of a dataset with those that the widths give it. */
static attn_status check_extents(const scan *s, const attn_layer_dataset *dataset, attn_error *error)
{
    const attn_layer_problem *const problem = &s->header->problem;
    const int first = (int)attn_layer_role_first(dataset->role);
    int64_t rows = 0;

    for (int p = first; p < first + attn_layer_role_count(dataset->role); p++)
        rows += attn_layer_weight_out(problem, (attn_projection)p);
    if (dataset->rows != rows)
        return attn_error_set(error, ATTN_INPUT,
                              "%s: dataset %s: out is %" PRId64 "; %" PRId64 " is needed with num_heads %" PRId64
                              ", num_kv_heads %" PRId64 " and head dimension %" PRId64,
                              s->path, dataset->path, dataset->rows, rows, problem->attention.shape.heads,
                              problem->attention.shape.kv_heads, problem->attention.shape.head_dim);
    for (int p = first; !dataset->bias && p < first + attn_layer_role_count(dataset->role); p++) {
        const int64_t columns = attn_layer_weight_in(problem, (attn_projection)p);

        if (dataset->columns != columns)
            return attn_error_set(error, ATTN_INPUT, "%s: dataset %s: in is %" PRId64 "; %" PRId64 ", %s, is needed",
                                  s->path, dataset->path, dataset->columns, columns,
                                  p == ATTN_PROJECTION_OUT ? "num_heads times the head dimension of the values"
                                  : p == ATTN_PROJECTION_QUERY || problem->context_dim == 0 ? "the width of x"
                                                                                            : "the width of context");
    }
    return ATTN_OK;
}

/* ---- What is expected ---- */

static attn_status scan_expected(const scan *s, attn_layer_dataset *dataset, attn_error *error)
{
    hsize_t extents[H5S_MAX_RANK] = {0};
    hid_t object;
    int rank;
    char type[128];
    attn_status status;

    if (!attn_h5_has_object(s->file, dataset->expected))
        return ATTN_OK;
    status = attn_h5_open_dataset(s->file, s->path, dataset->expected, &object, &rank, extents, error);
    if (status != ATTN_OK)
        return status;
    if (rank != (dataset->bias ? 1 : 2) || extents[0] != (hsize_t)dataset->rows ||
        (!dataset->bias && extents[1] != (hsize_t)dataset->columns))
        status = attn_error_set(error, ATTN_INPUT,
                                "%s: dataset %s has %d dimensions, the first of %llu; the extents of %s are needed",
                                s->path, dataset->expected, rank, (unsigned long long)extents[0], dataset->path);
    else if (!attn_h5_dtype_of(object, &dataset->expected_type, type, sizeof type))
        status = attn_h5_dtype_refuse(s->path, dataset->expected, type, error);
    dataset->has_expected = status == ATTN_OK;
    attn_h5_close(object);
    return status;
}

/* Every expected gradient is that of a weight of this name. */
static attn_status check_expected_names(const scan *s, attn_error *error)
{
    attn_names names = ATTN_NAMES_EMPTY;
    attn_status status = ATTN_OK;

    if (!attn_h5_has_object(s->file, "expected/weights"))
        return ATTN_OK;
    status = list_names(s, "expected/weights", &names, error);
    for (size_t i = 0; status == ATTN_OK && i < names.count; i++) {
        bool known = false;

        for (int n = 0; n < s->header->dataset_count; n++)
            known = known || strcmp(names.list[i], s->header->datasets[n].path + strlen("weights/")) == 0;
        if (!known)
            status = attn_error_set(error, ATTN_INPUT,
                                    "%s: expected/weights/%s: there is no weights/%s; the names of the weights are "
                                    "needed",
                                    s->path, names.list[i], names.list[i]);
    }
    attn_names_release(&names);
    return status;
}

attn_status attn_layer_scan_weights(hid_t file, const char *path, attn_layer_header *header, attn_error *error)
{
    scan s = {path, file, header};
    attn_layer_problem *const problem = &header->problem;
    attn_names names = ATTN_NAMES_EMPTY;
    attn_status status = list_names(&s, "weights", &names, error);

    problem->projected = true;
    for (size_t i = 0; status == ATTN_OK && i < names.count; i++)
        status = take_dataset(&s, names.list[i], error);
    attn_names_release(&names);
    if (status == ATTN_OK)
        status = check_complete(&s, error);
    if (status == ATTN_OK)
        status = find_head_dims(&s, error);
    if (status != ATTN_OK)
        return status;
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
        problem->bias[p] = dataset_of(header, (attn_projection)p, true) != NULL;
    if (dataset_of(header, ATTN_PROJECTION_OUT, false) != NULL)
        problem->out_dim = dataset_of(header, ATTN_PROJECTION_OUT, false)->rows;
    for (int n = 0; status == ATTN_OK && n < header->dataset_count; n++)
        status = check_extents(&s, &header->datasets[n], error);
    for (int n = 0; status == ATTN_OK && n < header->dataset_count; n++)
        status = scan_expected(&s, &header->datasets[n], error);
    return status == ATTN_OK ? check_expected_names(&s, error) : status;
}
