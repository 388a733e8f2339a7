/* Exchange `hybrid`: all-to-all in groups of PU ranks and a ring over the PR groups (Fang and Zhao 2024, "USP: A
 * Unified Sequence Parallelism Approach for Long Context Generative AI").
 *
 * With h' = max(hkv, PU) where heads deal evenly, X = B S/p D e: the all-to-all hands over 2 (hq + h') (1 - 1/PU) X
 * bytes and hq (1 - 1/PU) B S/p accumulators of lse; a part of the ring is the rows of PU ranks for h'/PU heads, so
 * PR - 1 steps hand over 2 h' (PR - 1) X. It holds q and o, 2 hq X, keys and values twice, 4 h' X, lse twice, and
 * partial results of the ring. Either the ranks of an all-to-all or those of a ring are neighbours (ring_inside). */
#include "dist/hybrid.h"

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    return attn_hybrid_predict(plan, &plan->hybrid, needs, part, out, error);
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    return attn_hybrid_create(group, &group->plan->hybrid, out, error);
}

static int ring_ranks(const attn_plan *plan)
{
    return plan->hybrid.ring;
}

static const attn_exchange_ops ops = {
    .create = create, .destroy = attn_hybrid_destroy, .forward = attn_hybrid_forward, .backward = attn_hybrid_backward};

const attn_exchange attn_exchange_hybrid = {.name = "hybrid",
                                            .summary = "all-to-all in groups of PU ranks, a ring over the PR groups",
                                            .transfers = 1U << ATTN_TRANSFER_BLOCKING | 1U << ATTN_TRANSFER_NONBLOCKING,
                                            .transfer = ATTN_TRANSFER_NONBLOCKING,
                                            .hybrid = true,
                                            .predict = predict,
                                            .predict_backward = predict,
                                            .cost = {.overlaps = ~(1U << ATTN_TRANSFER_BLOCKING),
                                                     .merges = ~0U,
                                                     .copies = 2,
                                                     .far_share = attn_far_alltoall,
                                                     .ring = attn_hybrid_predict_ring,
                                                     .ring_far_share = attn_far_ring,
                                                     .ring_ranks = ring_ranks},
                                            .ops = &ops};
