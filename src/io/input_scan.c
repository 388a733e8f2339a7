/* Reading the settings of an input file and checking every extent and type, by one process. */
#include "io/h5.h"
#include "io/input_file.h"
#include "io/schema.h"

#include "core/checked.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_MAX_SHOWN 300

typedef struct scan {
    const char *path;
    hid_t file;
    attn_input_header *header;
    /* The array that gave each extent, by its place in the shape; for messages. */
    const char *given_by[sizeof(attn_shape) / sizeof(int64_t)];
} scan;

/* Opens a dataset and reads its extents. */
static attn_status open_dataset(const scan *s, const char *name, hid_t *out, int *rank, hsize_t extents[H5S_MAX_RANK],
                                attn_error *error)
{
    const hid_t object = H5Oopen(s->file, name, H5P_DEFAULT);
    hid_t space;

    if (object < 0)
        return attn_h5_error(error, ATTN_INPUT, "%s: dataset %s cannot be opened", s->path, name);
    if (H5Iget_type(object) != H5I_DATASET) {
        attn_h5_close(object);
        return attn_error_set(error, ATTN_INPUT, "%s: %s is not a dataset; one is needed", s->path, name);
    }
    space = H5Dget_space(object);
    *rank = H5Sget_simple_extent_type(space) == H5S_NULL ? 0 : H5Sget_simple_extent_dims(space, extents, NULL);
    attn_h5_close(space);
    *out = object;
    return ATTN_OK;
}

/* "[B,Hq,Sq,D]" */
static const char *expected_extents(attn_input_array array, char *text, size_t size)
{
    size_t n = 0;

    for (int d = 0; d < attn_input_rank(array) && n < size; d++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", d == 0 ? "[" : ",", attn_input_symbol(array, d));
    if (n < size)
        snprintf(text + n, size - n, "]");
    return text;
}

/* Takes an extent that no array has given yet, or compares with the one that has. */
static attn_status take_extent(scan *s, attn_input_array array, int dimension, hsize_t extent, attn_error *error)
{
    int64_t *const known = attn_input_extent(&s->header->problem.shape, array, dimension);
    const char **const giver = &s->given_by[attn_input_extent_place(array, dimension)];
    const char *const name = attn_input_array_path(array), *const symbol = attn_input_symbol(array, dimension);

    if (extent == 0 || extent > INT64_MAX)
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s: %s is %llu; at least 1 is needed", s->path, name,
                              symbol, (unsigned long long)extent);
    if (*giver == NULL) {
        *known = (int64_t)extent;
        *giver = name;
    } else if (*known != (int64_t)extent) {
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s: %s is %llu; %" PRId64 " as in %s is needed", s->path,
                              name, symbol, (unsigned long long)extent, *known, *giver);
    }
    return ATTN_OK;
}

static attn_status scan_array(scan *s, attn_input_array array, attn_error *error)
{
    const char *const name = attn_input_array_path(array);
    hsize_t extents[H5S_MAX_RANK] = {0};
    hid_t dataset;
    int rank;
    char text[128], type[128];
    attn_status status;

    if (!attn_h5_has_object(s->file, name)) {
        if (array > ATTN_INPUT_V)
            return ATTN_OK;
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s is missing; q, k and v are needed", s->path, name);
    }
    status = open_dataset(s, name, &dataset, &rank, extents, error);
    if (status != ATTN_OK)
        return status;
    if (rank != attn_input_rank(array))
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %d dimensions; %s is needed", s->path, name,
                                rank, expected_extents(array, text, sizeof text));
    for (int d = 0; d < attn_input_rank(array) && status == ATTN_OK; d++)
        status = take_extent(s, array, d, extents[d], error);
    if (status == ATTN_OK && !attn_h5_dtype_of(dataset, &s->header->stored[array], type, sizeof type))
        status = attn_error_set(error, ATTN_INPUT,
                                "%s: dataset %s has elements of type %s; float64, float32, float16 or bfloat16 (uint16 "
                                "with the attribute dtype = \"bfloat16\") is needed",
                                s->path, name, type);
    s->header->present[array] = status == ATTN_OK;
    attn_h5_close(dataset);
    return status;
}

/* Reads a list of settings. Its length, where the shape fixes it, is `length`, otherwise 0. */
static attn_status scan_setting(scan *s, attn_setting setting, int64_t length, attn_error *error)
{
    const bool real = attn_setting_is_real(setting);
    const char *const name = attn_setting_name(setting);
    attn_setting_values *const values = &s->header->settings[setting];
    hsize_t extents[H5S_MAX_RANK] = {0};
    hid_t dataset, type;
    int rank;
    char type_name[64];
    attn_status status;

    if (!attn_h5_has_object(s->file, name))
        return ATTN_OK;
    status = open_dataset(s, name, &dataset, &rank, extents, error);
    if (status != ATTN_OK)
        return status;
    type = H5Dget_type(dataset);
    attn_h5_type_name(type, type_name, sizeof type_name);
    if (rank != 1)
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %d dimensions; %s is needed", s->path, name,
                                rank, attn_setting_extents(setting));
    else if (length > 0 && extents[0] != (hsize_t)length)
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %llu values; %s = %" PRId64 " are needed",
                                s->path, name, (unsigned long long)extents[0], attn_setting_extents(setting), length);
    else if (length == 0 && extents[0] < 2)
        status =
            attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %llu values; %s of one document or more are needed",
                           s->path, name, (unsigned long long)extents[0], attn_setting_extents(setting));
    else if (length == 0 && extents[0] > ATTN_DOCUMENTS_MAX + 1)
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %llu values; at most %d are accepted", s->path,
                                name, (unsigned long long)extents[0], ATTN_DOCUMENTS_MAX + 1);
    else if (H5Tget_class(type) != (real ? H5T_FLOAT : H5T_INTEGER))
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has elements of type %s; %s are needed", s->path,
                                name, type_name, real ? "reals" : "integers");
    if (status == ATTN_OK) {
        values->values = extents[0] <= INT64_MAX ? attn_calloc_array((int64_t)extents[0], sizeof(int64_t)) : NULL;
        if (values->values == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for the %llu values of dataset %s", s->path,
                                    (unsigned long long)extents[0], name);
        else if (H5Dread(dataset, real ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                         values->values) < 0)
            status = attn_h5_error(error, ATTN_INPUT, "%s: dataset %s cannot be read", s->path, name);
        else
            values->count = (int64_t)extents[0];
    }
    attn_h5_close(type);
    attn_h5_close(dataset);
    return status;
}

