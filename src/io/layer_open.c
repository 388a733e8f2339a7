/* The life of a layer file, and moving its arrays. */
#include "io/h5.h"
#include "io/layer_format.h"
#include "io/move.h"

#include <attn/comm.h>

#include <stdlib.h>
#include <string.h>

enum { FIRST_WEIGHT = ATTN_LAYER_ARRAY_COUNT, FIRST_EXPECTED = FIRST_WEIGHT + ATTN_LAYER_DATASETS_MAX };
enum { DATASETS = FIRST_EXPECTED + ATTN_LAYER_DATASETS_MAX };

/* The way out of every failure, and the end; collective as attn_together_give_up. */
static void release(attn_layer_file *file, attn_status status)
{
    if (file == NULL)
        return;
    attn_together_give_up(&file->file, status);
    attn_settings_release(&file->header.settings);
    free(file);
}

/* Collective. Makes a layer file without a file. */
static attn_status prepare(MPI_Comm comm, const char *path, bool created, attn_layer_file **out, attn_error *error)
{
    attn_layer_file *const file = calloc(1, sizeof *file);
    const attn_status status = attn_together_prepare(comm, path, created, file != NULL ? &file->file : NULL, error);

    if (status == ATTN_OK)
        *out = file;
    else
        release(file, status);
    return status;
}

/* Collective. */
static attn_status open_together(attn_layer_file *file, attn_error *error)
{
    const attn_layer_header *const header = &file->header;
    const char *names[DATASETS] = {NULL};

    for (int a = 0; a < ATTN_LAYER_ARRAY_COUNT; a++)
        if (header->present[a])
            names[a] = attn_layer_array_path((attn_layer_array)a);
    for (int n = 0; n < header->dataset_count; n++) {
        names[FIRST_WEIGHT + n] = header->datasets[n].path;
        if (header->datasets[n].has_expected)
            names[FIRST_EXPECTED + n] = header->datasets[n].expected;
    }
    return attn_together_open(&file->file, names, DATASETS, error);
}

/* Collective. Gives every rank what rank 0 has. */
static attn_status share_header(MPI_Comm comm, attn_layer_header *header, attn_error *error)
{
    attn_layer_header sent = *header;
    const attn_status status = attn_comm_broadcast(comm, 0, &sent, sizeof sent, error);

    if (status != ATTN_OK)
        return status;
    if (attn_comm_rank(comm) != 0)
        *header = sent;
    return attn_settings_share(comm, &header->settings, &header->problem.attention, error);
}

