/* Where the ranks of a sequence group stand in its two dimensions: u in its all-to-all group, w in its ring. */
#ifndef PLAN_HYBRID_H
#define PLAN_HYBRID_H

#include <attn/plan.h>

typedef struct attn_hybrid_place {
    int u, w; /* 0 <= u < PU, 0 <= w < PR */
} attn_hybrid_place;

static inline attn_hybrid_place attn_hybrid_place_of(const attn_hybrid *hybrid, int seq_index)
{
    return hybrid->ring_inside ? (attn_hybrid_place){seq_index / hybrid->ring, seq_index % hybrid->ring}
                               : (attn_hybrid_place){seq_index % hybrid->alltoall, seq_index / hybrid->alltoall};
}

/* The rank of the sequence group that stands there. */
static inline int attn_hybrid_rank(const attn_hybrid *hybrid, int u, int w)
{
    return hybrid->ring_inside ? u * hybrid->ring + w : w * hybrid->alltoall + u;
}

#endif
