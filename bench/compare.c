#include "compare.h"

#include <attn/comm.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* o may hold the heads of others too, all else holds the own ones. */
static computed_block output_of(const attn_dist *dist, const tensors *arrays, attn_input_array array)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_shape *shape = &problem->shape;
    const attn_part *part = attn_dist_part(dist);
    computed_block block = {.dtype = problem->dtype,
                            .batch = shape->batch,
                            .head_begin = part->head_begin,
                            .head_count = part->head_count,
                            .rows = part->q_rows};

    switch (array) {
    case ATTN_INPUT_EXPECTED_O:
        block.data = arrays->o;
        block.head_begin = attn_dist_output_head_begin(dist);
        block.head_count = attn_dist_output_heads(dist);
        block.width = shape->v_head_dim;
        break;
    case ATTN_INPUT_EXPECTED_DQ:
        block.data = arrays->dq;
        block.width = shape->head_dim;
        break;
    case ATTN_INPUT_EXPECTED_DK:
    case ATTN_INPUT_EXPECTED_DV:
        block.data = array == ATTN_INPUT_EXPECTED_DK ? arrays->dk : arrays->dv;
        block.head_begin = part->kv_head_begin;
        block.head_count = part->kv_head_count;
        block.rows = part->kv_rows;
        block.width = array == ATTN_INPUT_EXPECTED_DK ? shape->head_dim : shape->v_head_dim;
        break;
    default:
        block.data = arrays->lse;
        block.dtype = attn_dtype_accumulator(problem->dtype);
        block.width = 1;
        break;
    }
    return block;
}

/* The same difference as numbers that can be sent; global indices are exact in a double. */
enum { PACKED_ERROR, PACKED_B, PACKED_H, PACKED_I, PACKED_D, PACKED_GOT, PACKED_WANT, PACKED_COUNT };

/* Finds the worst element of this rank. */
static void compare_own(const computed_block *got, const double *want, double worst[PACKED_COUNT])
{
    const attn_segments *rows = got->rows;
    const int64_t count = got->batch * got->head_count * rows->rows * got->width;

    memset(worst, 0, PACKED_COUNT * sizeof *worst);
    worst[PACKED_ERROR] = -1; /* a rank with nothing to compare */
    for (int64_t n = 0; n < count; n++) {
        const double value = attn_load(got->dtype, got->data, (size_t)n), error = attn_check_error(value, want[n]);
        const int64_t row = n / got->width, head = row / rows->rows;

        if (error <= worst[PACKED_ERROR])
            continue;
        worst[PACKED_ERROR] = error;
        worst[PACKED_B] = (double)(head / got->head_count);
        worst[PACKED_H] = (double)(got->head_begin + head % got->head_count);
        worst[PACKED_I] = (double)attn_segments_global(rows, row % rows->rows);
        worst[PACKED_D] = (double)(got->column_begin + n % got->width);
        worst[PACKED_GOT] = value;
        worst[PACKED_WANT] = want[n];
    }
}

/* Brings the worst of all ranks to rank 0. */
static attn_status find_worst(MPI_Comm comm, const double own[PACKED_COUNT], difference *out, attn_error *error)
{
    const int ranks = attn_comm_size(comm);
    double *all = calloc((size_t)ranks * PACKED_COUNT, sizeof *all);
    const double *worst = all;
    attn_status status = all != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for %d ranks", ranks);

    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_gather(comm, own, PACKED_COUNT, all, error);
    if (status == ATTN_OK) {
        for (int rank = 1; rank < ranks; rank++)
            if (all[rank * PACKED_COUNT + PACKED_ERROR] > worst[PACKED_ERROR])
                worst = all + (ptrdiff_t)rank * PACKED_COUNT;
        *out = (difference){.error = fmax(worst[PACKED_ERROR], 0),
                            .b = (int64_t)worst[PACKED_B],
                            .h = (int64_t)worst[PACKED_H],
                            .i = (int64_t)worst[PACKED_I],
                            .d = (int64_t)worst[PACKED_D],
                            .got = worst[PACKED_GOT],
                            .want = worst[PACKED_WANT]};
    }
    free(all);
    return status;
}

attn_status compare_block(MPI_Comm comm, const computed_block *got, const double *want, difference *out,
                          attn_error *error)
{
    double own[PACKED_COUNT];

    compare_own(got, want, own);
    return find_worst(comm, own, out, error);
}

attn_status compare_array(attn_dist *dist, const tensors *arrays, attn_input *input, attn_input_array array,
                          difference *out, attn_error *error)
{
    const MPI_Comm comm = attn_dist_comm(dist);
    const computed_block got = output_of(dist, arrays, array);
    const attn_block block = {got.head_begin, got.head_count, got.rows};
    double *want = tensor_allocate(got.batch * got.head_count * got.rows->rows * got.width, ATTN_FLOAT64);
    attn_status status =
        want != NULL ? ATTN_OK
                     : attn_error_set(error, ATTN_MEMORY, "no memory for this rank's %s", attn_input_array_path(array));

    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_input_read(input, array, &block, ATTN_FLOAT64, want, error);
    if (status == ATTN_OK)
        status = compare_block(comm, &got, want, out, error);
    free(want);
    return status;
}

