/* Inside of the library: distributed attention with a lower limit on messages, so that small tests take the way of
 * large ones, and of one head alone. */
#ifndef DIST_DIST_H
#define DIST_DIST_H

#include <attn/dist.h>

/* As attn_dist_create, with at most message_bytes handed over in one call (dist/pieces.h). */
attn_status attn_dist_create_limited(MPI_Comm comm, const attn_plan *plan, int64_t message_bytes, attn_dist **out,
                                     attn_error *error);

/* The same for one query head of the plan's problem, and its key-value head, with all that goes by the number of a head
 * (slopes, sinks, dropout). The plan's grid is Ps x 1, its combine `none`.
 *   head  in, 0 <= head < Hq */
attn_status attn_dist_create_head(MPI_Comm comm, const attn_plan *plan, int64_t head, int64_t message_bytes,
                                  attn_dist **out, attn_error *error);

#endif
