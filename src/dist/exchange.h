/* How an exchange or a combine runs: created once, then run in every pass.
 *
 * An exchange takes a rank from its own q, k and v to o and lse of its own query rows over all keys, and back. How it
 * does that is its own: it may bring all keys here and compute once, let them pass by and compute in steps (steps.h),
 * or send queries and partial results (partial.h). A combine brings the head outputs together. Both work within one
 * group of the grid and are collective over it. Neither allocates in a pass. */
#ifndef DIST_EXCHANGE_H
#define DIST_EXCHANGE_H

#include "dist/laps.h"
#include "plan/exchange.h"
#include "plan/needs.h"

#include <mpi.h>

/* What both are created from; valid as long as the state. */
typedef struct attn_group {
    MPI_Comm comm;
    MPI_Comm alltoall_comm, ring_comm; /* its two dimensions, for exchanges that have them (plan/hybrid.h) */
    const attn_plan *plan;
    const attn_part *part;   /* this rank's */
    const attn_needs *needs; /* which ranks of the sequence group see keys of which */
    int64_t message_bytes;   /* most that a rank hands over in one call: ATTN_MESSAGE_BYTES, or less in tests */
    attn_dtype dkv_dtype;    /* of the gradients of keys and values: the problem's, or its accumulator */
} attn_group;

/* The common start of every exchange's own state. */
typedef struct attn_exchange_state {
    attn_group group;
} attn_exchange_state;

/* One rank's arrays of a pass; a forward pass has the first five. They may move between passes. */
typedef struct attn_exchange_call {
    attn_array q;      /* [B,head_count,q_rows,D] dense */
    const void *k, *v; /* [B,kv_head_count,kv_rows,D or Dv] dense */
    attn_array o;      /* [B,head_count,q_rows,Dv]: out, or in for the backward pass */
    attn_array lse;    /* [B,head_count,q_rows], accumulator type, dense: the same */
    attn_array d_o;    /* [B,head_count,q_rows,Dv] dense */
    attn_array dq;     /* out, [B,head_count,q_rows,D] dense */
    void *dk, *dv;     /* out, the shapes of k and v, in dkv_dtype: sums over this rank's query heads and all rows */
} attn_exchange_call;

struct attn_exchange_ops {
    /* Collective. For the plan's pass; of the backward pass for both. *out is NULL on failure; the caller agrees on
     * failures and destroys. */
    attn_status (*create)(const attn_group *group, attn_exchange_state **out, attn_error *error);
    void (*destroy)(attn_exchange_state *state);
    /* Collective. o and lse over all keys, sinks included. ATTN_MPI. */
    attn_status (*forward)(attn_exchange_state *state, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error);
    /* Collective. dq, dk and dv. NULL: no backward pass. ATTN_MPI. */
    attn_status (*backward)(attn_exchange_state *state, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error);
    /* Where this rank's own k and v are best kept, so that nothing is copied; NULL: anywhere. */
    void (*own_memory)(attn_exchange_state *state, void **k, void **v);
};

typedef struct attn_combine_state {
    attn_group group;
} attn_combine_state;

struct attn_combine_ops {
    attn_status (*create)(const attn_group *group, attn_combine_state **out, attn_error *error);
    void (*destroy)(attn_combine_state *state);
    /* o is dense [B,output_heads,q rows,Dv], this rank's heads already in their place; returns when all are. */
    attn_status (*run)(attn_combine_state *state, void *o, attn_error *error);
};

/* The MPI type of one element. */
MPI_Datatype attn_mpi_type(attn_dtype dtype);

/* A committed type of count elements, so that message counts stay small. ATTN_ARGUMENT when count passes int. */
attn_status attn_mpi_run(attn_dtype dtype, int64_t count, MPI_Datatype *out, attn_error *error);

#endif