static attn_status optional_integer(const scan *s, const char *name, int64_t absent, int64_t *out, attn_error *error)
{
    *out = absent;
    return attn_h5_has_attribute(s->file, name) ? attn_h5_read_integer(s->file, s->path, name, out, error) : ATTN_OK;
}

static attn_status optional_real(const scan *s, const char *name, double absent, double *out, attn_error *error)
{
    *out = absent;
    return attn_h5_has_attribute(s->file, name) ? attn_h5_read_real(s->file, s->path, name, out, error) : ATTN_OK;
}

static attn_status scan_settings(scan *s, attn_error *error)
{
    attn_problem *const p = &s->header->problem;
    int64_t causal = 0, seed = 0;
    attn_status status = optional_integer(s, "causal", 0, &causal, error);

    if (status == ATTN_OK && causal != 0 && causal != 1)
        status =
            attn_error_set(error, ATTN_INPUT, "%s: attribute causal is %" PRId64 "; 0 or 1 is needed", s->path, causal);
    p->mask.causal = causal == 1;
    if (status == ATTN_OK)
        status = optional_integer(s, "window_left", -1, &p->mask.window_left, error);
    if (status == ATTN_OK)
        status = optional_integer(s, "window_right", -1, &p->mask.window_right, error);
    if (status == ATTN_OK)
        status = optional_real(s, "scale", attn_scale_default(p->shape.head_dim), &p->score.scale, error);
    if (status == ATTN_OK)
        status = optional_real(s, "softcap", 0, &p->score.softcap, error);
    if (status == ATTN_OK)
        status = optional_real(s, "dropout", 0, &p->dropout, error);
    if (status == ATTN_OK)
        status = optional_integer(s, "dropout_seed", 0, &seed, error);
    p->dropout_seed = (uint64_t)seed;
    if (status == ATTN_OK)
        status = scan_setting(s, ATTN_SETTING_ALIBI_SLOPES, p->shape.heads, error);
    if (status == ATTN_OK)
        status = scan_setting(s, ATTN_SETTING_SINKS, p->shape.heads, error);
    if (status == ATTN_OK)
        status = scan_setting(s, ATTN_SETTING_KV_LEN, p->shape.batch, error);
    if (status == ATTN_OK)
        status = scan_setting(s, ATTN_SETTING_CU_SEQLENS, 0, error);
    return status;
}

/* The group of expected arrays, where there is one, is a group: otherwise its arrays would be silently absent. */
static attn_status check_expected(const scan *s, attn_error *error)
{
    hid_t object;
    H5I_type_t kind;

    if (!attn_h5_has_object(s->file, "expected"))
        return ATTN_OK;
    object = H5Oopen(s->file, "expected", H5P_DEFAULT);
    kind = H5Iget_type(object);
    attn_h5_close(object);
    if (kind != H5I_GROUP)
        return attn_error_set(error, ATTN_INPUT, "%s: expected is not a group; one with o, lse, dq, dk, dv is needed",
                              s->path);
    return ATTN_OK;
}

/* Passes on a status with the path before its message; what is wrong with a file is ATTN_INPUT. */
static attn_status name_file(const char *path, attn_status status, const attn_error *found, attn_error *error)
{
    if (status == ATTN_OK)
        return status;
    return attn_error_set(error, status == ATTN_ARGUMENT ? ATTN_INPUT : status, "%.*s: %s", PATH_MAX_SHOWN, path,
                          found->message);
}

attn_status attn_input_scan(const char *path, attn_input_header *header, attn_error *error)
{
    scan s = {.path = path, .header = header};
    attn_error found = ATTN_ERROR_INIT;
    attn_status status = attn_h5_open(path, &s.file, error);

    if (status != ATTN_OK)
        return status;
    status = attn_schema_check(s.file, path, "attn-input", error);
    if (status == ATTN_OK)
        status = check_expected(&s, error);
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT && status == ATTN_OK; a++)
        status = scan_array(&s, (attn_input_array)a, error);
    if (status == ATTN_OK) {
        header->problem.dtype = header->stored[ATTN_INPUT_Q];
        status = name_file(path, attn_shape_check(&header->problem.shape, &found), &found, error);
    }
    if (status == ATTN_OK)
        status = scan_settings(&s, error);
    if (status == ATTN_OK) {
        attn_input_header_link(header);
        status = name_file(path, attn_problem_check(&header->problem, &found), &found, error);
    }
    attn_h5_close(s.file);
    return status;
}
