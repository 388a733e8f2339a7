/* Partial results of the same rows on all ranks of a group, reduced to all of them in about log2 p rounds.
 *
 * Recursive doubling (Thakur et al. 2005, "Optimization of Collective Communication Operations in MPICH", section 4.5):
 * in the round d = 1, 2, 4, ... a rank and that with bit d of its number flipped give each other what they have, and
 * both merge the lower ranks' result with the higher ranks' one. It is a binary tree whose every seat is computed
 * wherever it is needed, so that its result need not travel back down; and as both sides merge in the same order, all
 * ranks get the same bits, whatever arrives when. Where p is not a power of two, p2 the next lower one, rank p2 + n
 * first gives its result to rank n and gets the outcome at the end.
 *
 * Volume: a message is o and lse of the rows, B T hq (Dv + 1) accumulators (for float32 sums B T hq 4 (Dv + 1) bytes).
 * A rank below p2 sends log2 p2 of them and, where p2 + n is a rank, one more; a rank from p2 on sends one. */
#ifndef DIST_TREE_H
#define DIST_TREE_H

#include "dist/laps.h"
#include "dist/partial.h"

#include <mpi.h>

typedef struct attn_tree attn_tree;

/* Not collective. Destroy takes NULL.
 *   bytes  in, most of a packed partial result (attn_partial_packed)
 *   out    out, NULL on failure
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_tree_create(MPI_Comm comm, int64_t message_bytes, int64_t bytes, attn_tree **out, attn_error *error);
void attn_tree_destroy(attn_tree *tree);

/* The packed partial result: this rank's, before it is reduced, and everybody's afterwards. It is somewhere else after
 * each reduction. */
void *attn_tree_partial(const attn_tree *tree);

/* Collective. Reduces. Does not allocate.
 *   of  in, the same on every rank
 * ATTN_MPI. */
attn_status attn_tree_reduce(attn_tree *tree, const attn_partial_rows *of, attn_laps *laps, attn_error *error);

/* Messages that a rank sends in a reduction among so many, of no more than a message's bytes each. */
int attn_tree_messages(int ranks, int rank);

/* Bytes that create allocated. */
size_t attn_tree_bytes(const attn_tree *tree);

#endif
