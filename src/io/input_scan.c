/* Reading the settings of an input file and checking every extent and type, by one process. */
#include "io/h5.h"
#include "io/input_file.h"
#include "io/schema.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct scan {
    const char *path;
    hid_t file;
    attn_input_header *header;
    /* The array that gave each extent, by its place in the shape; for messages. */
    const char *given_by[sizeof(attn_shape) / sizeof(int64_t)];
} scan;

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
    status = attn_h5_open_dataset(s->file, s->path, name, &dataset, &rank, extents, error);
    if (status != ATTN_OK)
        return status;
    if (rank != attn_input_rank(array))
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %d dimensions; %s is needed", s->path, name,
                                rank, expected_extents(array, text, sizeof text));
    for (int d = 0; d < attn_input_rank(array) && status == ATTN_OK; d++)
        status = take_extent(s, array, d, extents[d], error);
    if (status == ATTN_OK && !attn_h5_dtype_of(dataset, &s->header->stored[array], type, sizeof type))
        status = attn_h5_dtype_refuse(s->path, name, type, error);
    s->header->present[array] = status == ATTN_OK;
    attn_h5_close(dataset);
    return status;
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
        status = attn_h5_check_group(s.file, path, "expected", "o, lse, dq, dk, dv", error);
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT && status == ATTN_OK; a++)
        status = scan_array(&s, (attn_input_array)a, error);
    if (status == ATTN_OK) {
        header->problem.dtype = header->stored[ATTN_INPUT_Q];
        status = attn_settings_name_file(path, attn_shape_check(&header->problem.shape, &found), &found, error);
    }
    if (status == ATTN_OK)
        status = attn_settings_scan(s.file, path, &header->problem, &header->settings, error);
    attn_h5_close(s.file);
    return status;
}
