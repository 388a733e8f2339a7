/* Sums of weight gradients over groups of ranks, under way while other things are computed; and key-value heads that
 * several ranks of a head group hold: the gradients of the first of them count, the others get the result. */
#ifndef LAYER_SUMS_H
#define LAYER_SUMS_H

#include "dist/transfers.h"

#include <attn/partition.h>

/* Who holds the first and the last key-value head of a rank besides it. Ranks of the head group; those without heads
 * are none of them. */
typedef struct attn_kv_holders {
    int first_of_first; /* the lowest rank that holds this one's first key-value head */
    int first_of_last;  /* its last one */
    int begin, end;     /* first_of_last being this rank: ranks [begin, end) hold its last one too */
    int64_t counted;    /* key-value heads, the last ones, of which this rank is the first holder */
} attn_kv_holders;

attn_kv_holders attn_kv_holders_of(const attn_problem *problem, attn_grid grid, int head_index);

typedef struct attn_sums {
    attn_transfers transfers;
    int64_t message_bytes;
} attn_sums;

/* Not collective. Makes room for so many sums of so many bytes together, started between two finishes. Release is for
 * a failed create too, and for zeros. ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_sums_create(MPI_Comm comm, int64_t message_bytes, int64_t count, int64_t bytes, attn_sums *out,
                             attn_error *error);
void attn_sums_release(attn_sums *sums);

/* Collective over comm, in the same order on all its ranks. Starts to sum count numbers of a type, in place; a failure
 * is told by finish. */
void attn_sums_start(attn_sums *sums, MPI_Comm comm, attn_dtype dtype, void *data, int64_t count);

/* Starts to hand bytes to another rank of the comm of create, or to get them from it. */
void attn_sums_send(attn_sums *sums, const void *data, int64_t bytes, int to);
void attn_sums_receive(attn_sums *sums, void *data, int64_t bytes, int from);

/* Waits until all that was started is done. ATTN_MPI. */
attn_status attn_sums_finish(attn_sums *sums, attn_error *error);

#endif
