/* The rows of a sequence part, dealt to the ranks of a head group in shares, and how they move among these ranks.
 *
 * A line is a row of one batch. Lines of a whole part are kept share by share, [ranks][B][rows of the share], so that
 * what a rank gives or gets is one piece of memory; with one rank that is [B,rows]. A projection does not care for the
 * order of lines. n rows of a part of S rows, of w bytes each, go to or from a rank; it sends in
 *   gather           (ranks - 1) B n w
 *   sum              B (S - n) w, w being a line of sums
 *   heads_to_rows    B (S - n) w, w being a line of its own heads
 *   rows_to_heads    B n (W - w), W being a line of all heads */
#ifndef LAYER_SHARES_H
#define LAYER_SHARES_H

#include <attn/dtype.h>
#include <attn/segments.h>

#include <mpi.h>

typedef struct attn_shares attn_shares;

/* Collective over the head group (MPI_COMM_NULL: this rank is alone). Deals the rows of a part, alike on all ranks.
 *   rows           in, of the part; copied
 *   line_bytes     in, the longest line that will move
 *   message_bytes  in, most that is handed over in one call (dist/pieces.h)
 * ATTN_MEMORY, ATTN_UNSUPPORTED. Destroy takes NULL. */
attn_status attn_shares_create(MPI_Comm comm, int64_t batch, const attn_segments *rows, int64_t line_bytes,
                               int64_t message_bytes, attn_shares **out, attn_error *error);
void attn_shares_destroy(attn_shares *shares);

/* Ranks of the head group. */
int attn_shares_ranks(const attn_shares *shares);

/* The rows of the part, and those of this rank's share; borrowed until destroy. */
const attn_segments *attn_shares_part(const attn_shares *shares);
const attn_segments *attn_shares_own(const attn_shares *shares);

/* Lines of the part, and of this rank's share. */
int64_t attn_shares_lines(const attn_shares *shares);
int64_t attn_shares_own_lines(const attn_shares *shares);

/* Where this rank's share begins among the lines of the part. */
int64_t attn_shares_own_begin(const attn_shares *shares);

/* Lines that follow each other, and are rows of one batch that do. */
typedef struct attn_line_run {
    int64_t line, count;
    int64_t batch, row; /* of the first line; row within the part */
} attn_line_run;

/* The longest run that begins at a line, 0 <= line < end <= lines, and ends before `end`. */
attn_line_run attn_shares_run(const attn_shares *shares, int64_t line, int64_t end);

/* Collective. Brings all shares to all ranks.
 *   own  in, this rank's lines
 *   all  out, the lines of the part
 * ATTN_MPI. */
attn_status attn_shares_gather(attn_shares *shares, int64_t line_bytes, const void *own, void *all, attn_error *error);

/* Collective. Sums what all ranks have for the lines of each share, in the order of ranks.
 *   dtype  in, float64 or float32
 *   all    in, [lines of the part,width]
 *   room   [ranks - 1 times own lines,width], the caller's
 *   sum    out, [own lines,width]
 * ATTN_MPI. */
attn_status attn_shares_sum(attn_shares *shares, attn_dtype dtype, int64_t width, const void *all, void *room,
                            void *sum, int threads, attn_error *error);

/* Collective. Brings the columns of all ranks together for this rank's lines, and the other way round.
 *   columns  in, [ranks + 1] byte of a whole line at which each rank's columns begin, and its length
 *   heads    in (out), the lines of the part, of this rank's columns
 *   room     of the size of rows, the caller's
 *   rows     out (in), this rank's lines, of all columns
 * ATTN_MPI. */
attn_status attn_shares_heads_to_rows(attn_shares *shares, const int64_t *columns, const void *heads, void *room,
                                      void *rows, int threads, attn_error *error);
attn_status attn_shares_rows_to_heads(attn_shares *shares, const int64_t *columns, const void *rows, void *room,
                                      void *heads, int threads, attn_error *error);

#endif
