/* Which parts of a sequence see keys of which: what an exchange need not send. */
#ifndef PLAN_NEEDS_H
#define PLAN_NEEDS_H

#include "plan/exchange.h"

#include <stdbool.h>

/* need[i * parts + j]: a query row of part i sees a key of part j, in some batch. */
struct attn_needs {
    int parts;
    bool *need; /* [parts][parts] */
    int *reach; /* [parts] the largest (i - j) mod parts over the parts i that see part j; -1: none does */
    int *q_first,
        *q_reach; /* [parts] the smallest and the largest (i - j) mod parts over the other parts i of which part
                               j sees keys; 0: it sees none but its own */
    attn_segments **q_rows; /* [parts] rows of each part */
    attn_segments **kv_rows;
};

/* For the sequence group of a plan (grid.seq parts). Destroy takes NULL.
 *   out  out, NULL on failure
 * O(B' parts R log R + parts^2), B' the batches that differ by kv_len, R the runs of rows in all parts. ATTN_MEMORY. */
attn_status attn_needs_create(const attn_plan *plan, attn_needs **out, attn_error *error);
void attn_needs_destroy(attn_needs *needs);

/* The same for parts with any rows.
 *   rows_of  makes the rows of one part: *q_rows and *kv_rows, both NULL before, which the needs then own, one made
 *            before a failure too
 *   context  in, for rows_of */
typedef attn_status attn_needs_deal(const void *context, int part, attn_segments **q_rows, attn_segments **kv_rows,
                                    attn_error *error);
attn_status attn_needs_of_rows(const attn_problem *problem, int parts, attn_needs_deal *rows_of, const void *context,
                               attn_needs **out, attn_error *error);

/* Makes those between members that have several parts each: a member sees what one of its parts sees, and its rows are
 * those of all of them in rising order.
 *   members    in, >= 1
 *   member_of  in, [needs->parts] the member of each part; every member has one at least
 *   out        out, NULL on failure
 * ATTN_MEMORY. */
attn_status attn_needs_merge(const attn_needs *needs, int members, const int *member_of, attn_needs **out,
                             attn_error *error);

static inline bool attn_needs_see(const attn_needs *needs, int i, int j)
{
    return needs->need[i * needs->parts + j];
}

/* The keys [lo, hi) that the rows [first, first + count) of batch b see between them, count >= 1. Rows next to each
 * other see keys next to each other, so their union is an interval as well. */
attn_interval attn_needs_keys(const attn_problem *problem, int64_t b, int64_t first, int64_t count);

/* The local rows of part j that part i sees in some batch: what i needs of j, and no row more.
 *   out  out, destroyed by the caller with attn_segments_destroy; NULL on failure
 * ATTN_MEMORY. */
attn_status attn_needs_places(const attn_problem *problem, const attn_needs *needs, int i, int j, attn_segments **out,
                              attn_error *error);

/* The rows that stand at some local rows of a part, as rows of the sequence: a part of their own.
 *   out  out, as above
 * ATTN_MEMORY. */
attn_status attn_needs_rows(const attn_segments *part, const attn_segments *places, attn_segments **out,
                            attn_error *error);

#endif
