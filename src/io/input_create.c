/* Making an input file with its settings and the descriptions of its arrays, by one process: HDF5's parallel interface
 * is needed only for the elements, and one process has one verdict. The arrays get their place in the file when all
 * ranks open it. */
#include "io/files.h"
#include "io/h5.h"
#include "io/input_file.h"

#include "core/checked.h"

#include <attn/version.h>

#include <errno.h>
#include <hdf5_hl.h>
#include <string.h>
#include <sys/stat.h>

#define SLACK_BYTES ((int64_t)1 << 16) /* for HDF5's own needs between the arrays */

/* Properties of a dataset that others fill: it has no place yet, and nothing is written to it before. */
static hid_t array_properties(void)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_layout(properties, H5D_CONTIGUOUS);
    H5Pset_alloc_time(properties, H5D_ALLOC_TIME_LATE);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    return properties;
}

static bool describe_array(hid_t dataset, attn_input_array array, attn_dtype stored)
{
    bool made = attn_h5_write_text(dataset, "long_name", attn_input_meaning(array));

    if (stored == ATTN_BFLOAT16)
        made = made && attn_h5_write_text(dataset, "dtype", attn_dtype_name(stored));
    for (int d = 0; d < attn_input_rank(array); d++)
        made = made && H5DSset_label(dataset, (unsigned)d, attn_input_dimension(array, d)) >= 0;
    return made;
}

static bool make_array(hid_t file, const attn_input_header *header, attn_input_array array)
{
    int64_t extents[4];
    hsize_t sizes[4];
    const int rank = attn_input_extents(&header->problem.shape, array, extents);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE), properties = array_properties();
    const hid_t type = attn_h5_type(header->stored[array]);
    hid_t space, dataset;
    bool made;

    for (int d = 0; d < rank; d++)
        sizes[d] = (hsize_t)extents[d];
    space = H5Screate_simple(rank, sizes, NULL);
    H5Pset_create_intermediate_group(links, 1);
    dataset = H5Dcreate2(file, attn_input_array_path(array), type, space, links, properties, H5P_DEFAULT);
    made = dataset >= 0 && describe_array(dataset, array, header->stored[array]);
    attn_h5_close(dataset);
    attn_h5_close(space);
    attn_h5_close(type);
    attn_h5_close(properties);
    attn_h5_close(links);
    return made;
}

static bool make_setting(hid_t file, attn_setting setting, const attn_setting_values *values)
{
    const hid_t type = attn_setting_is_real(setting) ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64;
    const hsize_t count = (hsize_t)values->count;
    const hid_t space = H5Screate_simple(1, &count, NULL);
    const hid_t dataset =
        H5Dcreate2(file, attn_setting_name(setting), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const bool made = dataset >= 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values->values) >= 0;

    attn_h5_close(dataset);
    attn_h5_close(space);
    return made;
}

/* Settings that are at their defaults are left out. */
static bool make_attributes(hid_t file, const attn_problem *p)
{
    bool made = attn_h5_write_text(file, "schema", "attn-input") && attn_h5_write_integer(file, "schema_version", 1) &&
                attn_h5_write_text(file, "software", "attnbench") &&
                attn_h5_write_text(file, "softwareVersion", ATTN_VERSION);

    if (p->mask.causal)
        made = made && attn_h5_write_integer(file, "causal", 1);
    if (p->mask.window_left >= 0)
        made = made && attn_h5_write_integer(file, "window_left", p->mask.window_left);
    if (p->mask.window_right >= 0)
        made = made && attn_h5_write_integer(file, "window_right", p->mask.window_right);
    if (p->score.scale != attn_scale_default(p->shape.head_dim))
        made = made && attn_h5_write_real(file, "scale", p->score.scale);
    if (p->score.softcap > 0)
        made = made && attn_h5_write_real(file, "softcap", p->score.softcap);
    if (p->dropout > 0)
        made = made && attn_h5_write_real(file, "dropout", p->dropout) &&
               attn_h5_write_integer(file, "dropout_seed", (int64_t)p->dropout_seed);
    return made;
}

/* The length that the file will have, and a little more. */
static bool final_length(const attn_input_header *header, off_t now, int64_t *length)
{
    *length = SLACK_BYTES + (int64_t)now;
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++) {
        int64_t extents[4], elements, bytes;
        const int rank = attn_input_extents(&header->problem.shape, (attn_input_array)a, extents);

        if (header->present[a] &&
            (!attn_int64_product(extents, rank, &elements) ||
             !attn_int64_multiply(elements, (int64_t)attn_dtype_size(header->stored[a]), &bytes) ||
             !attn_int64_add(*length, bytes, length)))
            return false;
    }
    return true;
}

/* Takes the space of the whole file now: a full disk is told before anything is computed for it, and HDF5 does not
 * survive a file that cannot get its length. */
static attn_status reserve(const char *path, const attn_input_header *header, attn_error *error)
{
    int64_t length;
    struct stat info;

    if (stat(path, &info) != 0)
        return attn_error_set(error, ATTN_FILE, "%s: cannot be created: %s", path, strerror(errno));
    if (!final_length(header, info.st_size, &length))
        return attn_error_set(error, ATTN_FILE, "%s: cannot get the bytes that it needs: %s", path, strerror(EFBIG));
    return attn_file_reserve(path, length, error);
}

attn_status attn_input_lay_out(const char *path, const attn_input_header *header, attn_error *error)
{
    hid_t file;
    bool made;
    attn_status status = attn_h5_create(path, &file, error);

    if (status != ATTN_OK)
        return status;
    made = make_attributes(file, &header->problem);
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT && made; a++)
        if (header->present[a])
            made = make_array(file, header, (attn_input_array)a);
    for (int s = 0; s < ATTN_SETTING_COUNT && made; s++)
        if (header->settings[s].count > 0)
            made = make_setting(file, (attn_setting)s, &header->settings[s]);
    if (made) {
        status = attn_h5_save(file, path, error);
        return status == ATTN_OK ? reserve(path, header, error) : status;
    }
    status = attn_h5_error(error, ATTN_FILE, "%s: cannot be created", path);
    attn_h5_close(file);
    return status;
}
