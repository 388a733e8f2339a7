/* Key-value heads that several ranks of a head group hold: their gradients are sums over the query heads of all of
 * them.
 *
 * A shared head's rows of dk and dv (B times the rows, of D + Dv elements) are dealt evenly to its n holders. Each
 * holder sends its partial sums of the other holders' rows to them, adds those of its own rows in rank order, and sends
 * the result, rounded to the problem's dtype, to the others: so all hold the same bits. A holder that is dealt m of the
 * L rows sends (L - m) (D + Dv) accumulators and (n - 1) m (D + Dv) elements. */
#ifndef DIST_SHARE_HEADS_H
#define DIST_SHARE_HEADS_H

#include "dist/exchange.h"

typedef struct attn_share attn_share;

/* Whether the rank of a part holds a key-value head that another rank of its head group holds too. */
bool attn_share_needed(const attn_plan *plan, const attn_part *part);

/* Adds the bytes, messages and memory of one rank to *out. */
void attn_share_predict(const attn_plan *plan, const attn_part *part, attn_prediction *out);

/* Not collective. Allocates for the shared heads of group->part; the group is the head group. Destroy takes NULL.
 * ATTN_MEMORY, ATTN_ARGUMENT when a row's bytes pass int. */
attn_status attn_share_create(const attn_group *group, attn_share **out, attn_error *error);
void attn_share_destroy(attn_share *share);

/* Collective over the head group. Completes the gradients of shared heads.
 *   partial_dk, partial_dv  in, [B,kv_head_count,kv_rows,..] this rank's sums, accumulator type
 *   dk, dv                  out, the shared heads of arrays of the same shape in the problem's dtype; may be the
 *                           same */
attn_status attn_share_run(attn_share *share, const void *partial_dk, const void *partial_dv, void *dk, void *dv,
                           attn_error *error);

#endif
