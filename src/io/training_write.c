#include "core/checked.h"
#include "io/files.h"
#include "io/h5.h"
#include "io/training_format.h"

#include <attn/version.h>

#include <hdf5_hl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attn_training_writer {
    char *path, *temporary;
    attn_lock *lock;
};

void attn_training_writer_close(attn_training_writer *writer)
{
    if (writer == NULL)
        return;
    attn_lock_release(writer->lock);
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

attn_status attn_training_writer_open(const char *path, bool resume, attn_training_writer **out, attn_error *error)
{
    attn_training_writer *const writer = calloc(1, sizeof *writer);
    attn_status status = attn_file_check_target(path, error);

    *out = NULL;
    if (writer != NULL) {
        writer->path = attn_text("%s", path);
        writer->temporary = attn_text("%s.tmp", path);
    }
    if (status == ATTN_OK && (writer == NULL || writer->path == NULL || writer->temporary == NULL))
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to write it", path);
    if (status == ATTN_OK)
        status = attn_lock_take(path, &writer->lock, error);
    if (status == ATTN_OK && !resume && attn_path_exists(path))
        status = attn_error_set(error, ATTN_ARGUMENT,
                                "%s exists; use --resume to continue it or choose another --output", path);
    if (status == ATTN_OK)
        *out = writer;
    else
        attn_training_writer_close(writer);
    return status;
}

/* Makes a dataset with all of its elements, its dimensions labelled. */
static bool write_array(hid_t file, const char *path, hid_t type, int rank, const int64_t *extents, const void *data,
                        const char *const *labels, const char *units, const char *long_name)
{
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    hsize_t counts[3];
    hid_t space, set;
    bool made;

    for (int d = 0; d < rank; d++)
        counts[d] = (hsize_t)extents[d];
    H5Pset_create_intermediate_group(links, 1);
    space = H5Screate_simple(rank, counts, NULL);
    set = H5Dcreate2(file, path, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    made = set >= 0 && (data == NULL || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0) &&
           attn_h5_write_text(set, "long_name", long_name) &&
           (units == NULL || attn_h5_write_text(set, "units", units));
    for (int d = 0; d < rank && made; d++)
        made = H5DSset_label(set, (unsigned)d, labels[d]) >= 0;
    attn_h5_close(set);
    attn_h5_close(space);
    attn_h5_close(links);
    return made;
}

/* "total,input-read,...", to be freed. */
static char *phase_names(int64_t phases)
{
    size_t size = 1;
    char *text;

    for (int64_t p = 0; p < phases; p++)
        size += strlen(attn_phase_name((attn_phase)p)) + 1;
    text = calloc(size, 1);
    for (int64_t p = 0; text != NULL && p < phases; p++) {
        if (p > 0)
            strcat(text, ",");
        strcat(text, attn_phase_name((attn_phase)p));
    }
    return text;
}

static bool write_curve(hid_t file, const attn_training_record *record)
{
    static const char *const labels[] = {"step", "rank", "phase"};
    const int64_t extents[] = {record->steps, record->ranks, record->phases};
    char *const names = phase_names(record->phases);
    bool made = names != NULL &&
                write_array(file, "loss", H5T_NATIVE_DOUBLE, 1, extents, record->loss, labels, "nat",
                            "mean cross-entropy of the queries of each step, before its update") &&
                write_array(file, "accuracy", H5T_NATIVE_DOUBLE, 1, extents, record->accuracy, labels, NULL,
                            "share of the queries of each step whose value has the highest score") &&
                write_array(file, "seconds", H5T_NATIVE_DOUBLE, 3, extents, record->seconds, labels, "s",
                            "time of each step on each rank by phase");

    if (made) {
        const hid_t seconds = H5Dopen2(file, "seconds", H5P_DEFAULT);

        made = attn_h5_write_text(seconds, "phases", names);
        attn_h5_close(seconds);
    }
    free(names);
    return made;
}

static bool write_list(hid_t file, const char *name, const attn_attributes *list)
{
    const hid_t properties = H5Pcreate(H5P_GROUP_CREATE);
    hid_t group;
    bool made;

    H5Pset_attr_creation_order(properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    group = H5Gcreate2(file, name, H5P_DEFAULT, properties, H5P_DEFAULT);
    made = group >= 0;
    for (size_t i = 0; i < attn_attributes_count(list) && made; i++)
        made = attn_h5_write_attribute(group, attn_attributes_at(list, i));
    attn_h5_close(group);
    attn_h5_close(properties);
    return made;
}

static bool write_state(hid_t file, const attn_training *training, const attn_train_state *state)
{
    static const char *const labels[] = {"out", "in"};
    const hid_t type = attn_h5_type(attn_dtype_accumulator(training->layer.attention.dtype));
    bool made = attn_h5_write_integer(file, "steps", state->steps);

    for (int n = 0; n < ATTN_STATE_ARRAYS && made; n++) {
        const attn_state_array array = attn_state_array_at(training, state, n);

        if (array.rank > 0)
            made = write_array(file, array.path, type, array.rank, array.extents, array.data, labels, NULL, array.path);
    }
    attn_h5_close(type);
    return made;
}

static attn_status write_file(const char *path, const attn_training *training, const attn_training_record *record,
                              attn_error *error)
{
    hid_t file;
    attn_status status = attn_h5_create(path, &file, error);

    if (status != ATTN_OK)
        return status;
    if (attn_h5_write_text(file, "schema", "attn-training") && attn_h5_write_integer(file, "schema_version", 1) &&
        attn_h5_write_text(file, "software", "attnbench") &&
        attn_h5_write_text(file, "softwareVersion", ATTN_VERSION) && write_list(file, "settings", record->settings) &&
        write_list(file, "environment", record->environment) && write_curve(file, record) &&
        write_state(file, training, &record->state))
        return attn_h5_save(file, path, error);
    status = attn_h5_error(error, ATTN_FILE, "%s: cannot be written", path);
    attn_h5_close(file);
    return status;
}

attn_status attn_training_writer_put(attn_training_writer *writer, const attn_training *training,
                                     const attn_training_record *record, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_status status = write_file(writer->temporary, training, record, error);

    if (status == ATTN_OK)
        status = attn_file_publish(writer->temporary, writer->path, error);
    if (status != ATTN_OK)
        unlink(writer->temporary);
    attn_h5_quiet_end(saved);
    return status;
}
