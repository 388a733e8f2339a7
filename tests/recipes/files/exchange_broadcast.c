/* Exchange `broadcast`: the ranks of a sequence group send their keys and values to all others, one rank after the
 * other, and each part is computed on when it is there.
 *
 * Each rank hands its 2 hkv X bytes (X = B S/p D e) to p - 1 others, as with `allgather`, but in p rounds, so that a
 * rank holds one part of another at a time. A rank's own part is read where it is. */
#include "dist/exchange.h"
#include "dist/pieces.h"
#include "dist/steps.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <stdlib.h>

typedef struct broadcast_state {
    attn_exchange_state base;
    void *k, *v;       /* the part of another rank */
    attn_steps *steps; /* step r: the part of rank r */
} broadcast_state;

/* Bytes of the part of rank r, of D or Dv elements a row. */
static int64_t part_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int r, int64_t width)
{
    return plan->problem.shape.batch * part->kv_head_count * needs->kv_rows[r]->rows * width *
           (int64_t)attn_dtype_size(plan->problem.dtype);
}

/* The most rows of a part. */
static int largest_part(const attn_needs *needs)
{
    int largest = 0;

    for (int r = 1; r < needs->parts; r++)
        if (needs->kv_rows[r]->rows > needs->kv_rows[largest]->rows)
            largest = r;
    return largest;
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const int mine = part->seq_index, largest = largest_part(needs);
    const int64_t k = part_bytes(plan, needs, part, mine, shape->head_dim);
    const int64_t v = part_bytes(plan, needs, part, mine, shape->v_head_dim);
    const double others = needs->parts - 1;
    int64_t seen = 0;

    (void)error;
    for (int r = 0; r < needs->parts; r++)
        seen += attn_needs_see(needs, mine, r);
    out->exchange_bytes += (double)(k + v) * others;
    out->messages +=
        (double)(attn_piece_count(k, ATTN_MESSAGE_BYTES) + attn_piece_count(v, ATTN_MESSAGE_BYTES)) * others;
    out->extra_bytes += (double)(part_bytes(plan, needs, part, largest, shape->head_dim) +
                                 part_bytes(plan, needs, part, largest, shape->v_head_dim)) +
                        attn_steps_extra_bytes(plan, part->head_count, part->q_rows->rows, seen);
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    broadcast_state *state = (broadcast_state *)base;

    if (state == NULL)
        return;
    attn_steps_destroy(state->steps);
    free(state->k);
    free(state->v);
    free(state);
}

static attn_status make_steps(broadcast_state *state, attn_error *error)
{
    const attn_needs *needs = state->base.group.needs;
    attn_steps_setup setup = attn_steps_of_group(&state->base.group);
    attn_step_parts *steps = calloc((size_t)needs->parts, sizeof *steps);
    attn_status status;

    if (steps == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d steps", needs->parts);
    for (int r = 0; r < needs->parts; r++)
        steps[r] = (attn_step_parts){1, (const attn_segments *const *)&needs->kv_rows[r]};
    setup.step_count = needs->parts;
    setup.steps = steps;
    status = attn_steps_create(&setup, &state->steps, error);
    free(steps);
    return status;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    const attn_shape *shape = &group->plan->problem.shape;
    const int largest = largest_part(group->needs);
    broadcast_state *state = calloc(1, sizeof *state);
    attn_status status;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    state->k = attn_aligned_alloc((size_t)part_bytes(group->plan, group->needs, group->part, largest, shape->head_dim));
    state->v =
        attn_aligned_alloc((size_t)part_bytes(group->plan, group->needs, group->part, largest, shape->v_head_dim));
    if (state->k == NULL || state->v == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the keys and values of another rank");
    else
        status = make_steps(state, error);
    if (status == ATTN_OK)
        *out = &state->base;
    else
        destroy(&state->base);
    return status;
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    broadcast_state *state = (broadcast_state *)base;
    const attn_group *group = &base->group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t heads = group->part->kv_head_count;
    attn_status status = ATTN_OK;

    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    for (int r = 0; r < group->needs->parts && status == ATTN_OK; r++) {
        const int64_t rows = group->needs->kv_rows[r]->rows;
        const bool own = r == group->part->seq_index;
        const attn_array k = attn_array_of_const(own ? call->k : state->k, heads, rows, shape->head_dim);
        const attn_array v = attn_array_of_const(own ? call->v : state->v, heads, rows, shape->v_head_dim);

        status = attn_comm_broadcast_limited(
            group->comm, r, k.data, (size_t)part_bytes(group->plan, group->needs, group->part, r, shape->head_dim),
            group->message_bytes, error);
        if (status == ATTN_OK)
            status = attn_comm_broadcast_limited(
                group->comm, r, v.data,
                (size_t)part_bytes(group->plan, group->needs, group->part, r, shape->v_head_dim), group->message_bytes,
                error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
        if (status == ATTN_OK)
            attn_steps_forward_step(state->steps, r, &k, &v, NULL, laps);
    }
    if (status == ATTN_OK)
        attn_steps_forward_end(state->steps, laps);
    return status;
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward};

const attn_exchange attn_exchange_broadcast = {.name = "broadcast",
                                               .summary = "each rank sends its keys and values to all others in turn",
                                               .transfers = 1U << ATTN_TRANSFER_BLOCKING,
                                               .transfer = ATTN_TRANSFER_BLOCKING,
                                               .predict = predict,
                                               .ops = &ops};