attn_status attn_layer_file_open(MPI_Comm comm, const char *path, attn_layer_file **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_layer_file *file = NULL;
    attn_status status;

    *out = NULL;
    status = prepare(comm, path, false, &file, error);
    if (status != ATTN_OK)
        goto end;
    if (attn_comm_rank(comm) == 0)
        status = attn_layer_scan(path, &file->header, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = share_header(comm, &file->header, error);
    if (status == ATTN_OK)
        status = open_together(file, error);
    if (status == ATTN_OK)
        *out = file;
    else
        release(file, status);
end:
    attn_h5_quiet_end(saved);
    return status;
}

attn_status attn_layer_file_create(MPI_Comm comm, const char *path, bool replace, const attn_layer_problem *problem,
                                   const attn_layer_contents *contents, attn_layer_file **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_layer_file *file = NULL;
    attn_status status;

    *out = NULL;
    status = prepare(comm, path, true, &file, error);
    if (status != ATTN_OK)
        goto end;
    status = attn_comm_agree(comm, attn_layer_header_set(&file->header, problem, contents, error), error);
    if (status == ATTN_OK && attn_comm_rank(comm) == 0) {
        status = attn_together_claim(&file->file, replace, error);
        if (status == ATTN_OK)
            status = attn_layer_lay_out(&file->file, &file->header, error);
    }
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = open_together(file, error);
    if (status == ATTN_OK)
        *out = file;
    else
        release(file, status);
end:
    attn_h5_quiet_end(saved);
    return status;
}

attn_status attn_layer_file_close(attn_layer_file *file, attn_error *error)
{
    attn_h5_quiet saved;
    attn_status status;

    if (file == NULL)
        return ATTN_OK;
    saved = attn_h5_quiet_begin();
    status = attn_together_close(&file->file, error);
    release(file, status);
    attn_h5_quiet_end(saved);
    return status;
}

void attn_layer_file_discard(attn_layer_file *file)
{
    attn_h5_quiet saved;

    if (file == NULL)
        return;
    saved = attn_h5_quiet_begin();
    release(file, ATTN_OK);
    attn_h5_quiet_end(saved);
}

const attn_layer_problem *attn_layer_file_problem(const attn_layer_file *file)
{
    return &file->header.problem;
}

bool attn_layer_file_has(const attn_layer_file *file, attn_layer_array array)
{
    return file->header.present[array];
}

attn_dtype attn_layer_file_stored_dtype(const attn_layer_file *file, attn_layer_array array)
{
    return file->header.stored[array];
}

/* The dataset of a weight, or of its expected gradient, and the first row there; NULL when it is not there. */
static const attn_layer_dataset *find(const attn_layer_file *file, attn_layer_weight weight, int64_t *row)
{
    const attn_layer_dataset *const found = attn_layer_header_find(&file->header, weight.projection, weight.bias, row);

    return found != NULL && (found->has_expected || !weight.expected) ? found : NULL;
}

bool attn_layer_file_has_weight(const attn_layer_file *file, attn_layer_weight weight)
{
    int64_t row;

    return find(file, weight, &row) != NULL;
}

attn_dtype attn_layer_file_weight_dtype(const attn_layer_file *file, attn_layer_weight weight)
{
    int64_t row;
    const attn_layer_dataset *const dataset = find(file, weight, &row);

    return weight.expected ? dataset->expected_type : dataset->stored;
}

const char *attn_layer_file_weight_path(const attn_layer_file *file, attn_layer_weight weight)
{
    int64_t row;
    const attn_layer_dataset *const dataset = find(file, weight, &row);

    return weight.expected ? dataset->expected : dataset->path;
}

/* Collective. */
static attn_status move_rows(attn_layer_file *file, attn_layer_array array, const attn_segments *rows, attn_move m,
                             attn_error *error)
{
    attn_status status = ATTN_OK;

    m.file = &file->file;
    m.dataset = (int)array;
    m.name = attn_layer_array_path(array);
    m.stored = file->header.stored[array];
    m.rows = rows;
    m.first = 1;
    m.extents[0] = 1;
    attn_layer_array_extents(&file->header.problem, array, &m.extents[1]);
    memcpy(m.count, m.extents, sizeof m.count);
    if (!file->header.present[array])
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s is missing", file->file.path, m.name);
    return attn_move_array(&m, status, error);
}

attn_status attn_layer_file_read(attn_layer_file *file, attn_layer_array array, const attn_segments *rows,
                                 attn_dtype dtype, void *buffer, attn_error *error)
{
    return move_rows(file, array, rows, (attn_move){.dtype = dtype, .to = buffer}, error);
}

attn_status attn_layer_file_write(attn_layer_file *file, attn_layer_array array, const attn_segments *rows,
                                  attn_dtype dtype, const void *buffer, attn_error *error)
{
    return move_rows(file, array, rows, (attn_move){.dtype = dtype, .from = buffer, .writing = true}, error);
}

/* Whether the block lies in the weight: fused with others, its dataset is larger. */
static attn_status check_block(const attn_layer_file *file, attn_layer_weight weight, const char *name,
                               const attn_weight_block *block, attn_error *error)
{
    const int64_t rows = attn_layer_weight_out(&file->header.problem, weight.projection);

    if (block->row_count == 0 || (block->row_begin >= 0 && block->row_count <= rows - block->row_begin))
        return ATTN_OK;
    return attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s: rows %lld to %lld of %s; there are %lld",
                          file->file.path, name, (long long)block->row_begin,
                          (long long)(block->row_begin + block->row_count - 1), attn_projection_name(weight.projection),
                          (long long)rows);
}

/* Collective. */
static attn_status move_weight(attn_layer_file *file, attn_layer_weight weight, const attn_weight_block *block,
                               attn_move m, attn_error *error)
{
    int64_t row = 0;
    const attn_layer_dataset *const dataset = find(file, weight, &row);
    attn_segment one = {.begin = block->row_begin, .length = block->row_count};
    const attn_segments rows = {.list = &one, .count = 1, .rows = block->row_count};
    const int64_t column_begin = weight.bias ? 0 : block->column_begin;
    const int64_t column_count = weight.bias ? 1 : block->column_count;
    attn_status status = ATTN_OK;

    m.file = &file->file;
    if (dataset == NULL) {
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: %s%s of %s is missing", file->file.path,
                                weight.expected ? "the gradient of the " : "the ", weight.bias ? "bias" : "weight",
                                attn_projection_name(weight.projection));
        return attn_move_array(&m, status, error);
    }
    m.dataset = (int)(dataset - file->header.datasets) + (weight.expected ? FIRST_EXPECTED : FIRST_WEIGHT);
    m.name = weight.expected ? dataset->expected : dataset->path;
    m.stored = weight.expected ? dataset->expected_type : dataset->stored;
    m.first = 2;
    memcpy(m.extents, (int64_t[4]){1, 1, dataset->rows, dataset->columns}, sizeof m.extents);
    memcpy(m.begin, (int64_t[4]){0, 0, row, column_begin}, sizeof m.begin);
    memcpy(m.count, (int64_t[4]){1, 1, block->row_count, column_count}, sizeof m.count);
    m.rows = block->row_count > 0 ? &rows : NULL;
    return attn_move_array(&m, check_block(file, weight, m.name, block, error), error);
}

attn_status attn_layer_file_read_weight(attn_layer_file *file, attn_layer_weight weight, const attn_weight_block *block,
                                        attn_dtype dtype, void *buffer, attn_error *error)
{
    return move_weight(file, weight, block, (attn_move){.dtype = dtype, .to = buffer}, error);
}

attn_status attn_layer_file_write_weight(attn_layer_file *file, attn_layer_weight weight,
                                         const attn_weight_block *block, attn_dtype dtype, const void *buffer,
                                         attn_error *error)
{
    return move_weight(file, weight, block, (attn_move){.dtype = dtype, .from = buffer, .writing = true}, error);
}
