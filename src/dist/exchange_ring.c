/* Exchange `ring`: keys and values travel from rank to rank while they are computed on (Liu et al. 2023, "Ring
 * Attention with Blockwise Transformers").
 *
 * The ring (ring.h) has all p ranks of the sequence group. A part stops at the last rank on its way that sees it, so
 * full attention hands over 2 hkv X bytes in each of p - 1 steps, and a causal mask on a contiguous layout half of that
 * on average. Backward, sums of dk and dv travel as well: p more messages of sums. */
#include "dist/ring.h"
#include "dist/share_heads.h"

#include "dist/pieces.h"

#include <attn/comm.h>

#include <stdlib.h>

typedef struct ring_state {
    attn_exchange_state base;
    attn_ring *ring;
} ring_state;

static attn_ring_setup setup_of(const attn_plan *plan, const attn_needs *needs, const attn_part *part)
{
    return attn_ring_of_group(&(attn_group){.comm = MPI_COMM_NULL,
                                            .plan = plan,
                                            .part = part,
                                            .needs = needs,
                                            .message_bytes = ATTN_MESSAGE_BYTES,
                                            .dkv_dtype = plan->problem.dtype});
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const attn_ring_setup setup = setup_of(plan, needs, part);

    (void)error;
    attn_ring_predict(&setup, out);
    return ATTN_OK;
}

static attn_status predict_backward(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                    attn_prediction *out, attn_error *error)
{
    const attn_ring_setup setup = setup_of(plan, needs, part);

    (void)error;
    attn_ring_predict(&setup, out);
    attn_ring_predict_sums(&setup, out);
    attn_share_predict(plan, part, out);
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    ring_state *state = (ring_state *)base;

    if (state == NULL)
        return;
    attn_ring_destroy(state->ring);
    free(state);
}

static attn_status make_ring(const attn_group *group, ring_state **out, attn_error *error)
{
    const attn_ring_setup setup = attn_ring_of_group(group);
    ring_state *state = calloc(1, sizeof *state);

    *out = state;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    return attn_ring_create(&setup, &state->ring, error);
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    ring_state *state;
    attn_status status = attn_comm_agree(group->comm, make_ring(group, &state, error), error);

    *out = NULL;
    if (status == ATTN_OK)
        status = attn_ring_open(state->ring, error);
    if (status != ATTN_OK) {
        destroy(state != NULL ? &state->base : NULL);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    ring_state *state = (ring_state *)base;

    return attn_ring_forward(state->ring, &call->q, call->k, call->v, &call->o, &call->lse, laps, error);
}

static attn_status backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error)
{
    const attn_steps_rows rows = {call->q, call->o, call->lse, call->d_o, call->dq};
    ring_state *state = (ring_state *)base;

    return attn_ring_backward(state->ring, &rows, call->k, call->v, call->dk, call->dv, laps, error);
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward, .backward = backward};

const attn_exchange attn_exchange_ring = {
    .name = "ring",
    .summary = "keys and values travel from rank to rank, each step hidden behind the one before",
    .transfers = 1U << ATTN_TRANSFER_BLOCKING | 1U << ATTN_TRANSFER_NONBLOCKING | 1U << ATTN_TRANSFER_PERSISTENT |
                 1U << ATTN_TRANSFER_ONESIDED,
    .transfer = ATTN_TRANSFER_NONBLOCKING,
    .predict = predict,
    .predict_backward = predict_backward,
    .cost = {.overlaps = ~(1U << ATTN_TRANSFER_BLOCKING), .merges = ~0U, .far_share = attn_far_neighbour},
    .ops = &ops};
