/* Making a layer file with its settings and the descriptions of its arrays, by one process, as input_create.c does. */
#include "io/h5.h"
#include "io/layer_format.h"

#include "core/checked.h"

static bool write_attributes(hid_t file, const attn_layer_header *header)
{
    const attn_layer_problem *const problem = &header->problem;
    const attn_rotary *const rotary = &problem->rotary;
    bool made = attn_settings_write(file, "attn-layer", &problem->attention, &header->settings) &&
                attn_h5_write_integer(file, "num_heads", problem->attention.shape.heads) &&
                attn_h5_write_integer(file, "num_kv_heads", problem->attention.shape.kv_heads);

    if (rotary->style != ATTN_ROTARY_NONE)
        made = made && attn_h5_write_text(file, "rotary_style", attn_rotary_style_name(rotary->style)) &&
               attn_h5_write_real(file, "rotary_theta", rotary->theta) &&
               attn_h5_write_integer(file, "rotary_dim", rotary->dim);
    return made;
}

static bool make_array(hid_t file, const attn_layer_header *header, attn_layer_array array)
{
    static const char *const row_labels[] = {"batch", "row", "dimension"};
    int64_t extents[3];

    attn_layer_array_extents(&header->problem, array, extents);
    return attn_together_make_array(file, attn_layer_array_path(array), header->stored[array], 3, extents,
                                    attn_layer_array_meaning(array), row_labels);
}

static bool make_weight(hid_t file, const attn_layer_dataset *dataset)
{
    static const char *const labels[] = {"out", "in"};
    const int64_t extents[] = {dataset->rows, dataset->columns};
    const int rank = dataset->bias ? 1 : 2;
    char meaning[100];

    snprintf(meaning, sizeof meaning, "%s %s", attn_layer_role_words(dataset->role), dataset->bias ? "bias" : "weight");
    if (!attn_together_make_array(file, dataset->path, dataset->stored, rank, extents, meaning, labels))
        return false;
    snprintf(meaning, sizeof meaning, "expected gradient of the %s %s", attn_layer_role_words(dataset->role),
             dataset->bias ? "bias" : "weight");
    return !dataset->has_expected ||
           attn_together_make_array(file, dataset->expected, dataset->expected_type, rank, extents, meaning, labels);
}

/* Adds the bytes of an array; *total is -1 from 2^63 on. */
static void add_bytes(const int64_t *extents, int rank, attn_dtype dtype, int64_t *total)
{
    int64_t elements, bytes;

    if (*total < 0 || !attn_int64_product(extents, rank, &elements) ||
        !attn_int64_multiply(elements, (int64_t)attn_dtype_size(dtype), &bytes) ||
        !attn_int64_add(*total, bytes, total))
        *total = -1;
}

static int64_t count_bytes(const attn_layer_header *header)
{
    int64_t total = 0;

    for (int a = 0; a < ATTN_LAYER_ARRAY_COUNT; a++) {
        int64_t extents[3];

        attn_layer_array_extents(&header->problem, (attn_layer_array)a, extents);
        if (header->present[a])
            add_bytes(extents, 3, header->stored[a], &total);
    }
    for (int n = 0; n < header->dataset_count; n++) {
        const attn_layer_dataset *const dataset = &header->datasets[n];
        const int64_t extents[] = {dataset->rows, dataset->columns};

        add_bytes(extents, 2, dataset->stored, &total);
        if (dataset->has_expected)
            add_bytes(extents, 2, dataset->expected_type, &total);
    }
    return total;
}

attn_status attn_layer_lay_out(const attn_together *to, const attn_layer_header *header, attn_error *error)
{
    const char *const path = to->temporary;
    hid_t file;
    bool made;
    attn_status status = attn_h5_create(path, &file, error);

    if (status != ATTN_OK)
        return status;
    made = write_attributes(file, header);
    for (int a = 0; a < ATTN_LAYER_ARRAY_COUNT && made; a++)
        if (header->present[a])
            made = make_array(file, header, (attn_layer_array)a);
    for (int n = 0; n < header->dataset_count && made; n++)
        made = make_weight(file, &header->datasets[n]);
    if (made) {
        status = attn_h5_save(file, path, error);
        return status == ATTN_OK ? attn_together_reserve(to, count_bytes(header), error) : status;
    }
    status = attn_h5_error(error, ATTN_FILE, "%s: cannot be created", path);
    attn_h5_close(file);
    return status;
}