/* Collective. Copies this rank's even share of the rows of an input array, bit for bit. */
static attn_status copy_array(MPI_Comm comm, attn_input *from, attn_input *to, attn_input_array array,
                              attn_error *error)
{
    const attn_shape *shape = &attn_input_problem(from)->shape;
    const bool query = array == ATTN_INPUT_Q || array == ATTN_INPUT_DO;
    const int64_t heads = query ? shape->heads : shape->kv_heads, seq = query ? shape->seq : shape->kv_seq;
    const int64_t width = array == ATTN_INPUT_Q || array == ATTN_INPUT_K ? shape->head_dim : shape->v_head_dim;
    const attn_dtype dtype = attn_input_stored_dtype(from, array);
    const int ranks = attn_comm_size(comm), rank = attn_comm_rank(comm);
    const int64_t begin = attn_share_begin(seq, ranks, rank), length = attn_share_begin(seq, ranks, rank + 1) - begin;
    attn_segments *rows = NULL;
    void *data = NULL;
    attn_status status = attn_segments_create(1, &begin, &length, &rows, error);
    const attn_block block = {0, heads, rows};

    if (status == ATTN_OK && (data = tensor_allocate(shape->batch * heads * length * width, dtype)) == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory to copy %s", attn_input_array_path(array));
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_input_read(from, array, &block, dtype, data, error);
    if (status == ATTN_OK)
        status = attn_input_write(to, array, &block, dtype, data, error);
    free(data);
    attn_segments_destroy(rows);
    return status;
}

/* Collective. Writes this rank's own heads of o or lse. */
static attn_status write_output(attn_dist *dist, attn_input *to, attn_input_array array, const tensors *arrays,
                                attn_error *error)
{
    const MPI_Comm comm = attn_dist_comm(dist);
    const attn_part *part = attn_dist_part(dist);
    const computed_block from = output_of(dist, arrays, array);
    const attn_block block = {part->head_begin, part->head_count, part->q_rows};
    const int64_t batch = attn_dist_plan(dist)->problem.shape.batch;
    const int64_t head = part->q_rows->rows * from.width; /* elements */
    const size_t head_bytes = (size_t)head * attn_dtype_size(from.dtype);
    const int64_t first = part->head_begin - from.head_begin;
    char *own = tensor_allocate(batch * part->head_count * head, from.dtype);
    attn_status status =
        own != NULL ? ATTN_OK
                    : attn_error_set(error, ATTN_MEMORY, "no memory for this rank's %s", attn_input_array_path(array));

    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK) {
        for (int64_t b = 0; part->head_count > 0 && b < batch; b++)
            memcpy(own + (size_t)(b * part->head_count) * head_bytes,
                   (const char *)from.data + (size_t)(b * from.head_count + first) * head_bytes,
                   (size_t)part->head_count * head_bytes);
        status = attn_input_write(to, array, &block, from.dtype, own, error);
    }
    free(own);
    return status;
}

attn_status write_computed(attn_dist *dist, const tensors *arrays, attn_input *input, const char *path,
                           attn_error *error)
{
    static const attn_input_array copied[] = {ATTN_INPUT_Q, ATTN_INPUT_K, ATTN_INPUT_V, ATTN_INPUT_DO};
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    attn_dtype stored[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT64};
    bool present[ATTN_INPUT_ARRAY_COUNT] = {[ATTN_INPUT_EXPECTED_O] = true, [ATTN_INPUT_EXPECTED_LSE] = true};
    attn_input *to = NULL;
    attn_status status;

    stored[ATTN_INPUT_EXPECTED_O] = problem->dtype;
    stored[ATTN_INPUT_EXPECTED_LSE] = attn_dtype_accumulator(problem->dtype);
    for (size_t n = 0; n < sizeof copied / sizeof copied[0]; n++) {
        present[copied[n]] = attn_input_has(input, copied[n]);
        if (present[copied[n]])
            stored[copied[n]] = attn_input_stored_dtype(input, copied[n]);
    }
    status =
        attn_input_create(attn_dist_comm(dist), path, true, attn_input_problem(input), stored, present, &to, error);
    for (size_t n = 0; status == ATTN_OK && n < sizeof copied / sizeof copied[0]; n++)
        if (present[copied[n]])
            status = copy_array(attn_dist_comm(dist), input, to, copied[n], error);
    if (status == ATTN_OK)
        status = write_output(dist, to, ATTN_INPUT_EXPECTED_O, arrays, error);
    if (status == ATTN_OK)
        status = write_output(dist, to, ATTN_INPUT_EXPECTED_LSE, arrays, error);
    if (status == ATTN_OK)
        return attn_input_close(to, error);
    if (status != ATTN_MPI)
        attn_input_discard(to);
    return status;
}
