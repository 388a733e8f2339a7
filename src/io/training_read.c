#include "core/checked.h"
#include "io/h5.h"
#include "io/schema.h"
#include "io/training_format.h"

#include <inttypes.h>
#include <stdlib.h>

/* Opens a dataset of floating-point numbers and reads its extents, of which there must be `rank`. */
static attn_status open_array(hid_t file, const char *path, const char *name, int rank, hid_t *out,
                              hsize_t extents[H5S_MAX_RANK], attn_error *error)
{
    int found;
    hid_t type;
    bool real;
    attn_status status;

    *out = H5I_INVALID_HID;
    if (!attn_h5_has_object(file, name))
        return attn_error_set(error, ATTN_INPUT, "%s: dataset %s is missing", path, name);
    status = attn_h5_open_dataset(file, path, name, out, &found, extents, error);
    if (status != ATTN_OK)
        return status;
    type = H5Dget_type(*out);
    real = H5Tget_class(type) == H5T_FLOAT;
    attn_h5_close(type);
    if (found == rank && real)
        return ATTN_OK;
    attn_h5_close(*out);
    *out = H5I_INVALID_HID;
    return attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %d dimensions%s; %d of real numbers are needed", path,
                          name, found, real ? "" : " of other values", rank);
}

static attn_status read_elements(hid_t set, const char *path, const char *name, hid_t type, void *data,
                                 attn_error *error)
{
    return H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0
               ? ATTN_OK
               : attn_h5_error(error, ATTN_INPUT, "%s: dataset %s cannot be read", path, name);
}

/* Reads all of a dataset of float64 into memory with room for as many steps as record.c grows to.
 *   extents  out; the first must be `steps`, unless that is < 0 */
static attn_status read_series(hid_t file, const char *path, const char *name, int rank, int64_t steps,
                               hsize_t extents[H5S_MAX_RANK], double **out, attn_error *error)
{
    hid_t set;
    int64_t count, room = 1;
    attn_status status = open_array(file, path, name, rank, &set, extents, error);

    if (status != ATTN_OK)
        return status;
    if (steps >= 0 && extents[0] != (hsize_t)steps)
        status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s has %llu steps; loss has %" PRId64, path, name,
                                (unsigned long long)extents[0], steps);
    while (room < (int64_t)extents[0])
        room *= 2;
    count = room;
    for (int d = 1; d < rank && status == ATTN_OK; d++)
        if (!attn_int64_multiply(count, (int64_t)extents[d], &count) || count > INT64_MAX / 8)
            status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s is too large", path, name);
    if (status == ATTN_OK && (*out = malloc((size_t)count * sizeof **out + 1)) == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for dataset %s", path, name);
    if (status == ATTN_OK)
        status = read_elements(set, path, name, H5T_NATIVE_DOUBLE, *out, error);
    attn_h5_close(set);
    return status;
}

static attn_status read_curve(hid_t file, const char *path, attn_training_record *out, attn_error *error)
{
    hsize_t extents[H5S_MAX_RANK] = {0};
    attn_status status = read_series(file, path, "loss", 1, -1, extents, &out->loss, error);

    if (status == ATTN_OK) {
        out->steps = (int64_t)extents[0];
        status = read_series(file, path, "accuracy", 1, out->steps, extents, &out->accuracy, error);
    }
    if (status == ATTN_OK)
        status = read_series(file, path, "seconds", 3, out->steps, extents, &out->seconds, error);
    if (status == ATTN_OK) {
        out->ranks = (int64_t)extents[1];
        out->phases = (int64_t)extents[2];
    }
    return status;
}

static attn_status read_list(hid_t file, const char *path, const char *name, attn_attributes *out, attn_error *error)
{
    attn_status status = attn_h5_check_group(file, path, name, "attributes", error);
    hid_t group;

    if (status != ATTN_OK)
        return status;
    if (!attn_h5_has_object(file, name))
        return attn_error_set(error, ATTN_INPUT, "%s: group %s is missing", path, name);
    group = H5Gopen2(file, name, H5P_DEFAULT);
    for (int i = 0; i < H5Aget_num_attrs(group) && status == ATTN_OK; i++)
        status = attn_h5_read_attribute(group, path, (hsize_t)i, out, error);
    attn_h5_close(group);
    return status;
}

static attn_status read_array(hid_t file, const char *path, const attn_state_array *array, hid_t type,
                              attn_error *error)
{
    hsize_t extents[H5S_MAX_RANK] = {0};
    hid_t set;
    attn_status status = open_array(file, path, array->path, array->rank, &set, extents, error);

    if (status != ATTN_OK)
        return status;
    for (int d = 0; d < array->rank && status == ATTN_OK; d++)
        if (extents[d] != (hsize_t)array->extents[d])
            status = attn_error_set(error, ATTN_INPUT, "%s: dataset %s: dimension %d is %llu; %" PRId64 " is needed",
                                    path, array->path, d, (unsigned long long)extents[d], array->extents[d]);
    if (status == ATTN_OK)
        status = read_elements(set, path, array->path, type, array->data, error);
    attn_h5_close(set);
    return status;
}

static attn_status read_state(hid_t file, const char *path, const attn_training *training, attn_training_record *out,
                              attn_error *error)
{
    const hid_t type = attn_h5_type(attn_dtype_accumulator(training->layer.attention.dtype));
    attn_status status = attn_train_state_create(training, &out->state, error);

    if (status == ATTN_OK)
        status = attn_h5_read_integer(file, path, "steps", &out->state.steps, error);
    if (status == ATTN_OK && out->state.steps != out->steps)
        status = attn_error_set(error, ATTN_INPUT, "%s: attribute steps is %" PRId64 "; its curve has %" PRId64, path,
                                out->state.steps, out->steps);
    for (int n = 0; n < ATTN_STATE_ARRAYS && status == ATTN_OK; n++) {
        const attn_state_array array = attn_state_array_at(training, &out->state, n);

        if (array.rank > 0)
            status = read_array(file, path, &array, type, error);
    }
    attn_h5_close(type);
    return status;
}

static attn_status read_file(hid_t file, const char *path, const attn_training *training, attn_training_record *out,
                             attn_error *error)
{
    attn_status status = attn_schema_check(file, path, "attn-training", error);

    if (status == ATTN_OK)
        status = read_list(file, path, "settings", out->settings, error);
    if (status == ATTN_OK)
        status = read_list(file, path, "environment", out->environment, error);
    if (status == ATTN_OK)
        status = read_curve(file, path, out, error);
    return status == ATTN_OK && training != NULL ? read_state(file, path, training, out, error) : status;
}

attn_status attn_training_file_read(const char *path, const attn_training *training, attn_training_record *out,
                                    attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_status status = attn_training_record_create(out, error);
    hid_t file = H5I_INVALID_HID;

    if (status == ATTN_OK)
        status = attn_h5_open(path, &file, error);
    if (status == ATTN_OK)
        status = read_file(file, path, training, out, error);
    attn_h5_close(file);
    if (status != ATTN_OK)
        attn_training_record_release(out);
    attn_h5_quiet_end(saved);
    return status;
}
