/* How an exchange or a combine runs: created once, then started and finished in every pass.
 *
 * An exchange brings to a rank the keys and values that its query rows need, as a list of parts. A combine brings the
 * head outputs together. Both work within one group of the grid and are collective over it. */
#ifndef DIST_EXCHANGE_H
#define DIST_EXCHANGE_H

#include "plan/exchange.h"

#include <mpi.h>

/* What both are created from; valid as long as the state. */
typedef struct attn_group {
    MPI_Comm comm;
    const attn_plan *plan;
    const attn_part *part; /* this rank's */
    int64_t message_bytes; /* most that a rank hands over in one call: ATTN_MESSAGE_BYTES, or less in tests */
} attn_group;

/* The common start of every exchange's own state. */
typedef struct attn_exchange_state {
    attn_group group;
    int64_t part_count;
    const attn_segments *const *part_rows; /* [part_count], set by create */
    attn_array *k, *v;                     /* [part_count], pointing to data from finish until the next start */
} attn_exchange_state;

struct attn_exchange_ops {
    /* Collective. *out is NULL on failure; the caller agrees on failures and destroys. */
    attn_status (*create)(const attn_group *group, attn_exchange_state **out, attn_error *error);
    void (*destroy)(attn_exchange_state *state);
    /* Starts bringing in K and V of the group. k and v are this rank's dense arrays, unchanged until finish. */
    attn_status (*start)(attn_exchange_state *state, const void *k, const void *v, attn_error *error);
    /* Returns when all parts can be read. */
    attn_status (*finish)(attn_exchange_state *state, attn_error *error);
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
