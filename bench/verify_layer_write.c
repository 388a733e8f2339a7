/* Writing a layer file with what was computed. */
#include "tensors.h"
#include "verify_layer.h"

#include <attn/comm.h>
#include <attn/partition.h>

#include <stdlib.h>
#include <string.h>

/* Collective. Copies this rank's even share of the rows of an array, bit for bit. */
static attn_status copy_array(MPI_Comm comm, attn_layer_file *from, attn_layer_file *to, attn_layer_array array,
                              attn_error *error)
{
    const attn_layer_problem *const problem = attn_layer_file_problem(from);
    const attn_shape *const shape = &problem->attention.shape;
    const int64_t seq = array == ATTN_LAYER_CONTEXT ? shape->kv_seq : shape->seq;
    const int64_t width = array == ATTN_LAYER_X         ? problem->embed_dim
                          : array == ATTN_LAYER_CONTEXT ? problem->context_dim
                                                        : attn_layer_out_dim(problem);
    const attn_dtype dtype = attn_layer_file_stored_dtype(from, array);
    const int ranks = attn_comm_size(comm), rank = attn_comm_rank(comm);
    const int64_t begin = attn_share_begin(seq, ranks, rank), length = attn_share_begin(seq, ranks, rank + 1) - begin;
    attn_segments *rows = NULL;
    void *data = NULL;
    attn_status status = attn_segments_create(1, &begin, &length, &rows, error);

    if (status == ATTN_OK && (data = tensor_allocate(shape->batch * length * width, dtype)) == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory to copy %s", attn_layer_array_path(array));
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_layer_file_read(from, array, rows, dtype, data, error);
    if (status == ATTN_OK)
        status = attn_layer_file_write(to, array, rows, dtype, data, error);
    free(data);
    attn_segments_destroy(rows);
    return status;
}

/* Collective. The same of a weight. */
static attn_status copy_weight(MPI_Comm comm, attn_layer_file *from, attn_layer_file *to, attn_layer_weight weight,
                               attn_error *error)
{
    const attn_layer_problem *const problem = attn_layer_file_problem(from);
    const int64_t out = attn_layer_weight_out(problem, weight.projection);
    const int64_t in = weight.bias ? 1 : attn_layer_weight_in(problem, weight.projection);
    const attn_dtype dtype = attn_layer_file_weight_dtype(from, weight);
    const int ranks = attn_comm_size(comm), rank = attn_comm_rank(comm);
    const int64_t begin = attn_share_begin(out, ranks, rank);
    const attn_weight_block block = {begin, attn_share_begin(out, ranks, rank + 1) - begin, 0, in};
    void *const data = tensor_allocate(block.row_count * in, dtype);
    attn_status status = data != NULL ? ATTN_OK
                                      : attn_error_set(error, ATTN_MEMORY, "no memory to copy %s",
                                                       attn_layer_file_weight_path(from, weight));

    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_layer_file_read_weight(from, weight, &block, dtype, data, error);
    if (status == ATTN_OK)
        status = attn_layer_file_write_weight(to, weight, &block, dtype, data, error);
    free(data);
    return status;
}

static attn_status copy_inputs(MPI_Comm comm, attn_layer_file *from, attn_layer_file *to, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (int a = ATTN_LAYER_X; a <= ATTN_LAYER_DY && status == ATTN_OK; a++)
        if (attn_layer_file_has(from, (attn_layer_array)a))
            status = copy_array(comm, from, to, (attn_layer_array)a, error);
    for (int n = 0; n < 2 * ATTN_PROJECTION_COUNT && status == ATTN_OK; n++) {
        const attn_layer_weight weight = {(attn_projection)(n / 2), n % 2 == 1, false};

        if (attn_layer_file_has_weight(from, weight))
            status = copy_weight(comm, from, to, weight, error);
    }
    return status;
}

/* Takes [begin, begin + count) out of the range that is left, at one of its ends. */
static void cut(int64_t begin, int64_t count, int64_t *left_begin, int64_t *left_count)
{
    const int64_t end = begin + count, left_end = *left_begin + *left_count;

    if (end <= *left_begin || begin >= left_end)
        return;
    if (begin <= *left_begin) {
        *left_begin = end < left_end ? end : left_end;
        *left_count = left_end - *left_begin;
    } else {
        *left_count = begin - *left_begin;
    }
}

/* Collective. Of the blocks that several ranks hold, alike, the lowest rank writes what is common: finds the part of
 * this rank's block that is left to it. Blocks are split by rows or by columns, in the order of the ranks' heads. */
static attn_status find_left(MPI_Comm comm, attn_weight_block *block, attn_error *error)
{
    const int ranks = attn_comm_size(comm), rank = attn_comm_rank(comm);
    double *const all = calloc((size_t)ranks * 4, sizeof *all);
    attn_status status = all != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for %d ranks", ranks);

    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK) {
        double *const own = all + (ptrdiff_t)rank * 4;

        own[0] = (double)block->row_begin;
        own[1] = (double)block->row_count;
        own[2] = (double)block->column_begin;
        own[3] = (double)block->column_count;
        status = attn_comm_sum(comm, all, (int64_t)ranks * 4, error);
    }
    for (int r = 0; status == ATTN_OK && r < rank; r++) {
        const int64_t rows = (int64_t)all[4 * r + 1], columns = (int64_t)all[4 * r + 3];

        if (rows == 0 || columns == 0 || block->row_count == 0 || block->column_count == 0)
            continue;
        if ((int64_t)all[4 * r + 2] == block->column_begin && columns == block->column_count)
            cut((int64_t)all[4 * r], rows, &block->row_begin, &block->row_count);
        else
            cut((int64_t)all[4 * r + 2], columns, &block->column_begin, &block->column_count);
    }
    free(all);
    return status;
}

