/* Exchange `broadcast`: the ranks of a sequence group send their keys and values to all others, one rank after the
 * other.
 *
 * Each rank hands its 2 hkv X bytes (X = B S/p D e) to p - 1 others, as with `allgather`, but in p rounds. A rank's own
 * part is read where it is. */
#include "core/checked.h"
#include "dist/exchange.h"
#include "dist/pieces.h"

#include <attn/memory.h>

#include <stdlib.h>

typedef struct broadcast_state {
    attn_exchange_state base;
    int ranks;
    attn_segments **rows; /* [ranks] */
} broadcast_state;

static bool applicable(const attn_plan *plan, char *reason, size_t size)
{
    (void)plan, (void)reason, (void)size;
    return true;
}

/* Bytes of one row of all batches and heads. */
static int64_t row_bytes(const attn_plan *plan, const attn_part *part, int64_t width)
{
    return plan->problem.shape.batch * part->kv_head_count * width * (int64_t)attn_dtype_size(plan->problem.dtype);
}

static attn_status predict(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const int64_t k = row_bytes(plan, part, shape->head_dim), v = row_bytes(plan, part, shape->v_head_dim);
    const int64_t rows = part->kv_rows->rows;
    const double others = plan->grid.seq - 1;

    (void)error;
    out->exchange_bytes += (double)((k + v) * rows) * others;
    out->messages +=
        (double)(attn_piece_count(k * rows, ATTN_MESSAGE_BYTES) + attn_piece_count(v * rows, ATTN_MESSAGE_BYTES)) *
        others;
    out->extra_bytes += (double)((k + v) * (shape->kv_seq - rows));
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    broadcast_state *state = (broadcast_state *)base;

    if (state == NULL)
        return;
    for (int r = 0; r < state->ranks && state->rows != NULL && base->k != NULL && base->v != NULL; r++) {
        attn_segments_destroy(state->rows[r]);
        if (r != base->group.part->seq_index) { /* its own part is the caller's */
            free(base->k[r].data);
            free(base->v[r].data);
        }
    }
    free(state->rows);
    free(base->k);
    free(base->v);
    free(state);
}

/* Memory for the part of another rank. */
static attn_status make_part(broadcast_state *state, int rank, attn_error *error)
{
    const attn_plan *plan = state->base.group.plan;
    const attn_part *part = state->base.group.part;
    const attn_shape *shape = &plan->problem.shape;
    const attn_status status =
        attn_layout_rows(plan->layout, shape->kv_seq, state->ranks, rank, &state->rows[rank], error);
    attn_array *k = &state->base.k[rank], *v = &state->base.v[rank];

    if (status != ATTN_OK || rank == part->seq_index)
        return status;
    const int64_t rows = state->rows[rank]->rows;
    *k = attn_array_dense(attn_aligned_alloc((size_t)(row_bytes(plan, part, shape->head_dim) * rows)),
                          part->kv_head_count, rows, shape->head_dim);
    *v = attn_array_dense(attn_aligned_alloc((size_t)(row_bytes(plan, part, shape->v_head_dim) * rows)),
                          part->kv_head_count, rows, shape->v_head_dim);
    return k->data != NULL && v->data != NULL
               ? ATTN_OK
               : attn_error_set(error, ATTN_MEMORY, "no memory for %lld rows of keys and values", (long long)rows);
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    const int ranks = group->plan->grid.seq;
    broadcast_state *state = calloc(1, sizeof *state);
    attn_status status = ATTN_OK;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->ranks = ranks;
    state->rows = attn_calloc_array(ranks, sizeof *state->rows);
    state->base = (attn_exchange_state){.group = *group,
                                        .part_count = ranks,
                                        .part_rows = (const attn_segments *const *)state->rows,
                                        .k = attn_calloc_array(ranks, sizeof *state->base.k),
                                        .v = attn_calloc_array(ranks, sizeof *state->base.v)};
    if (state->rows == NULL || state->base.k == NULL || state->base.v == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the parts of %d ranks", ranks);
    for (int r = 0; r < ranks && status == ATTN_OK; r++)
        status = make_part(state, r, error);
    if (status == ATTN_OK)
        *out = &state->base;
    else
        destroy(&state->base);
    return status;
}

static attn_status start(attn_exchange_state *base, const void *k, const void *v, attn_error *error)
{
    const attn_part *part = base->group.part;
    const attn_shape *shape = &base->group.plan->problem.shape;

    (void)error;
    base->k[part->seq_index] = attn_array_of_const(k, part->kv_head_count, part->kv_rows->rows, shape->head_dim);
    base->v[part->seq_index] = attn_array_of_const(v, part->kv_head_count, part->kv_rows->rows, shape->v_head_dim);
    return ATTN_OK;
}

static attn_status finish(attn_exchange_state *base, attn_error *error)
{
    const broadcast_state *state = (broadcast_state *)base;
    const attn_group *group = &base->group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t k = row_bytes(group->plan, group->part, shape->head_dim);
    const int64_t v = row_bytes(group->plan, group->part, shape->v_head_dim);
    attn_status status = ATTN_OK;

    for (int r = 0; r < state->ranks && status == ATTN_OK; r++) {
        const int64_t rows = state->rows[r]->rows;

        status = attn_comm_broadcast_limited(group->comm, r, base->k[r].data, (size_t)(k * rows), group->message_bytes,
                                             error);
        if (status == ATTN_OK)
            status = attn_comm_broadcast_limited(group->comm, r, base->v[r].data, (size_t)(v * rows),
                                                 group->message_bytes, error);
    }
    return status;
}

static const attn_exchange_ops ops = {create, destroy, start, finish};

const attn_exchange attn_exchange_broadcast = {
    "broadcast", "each rank sends its keys and values to all others in turn", applicable, predict, NULL, &ops};
