/* Copies between lines, as projections have them, and arrays [B,heads,rows,width], as attention has them. */
#ifndef LAYER_PLACE_H
#define LAYER_PLACE_H

#include "layer/shares.h"

#include <stdbool.h>

/* Which heads of which lines are copied. */
typedef struct attn_placing {
    const attn_shares *shares; /* order of the lines, rows of the array */
    int64_t begin, end;        /* lines, of the part */
    int64_t heads, width;      /* of the array; elements of a head */
    int64_t first, count;      /* heads of the array that are copied */
    int64_t stride;            /* elements from line to line */
    attn_dtype dtype;
    int threads;
} attn_placing;

/* Copies heads [first, first + count) of each line.
 *   lines  in (out), [end - begin,stride]: column 0 is the first element of head `first`
 *   array  out (in), [B,heads,rows,width] */
void attn_lines_to_heads(const attn_placing *placing, const void *lines, void *array);
void attn_heads_to_lines(const attn_placing *placing, const void *array, void *lines);

/* Memory for [a,b,c] elements, not touched; released with free. ATTN_MEMORY. */
attn_status attn_lines_allocate(int64_t a, int64_t b, int64_t c, attn_dtype dtype, void **out, attn_error *error);

/* to = from, or to += from when add: count elements of dtype, to in its accumulator type. */
void attn_add_line(attn_dtype dtype, const void *from, int64_t count, bool add, void *to);

#endif
