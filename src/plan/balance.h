/* Rows dealt by what they see: the layout `balanced`. */
#ifndef PLAN_BALANCE_H
#define PLAN_BALANCE_H

#include <attn/problem.h>
#include <attn/segments.h>

/* Lists the query rows of a part: the sequence is cut into up to 16 blocks a part, of equal length to within the last,
 * which are dealt in falling order of their visible pairs (exact, over all batches), each to the part that has fewest
 * pairs among those that have fewer than their share of blocks (Graham 1969, longest processing time first). Over all
 * parts they cover each row once; no part has more than a block more than another.
 *   out  out, destroyed by the caller; NULL on failure
 * O(B' Sq log documents + blocks parts). ATTN_MEMORY. */
attn_status attn_balance_rows(const attn_problem *problem, int parts, int part, attn_segments **out, attn_error *error);

#endif
