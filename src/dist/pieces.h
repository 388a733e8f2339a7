/* Large amounts travel in pieces. MPI 3 counts in int, and implementations keep bytes of a message in int here and
 * there, so a rank hands over at most ATTN_MESSAGE_BYTES in one call, or one item where an item is longer: an
 * exchange's items are rows of all batches and heads, which are not cut. The limit is an argument inside of the
 * library, so that tests can lower it. */
#ifndef DIST_PIECES_H
#define DIST_PIECES_H

#include <attn/status.h>

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#define ATTN_MESSAGE_BYTES ((int64_t)1 << 30)

/* How many items of some bytes fit in a call; at least one. */
static inline int64_t attn_piece_items(int64_t limit, int64_t item_bytes)
{
    return item_bytes > 0 && limit / item_bytes > 1 ? limit / item_bytes : 1;
}

/* How many pieces a number of items makes. */
static inline int64_t attn_piece_count(int64_t items, int64_t piece)
{
    return items > 0 ? (items - 1) / piece + 1 : 0;
}

/* The items of the piece that begins at `done`; 0 when there are none left. */
static inline int64_t attn_piece_length(int64_t items, int64_t done, int64_t piece)
{
    return done >= items ? 0 : items - done < piece ? items - done : piece;
}

/* As their namesakes in attn/comm.h, with at most `limit` bytes a call. */
attn_status attn_comm_sum_limited(MPI_Comm comm, double *values, int64_t count, int64_t limit, attn_error *error);
attn_status attn_comm_broadcast_limited(MPI_Comm comm, int root, void *bytes, size_t count, int64_t limit,
                                        attn_error *error);
attn_status attn_comm_gather_limited(MPI_Comm comm, const double *values, int64_t count, double *all, int64_t limit,
                                     attn_error *error);

#endif
