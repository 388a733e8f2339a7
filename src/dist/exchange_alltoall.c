/* Exchange `alltoall`: rows are exchanged for heads, computed on, and exchanged back (Jacobs et al. 2023, "DeepSpeed
 * Ulysses: System Optimizations for Enabling Training of Extreme Long Sequence Transformer Models").
 *
 * It is an all-to-all of the whole sequence group (hybrid.h with PU = p, PR = 1). Forward a rank hands over
 * 2 (hq + h') (1 - 1/p) X bytes of q, o, k and v, h' = max(hkv, p) where heads deal evenly, and hq (1 - 1/p) B S/p
 * accumulators of lse; redistribute.h has the backward pass. It holds q, k, v and o of its share of the heads,
 * 2 (hq + h') X, and lse twice. Keys that no row sees stay at home. */
#include "dist/hybrid.h"

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const attn_hybrid whole = {.alltoall = plan->grid.seq, .ring = 1};

    return attn_hybrid_predict(plan, &whole, needs, part, out, error);
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    const attn_hybrid whole = {.alltoall = group->plan->grid.seq, .ring = 1};
    attn_group as_one = *group;

    as_one.alltoall_comm = group->comm;
    as_one.ring_comm = MPI_COMM_SELF; /* nothing travels there */
    return attn_hybrid_create(&as_one, &whole, out, error);
}

static const attn_exchange_ops ops = {
    .create = create, .destroy = attn_hybrid_destroy, .forward = attn_hybrid_forward, .backward = attn_hybrid_backward};

const attn_exchange attn_exchange_alltoall = {
    .name = "alltoall",
    .summary = "rows are exchanged for heads and back; each rank computes some heads of all rows",
    .transfers = 1U << ATTN_TRANSFER_BLOCKING | 1U << ATTN_TRANSFER_NONBLOCKING,
    .transfer = ATTN_TRANSFER_NONBLOCKING,
    .one_step = 1U << ATTN_TRANSFER_BLOCKING | 1U << ATTN_TRANSFER_NONBLOCKING,
    .predict = predict,
    .predict_backward = predict,
    .cost = {.copies = 2},
    .ops = &ops};
