/* Rows of the tables of exchanges and combines.
 *
 * The types and the tables stand here, below anything that communicates, so that a planner can ask each row what it
 * would cost; the rows themselves are defined beside their algorithms, in dist/exchange_NAME.c and dist/combine_NAME.c.
 */
#ifndef PLAN_EXCHANGE_H
#define PLAN_EXCHANGE_H

#include <attn/plan.h>

#include <stdbool.h>

typedef struct attn_needs attn_needs;               /* plan/needs.h */
typedef struct attn_exchange_ops attn_exchange_ops; /* dist/exchange.h */
typedef struct attn_combine_ops attn_combine_ops;

/* Adds bytes, messages and buffer memory of one rank, that of the part, to *out.
 *   needs  in, of the sequence group */
typedef attn_status attn_exchange_predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                          attn_prediction *out, attn_error *error);

/* The share of the bytes that go to other nodes, on the rank where it is largest.
 *   needs  in, of the sequence group */
typedef double attn_far(const attn_plan *plan, const attn_needs *needs);

/* What the cost model is told of an exchange beside its volumes. Zeros are the cautious answer. */
typedef struct attn_exchange_cost {
    unsigned overlaps;   /* bits 1 << attn_transfer with which transfers go on while the kernel computes; of
                            ATTN_TRANSFER_AUTO where there is no choice */
    unsigned merges;     /* bits with which it computes part by part, and merges the partial results */
    int copies;          /* how often each byte that is sent is copied beside its transfer: packed, unpacked */
    attn_far *far_share; /* NULL: attn_far_spread */
    /* An exchange of two dimensions: the traffic of its ring alone, which has no copies and a share of its own, and the
     * ranks of that ring. The other fields then are of the rest, but `overlaps` and `merges` of the ring. NULL: one. */
    attn_exchange_predict *ring;
    attn_far *ring_far_share;
    int (*ring_ranks)(const attn_plan *plan);
} attn_exchange_cost;

/* Traffic that is spread evenly over the sequence group; to the next member alone, which waits for the slowest of its
 * links: 1 where one of them leaves a node; once to each other node that the group has ranks on, and within them
 * otherwise; to those that see a rank's keys, evenly; and over the two dimensions of a hybrid: spread in the
 * all-to-all, to the next in the ring. */
attn_far attn_far_spread, attn_far_neighbour, attn_far_nodes, attn_far_seen, attn_far_alltoall, attn_far_ring;

struct attn_exchange {
    const char *name, *summary;
    unsigned transfers;     /* bits 1 << attn_transfer that it knows; 0: no choice */
    attn_transfer transfer; /* of these the one that auto means */
    /* With these transfers a row meets all its keys in one step, in their own order and without merging, so that a plan
     * can be deterministic; 1 << ATTN_TRANSFER_AUTO where it has no choice of them. */
    unsigned one_step;
    bool hybrid; /* works on two dimensions, attn_plan.hybrid */
    /* Whether it can run on the plan, of which the transfer, the kernel and the hybrid are not yet looked at; when not,
     * reason[size] says why. NULL: always. */
    bool (*applicable)(const attn_plan *plan, char *reason, size_t size);
    attn_exchange_predict *predict, *predict_backward; /* backward NULL: it has no such pass */
    attn_exchange_cost cost;
    const attn_exchange_ops *ops;
};

extern const attn_exchange attn_exchange_none;

/* The row that runs: with one rank in a sequence group nothing is exchanged, whatever the plan names. */
static inline const attn_exchange *attn_exchange_of(const attn_plan *plan)
{
    return plan->grid.seq == 1 ? &attn_exchange_none : plan->exchange;
}

struct attn_combine {
    const char *name, *summary;
    /* Query heads in the output of a rank, and the first of them. */
    int64_t (*output_heads)(const attn_plan *plan, const attn_part *part);
    int64_t (*output_head_begin)(const attn_plan *plan, const attn_part *part);
    attn_status (*predict)(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error);
    const attn_combine_ops *ops;
};

#endif
