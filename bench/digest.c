#include "digest.h"
#include "tensors.h"

#include <attn/comm.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Rows of an array that are looked at, and bytes that they may have: fewer rows, or heads, where they are long. */
enum { ROWS = 64, BYTES = 16 * 1024 * 1024 };

static int64_t at_most(int64_t count, int64_t limit)
{
    return count < limit ? count : limit > 1 ? limit : 1;
}

/* FNV-1a (Fowler, Noll and Vo). */
static void add_bytes(uint64_t *hash, const void *bytes, size_t count)
{
    const unsigned char *const from = bytes;

    for (size_t i = 0; i < count; i++)
        *hash = (*hash ^ from[i]) * UINT64_C(0x100000001b3);
}

/* Numbers are hashed with their count, so that an absent list differs from an empty one and lists do not run
 * together. */
static void add_integers(uint64_t *hash, const int64_t *values, int64_t count)
{
    const int64_t length = values != NULL ? count : -1;

    add_bytes(hash, &length, sizeof length);
    if (values != NULL)
        add_bytes(hash, values, (size_t)count * sizeof *values);
}

static void add_reals(uint64_t *hash, const double *values, int64_t count)
{
    const int64_t length = values != NULL ? count : -1;

    add_bytes(hash, &length, sizeof length);
    if (values != NULL)
        add_bytes(hash, values, (size_t)count * sizeof *values);
}

static void add_settings(uint64_t *hash, const attn_problem *problem)
{
    const attn_shape *shape = &problem->shape;
    const attn_mask *mask = &problem->mask;
    const int64_t extents[] = {shape->batch,  shape->heads,    shape->kv_heads,  shape->seq,
                               shape->kv_seq, shape->head_dim, shape->v_head_dim};
    const int64_t limits[] = {mask->causal, mask->window_left, mask->window_right};
    const double factors[] = {problem->score.scale, problem->score.softcap};

    add_integers(hash, extents, sizeof extents / sizeof extents[0]);
    add_integers(hash, limits, sizeof limits / sizeof limits[0]);
    add_integers(hash, mask->kv_len, shape->batch);
    add_integers(hash, mask->cu_seqlens, mask->documents + 1);
    add_reals(hash, factors, sizeof factors / sizeof factors[0]);
    add_reals(hash, problem->score.alibi_slopes, shape->heads);
    add_reals(hash, problem->score.sinks, shape->heads);
    if (problem->dropout > 0) {
        add_reals(hash, &problem->dropout, 1);
        add_integers(hash, (const int64_t[]){(int64_t)problem->dropout_seed}, 1);
    }
}

/* `count` of `seq` rows, the first and the last among them. */
static attn_status spread_rows(int64_t seq, int64_t count, attn_segments **out, attn_error *error)
{
    int64_t begins[ROWS], lengths[ROWS];

    for (int64_t i = 0; i < count; i++) {
        begins[i] = count > 1 ? attn_share_begin(seq - 1, (int)count - 1, (int)i) : 0;
        lengths[i] = 1;
    }
    return attn_segments_create(count, begins, lengths, out, error);
}

/* Collective. Rank 0 reads and hashes; the others take part with nothing. */
static attn_status add_array(MPI_Comm comm, attn_input *input, attn_input_array array, uint64_t *hash,
                             attn_error *error)
{
    const attn_shape *shape = &attn_input_problem(input)->shape;
    const bool query = array == ATTN_INPUT_Q;
    const int64_t seq = query ? shape->seq : shape->kv_seq;
    const int64_t width = array == ATTN_INPUT_V ? shape->v_head_dim : shape->head_dim;
    const attn_dtype stored = attn_input_stored_dtype(input, array);
    const int64_t limit = BYTES / (int64_t)attn_dtype_size(stored) / width / shape->batch;
    const int64_t heads = at_most(query ? shape->heads : shape->kv_heads, limit);
    const int64_t count = at_most(seq < ROWS ? seq : ROWS, limit / heads);
    attn_segments *rows = NULL;
    void *data = NULL;
    attn_block block = {0, 0, NULL};
    attn_status status = ATTN_OK;

    if (attn_comm_rank(comm) == 0) {
        status = spread_rows(seq, count, &rows, error);
        data = tensor_allocate(shape->batch * heads * count * width, stored);
        if (status == ATTN_OK && data == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory to look at %s", attn_input_array_path(array));
        block = (attn_block){0, heads, rows};
    }
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_input_read(input, array, &block, stored, data, error);
    if (status == ATTN_OK && data != NULL) {
        add_integers(hash, (const int64_t[]){(int64_t)stored, heads, count}, 3);
        add_bytes(hash, data, (size_t)(shape->batch * heads * count * width) * attn_dtype_size(stored));
    }
    free(data);
    attn_segments_destroy(rows);
    return status;
}

attn_status input_digest(MPI_Comm comm, attn_input *input, char digest[ATTN_ID_SIZE], attn_error *error)
{
    static const attn_input_array arrays[] = {ATTN_INPUT_Q, ATTN_INPUT_K, ATTN_INPUT_V};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    attn_status status = ATTN_OK;

    add_settings(&hash, attn_input_problem(input));
    for (size_t i = 0; status == ATTN_OK && i < sizeof arrays / sizeof arrays[0]; i++)
        status = add_array(comm, input, arrays[i], &hash, error);
    if (status == ATTN_OK)
        status = attn_comm_broadcast(comm, 0, &hash, sizeof hash, error);
    snprintf(digest, ATTN_ID_SIZE, "%016" PRIx64, hash);
    return status;
}
