/* Making an input file with its settings and the descriptions of its arrays, by one process: HDF5's parallel interface
 * is needed only for the elements, and one process has one verdict. The arrays get their place in the file when all
 * ranks open it. */
#include "io/h5.h"
#include "io/input_file.h"

#include "core/checked.h"

static bool make_array(hid_t file, const attn_input_header *header, attn_input_array array)
{
    int64_t extents[4];
    const int rank = attn_input_extents(&header->problem.shape, array, extents);
    const char *labels[4];

    for (int d = 0; d < rank; d++)
        labels[d] = attn_input_dimension(array, d);
    return attn_together_make_array(file, attn_input_array_path(array), header->stored[array], rank, extents,
                                    attn_input_meaning(array), labels);
}

/* The bytes of all arrays; -1 beyond 2^63. */
static int64_t array_bytes(const attn_input_header *header)
{
    int64_t total = 0;

    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++) {
        int64_t extents[4], elements, bytes;
        const int rank = attn_input_extents(&header->problem.shape, (attn_input_array)a, extents);

        if (header->present[a] &&
            (!attn_int64_product(extents, rank, &elements) ||
             !attn_int64_multiply(elements, (int64_t)attn_dtype_size(header->stored[a]), &bytes) ||
             !attn_int64_add(total, bytes, &total)))
            return -1;
    }
    return total;
}

attn_status attn_input_lay_out(const attn_together *to, const attn_input_header *header, attn_error *error)
{
    const char *const path = to->temporary;
    hid_t file;
    bool made;
    attn_status status = attn_h5_create(path, &file, error);

    if (status != ATTN_OK)
        return status;
    made = attn_settings_write(file, "attn-input", &header->problem, &header->settings);
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT && made; a++)
        if (header->present[a])
            made = make_array(file, header, (attn_input_array)a);
    if (made) {
        status = attn_h5_save(file, path, error);
        return status == ATTN_OK ? attn_together_reserve(to, array_bytes(header), error) : status;
    }
    status = attn_h5_error(error, ATTN_FILE, "%s: cannot be created", path);
    attn_h5_close(file);
    return status;
}
