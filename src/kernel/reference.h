/* The float64 reference for one row, in plain loops. */
#ifndef KERNEL_REFERENCE_H
#define KERNEL_REFERENCE_H

#include "kernel/kernel.h"

/* A softmax in progress over some keys of one row: o = weighted / sum, lse = max + log(sum). */
typedef struct attn_partial {
    double max;       /* largest score, -inf without a key */
    double sum;       /* sum of exp(s - max) */
    double *weighted; /* [Dv] sum of exp(s - max) v, with dropout */
    double max_abs;   /* largest |s| of the finite scores */
} attn_partial;

/* Computes s(i,j) of problem.h.
 *   q, key   in, [D]
 *   h, i, j  query head, query row and key, global numbers */
double attn_reference_score(const attn_problem *problem, const double *q, int64_t h, int64_t i, int64_t j,
                            const double *key);

/* Tells the factor of dropout on p(i,j): 0, or 1 / (1 - dropout).
 *   b, h, i, j  batch, query head, query row and key, global numbers */
double attn_reference_kept(const attn_problem *problem, int64_t b, int64_t h, int64_t i, int64_t j);

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

/* Computes for one query row the share of the keys of one part in dq: the sum of ds k, times the scale
 * (Dao et al. 2022, algorithm 4).
 *   q, d_o      in, [D], [Dv]
 *   lse, delta  in, of the row over all keys: log-sum-exp, and the sum over d of o do
 *   b .. row_buffer  as for attn_reference_partial; row_buffer [D + Dv]
 *   dq          in out, [D], added to */
void attn_reference_add_dq(const attn_problem *problem, const double *q, const double *d_o, double lse, double delta,
                           int64_t b, int64_t h, int64_t i, const attn_array *k, const attn_array *v, attn_dtype dtype,
                           int64_t kv_head, const attn_segments *rows, double *row_buffer, double *dq);

/* Adds what one pair contributes to the gradients of its key and value: dk += ds q, without the scale, and dv += p do.
 *   q, d_o, lse, delta  in, as above; k, v in, [D], [Dv]
 *   b, h, i, j          batch, query head, query row and key, global numbers; the pair is visible
 *   dk, dv              in out, [D], [Dv] */
void attn_reference_add_pair(const attn_problem *problem, const double *q, const double *d_o, double lse, double delta,
                             int64_t b, int64_t h, int64_t i, int64_t j, const double *k, const double *v, double *dk,
                             double *dv);

/* The backward pass of the reference kernel (kernel.h). */
attn_task_backward attn_reference_backward;
int64_t attn_reference_backward_keys(const attn_shape *shape, attn_dtype dtype);
size_t attn_reference_backward_bytes(const attn_shape *shape, attn_dtype dtype);

#endif