/* Collective. Writes a gradient, each element by one rank. */
static attn_status write_gradient(MPI_Comm comm, const computed_block *from, attn_layer_file *to,
                                  const layer_result *result, attn_error *error)
{
    const int64_t row_begin = from->rows->count > 0 ? from->rows->list[0].begin : 0;
    const size_t size = attn_dtype_size(from->dtype);
    attn_weight_block left = {row_begin, from->rows->rows, from->column_begin, from->width};
    char *data = NULL;
    attn_status status = find_left(comm, &left, error);

    if (status != ATTN_OK)
        return status;
    data = tensor_allocate(left.row_count * left.column_count, from->dtype);
    if (data == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for this rank's %s", result->path);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK) {
        for (int64_t r = 0; r < left.row_count; r++)
            memcpy(data + (size_t)(r * left.column_count) * size,
                   (const char *)from->data + (size_t)((left.row_begin - row_begin + r) * from->width +
                                                       left.column_begin - from->column_begin) *
                                                  size,
                   (size_t)left.column_count * size);
        status = attn_layer_file_write_weight(to, result->which, &left, from->dtype, data, error);
    }
    free(data);
    return status;
}

attn_status layer_write_computed(MPI_Comm comm, const attn_layer *layer, const layer_tensors *arrays,
                                 attn_layer_file *file, const char *path, attn_error *error)
{
    const attn_dtype dtype = attn_layer_problem_of(layer)->attention.dtype;
    const bool backward = arrays->d_y != NULL;
    attn_layer_contents contents = {
        .like = file, .gradients = backward, .gradient_type = attn_dtype_accumulator(dtype)};
    attn_layer_file *to = NULL;
    attn_status status;

    for (int a = 0; a < ATTN_LAYER_ARRAY_COUNT; a++) {
        contents.present[a] = a <= ATTN_LAYER_DY && attn_layer_file_has(file, (attn_layer_array)a);
        contents.stored[a] = contents.present[a] ? attn_layer_file_stored_dtype(file, (attn_layer_array)a) : dtype;
    }
    contents.present[ATTN_LAYER_EXPECTED_Y] = true;
    contents.present[ATTN_LAYER_EXPECTED_DX] = backward;
    contents.present[ATTN_LAYER_EXPECTED_DCONTEXT] = backward && arrays->d_context != NULL;
    status = attn_layer_file_create(comm, path, true, attn_layer_file_problem(file), &contents, &to, error);
    if (status == ATTN_OK)
        status = copy_inputs(comm, file, to, error);
    for (int n = 0; n < LAYER_RESULTS && status == ATTN_OK; n++) {
        layer_row_list rows;
        layer_result result;
        computed_block block;

        if (!layer_result_at(file, n, &result) || (result.gradient && !backward))
            continue;
        block = layer_result_block(layer, arrays, &result, &rows);
        status = result.weight ? write_gradient(comm, &block, to, &result, error)
                               : attn_layer_file_write(to, result.array, block.rows, block.dtype, block.data, error);
    }
    if (status == ATTN_OK)
        return attn_layer_file_close(to, error);
    if (status != ATTN_MPI)
        attn_layer_file_discard(to);
    return status;
}
