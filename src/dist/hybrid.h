/* All-to-all in groups of PU ranks, and a ring over the PR groups: Ps = PU x PR (Fang and Zhao 2024, "USP: A Unified
 * Sequence Parallelism Approach for Long Context Generative AI"). With PR = 1 it is Ulysses, with PU = 1 a ring.
 *
 * A rank receives the rows of its PU group for its share of the heads (redistribute.h); then keys and values travel
 * over the PR ranks that have the same share (ring.h), where a part is what a group has; outputs go home as they came.
 */
#ifndef DIST_HYBRID_H
#define DIST_HYBRID_H

#include "dist/exchange.h"

/* As attn_exchange_ops and attn_exchange_predict have them, for two dimensions that are named. comm of the group is not
 * used, but alltoall_comm, where PU > 1, and ring_comm. */
attn_status attn_hybrid_create(const attn_group *group, const attn_hybrid *hybrid, attn_exchange_state **out,
                               attn_error *error);
void attn_hybrid_destroy(attn_exchange_state *base);
attn_status attn_hybrid_forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                                attn_error *error);
attn_status attn_hybrid_backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                                 attn_error *error);
attn_exchange_predict attn_hybrid_predict_ring; /* of plan->hybrid, bytes and messages of the ring alone */
attn_status attn_hybrid_predict(const attn_plan *plan, const attn_hybrid *hybrid, const attn_needs *needs,
                                const attn_part *part, attn_prediction *out, attn_error *error);

#endif
