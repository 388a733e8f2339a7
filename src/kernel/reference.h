/* The float64 reference for one row, in plain loops. */
#ifndef KERNEL_REFERENCE_H
#define KERNEL_REFERENCE_H

#include <attn/kernel.h>

/* A softmax in progress over some keys of one row: o = weighted / sum, lse = max + log(sum). */
typedef struct attn_partial {
    double max;       /* largest score, -inf without a key */
    double sum;       /* sum of exp(s - max) */
    double *weighted; /* [Dv] sum of exp(s - max) v */
    double max_abs;   /* largest |s| of the finite scores */
} attn_partial;

/* Computes the partial result of one query row over the visible keys of one part.
 *   q      in, [D]
 *   b,h,i  batch, query head and query row, global numbers
 *   k, v   in, the part's arrays in `dtype`; kv_head is local to them
 *   rows   in, the part's rows
 *   row_buffer  [max(D, Dv)] of the caller's, contents undefined before and after
 *   out    out; out->weighted [Dv] is the caller's */
void attn_reference_partial(const attn_problem *problem, const double *q, int64_t b, int64_t h, int64_t i,
                            const attn_array *k, const attn_array *v, attn_dtype dtype, int64_t kv_head,
                            const attn_segments *rows, double *row_buffer, attn_partial *out);

/* Adds the partial result `other` to `into` (Milakov and Gimelshein 2018, eq. 4). Both may be empty. */
void attn_reference_merge(attn_partial *into, const attn_partial *other, int64_t width);

/* Adds the sink (if any) and divides: into->weighted becomes o.
 *   sink  in, NULL: none
 * Returns lse. */
double attn_reference_finish(attn_partial *into, const double *sink, int64_t width);

#endif
