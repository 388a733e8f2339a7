/* Partial results (o, lse) of whole arrays, merged and finished by all threads (kernel/merge.h has the rows). */
#ifndef DIST_PARTIAL_H
#define DIST_PARTIAL_H

#include <attn/plan.h>

/* Rows of partial results: both arrays in the accumulator type of the plan's problem. */
typedef struct attn_partial_rows {
    const attn_plan *plan;
    int64_t head_begin, heads; /* query heads, global and number */
    int64_t rows;
} attn_partial_rows;

/* Merges another partial result into one; neither overlaps the other.
 *   o, lse              inout, [B,heads,rows,Dv] and [B,heads,rows]
 *   lse_low             inout, the shape and strides of lse, or NULL; see attn_merge
 *   other_o, other_lse  in, of the same shapes */
void attn_partial_merge(const attn_partial_rows *of, const attn_array *o, const attn_array *lse,
                        const attn_array *lse_low, const attn_array *other_o, const attn_array *other_lse);

/* Makes the result of a partial one that has seen all keys: adds the sinks, where there are, and converts o.
 *   o, lse           in, [B,heads,rows,Dv] and [B,heads,rows], accumulator type; changed
 *   to_o, to_lse     out, the same shapes, the problem's dtype and accumulator type; each may be the same array where
 *                    the type is the same */
void attn_partial_finish(const attn_partial_rows *of, const attn_array *o, const attn_array *lse,
                         const attn_array *to_o, const attn_array *to_lse);

/* Adds sums of gradients, `bytes` of accumulators, to others element by element.
 *   to    inout
 *   from  in, does not overlap it */
void attn_partial_add(const attn_plan *plan, int64_t bytes, void *to, const void *from);

/* Converts sums of gradients, `count` accumulators, to another type.
 *   to    out, of that type
 *   sums  in, may be the same array where the type is the same */
void attn_partial_convert(const attn_plan *plan, int64_t count, attn_dtype to_dtype, void *to, const void *sums);

/* Bytes of a partial result. */
size_t attn_partial_o_bytes(const attn_partial_rows *of);
size_t attn_partial_lse_bytes(const attn_partial_rows *of);

/* The arrays of a dense partial result in one piece of memory, o and then lse: as it is sent. The caller knows whether
 * it may write there. */
void attn_partial_packed(const attn_partial_rows *of, const void *memory, attn_array *o, attn_array *lse);

#endif
