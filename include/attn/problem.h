/* One attention problem: shape, element type, mask and score.
 *
 *   s(i,j) = cap(scale * q_i . k_j) - slope_h * |i' - j|
 *   cap(x) = softcap * tanh(x / softcap), or x when softcap is 0
 *   p(i,j) = exp(s(i,j)) / (sum over visible j of exp(s(i,j)) + exp(sink_h))
 *   o_i    = sum over visible j of p(i,j) v_j
 *   lse_i  = log of that denominator
 *
 * With dropout d > 0 the weights that reach the output are m(i,j) p(i,j) / (1 - d), m being 0 with probability d and
 * otherwise 1, the same for whoever computes them (attn_dropout_keeps); lse is without dropout, and sinks are not
 * dropped:
 *   o_i    = sum over visible j of m(i,j) p(i,j) v_j / (1 - d)
 *
 * Sources: scaled dot-product attention, Vaswani et al. 2017, eq. 1; ALiBi, Press et al. 2022, section 3; soft-capping,
 * Gemma 2 report 2024, section 2; sinks as a term of the denominator, gpt-oss model card 2025, section 2;
 * dropout, Srivastava et al. 2014, on the weights as in Vaswani et al.'s own code.
 */
#ifndef ATTN_PROBLEM_H
#define ATTN_PROBLEM_H

#include <attn/dtype.h>
#include <attn/mask.h>
#include <attn/shape.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_score {
    double scale;               /* factor on q . k */
    double softcap;             /* 0: off */
    const double *alibi_slopes; /* [Hq] or NULL; borrowed */
    const double *sinks;        /* [Hq] or NULL; borrowed */
} attn_score;

typedef struct attn_problem {
    attn_shape shape;
    attn_dtype dtype; /* of q, k, v and o; sums and lse are kept in attn_dtype_accumulator(dtype) */
    attn_mask mask;
    attn_score score;
    double dropout;        /* probability that a weight becomes 0: 0 (off) <= dropout < 1 */
    uint64_t dropout_seed; /* of the weights that do; not read when dropout is 0 */
} attn_problem;

/* Makes a problem of that shape and type without mask, with scale 1 / sqrt(D) and nothing else set. Start from it: a
 * zeroed attn_problem is a legal one, with scale 0 and windows that show the diagonal alone. */
ATTN_API attn_problem attn_problem_init(attn_shape shape, attn_dtype dtype);

/* Computes 1 / sqrt(D), D > 0 (Vaswani et al. 2017, eq. 1). */
ATTN_API double attn_scale_default(int64_t head_dim);

/* Computes the slopes of the ALiBi paper (Press et al. 2022, section 3) for heads > 0: 2^(-8 h / H), h = 1..H, when H
 * is a power of two, otherwise the slopes of the next lower power of two followed by every second slope of the next
 * higher one (the authors' code).
 *   slopes  out, [heads] */
ATTN_API void attn_alibi_slopes(int64_t heads, double *slopes);

/* Checks shape, mask, score and dropout: scale, softcap, slopes and sinks must be finite in the type in which sums are
 * kept, and a softcap must not vanish in it; a problem with dropout must be within the range of attn_dropout_keeps.
 * ATTN_ARGUMENT with the name and value at fault. */
ATTN_API attn_status attn_problem_check(const attn_problem *problem, attn_error *error);

/* Counts the floating point operations (FLOP) of the forward pass: 2 (D + Dv) for each visible pair and query head.
 * Exponentials are not counted. A double, because a large problem passes 2^63. */
ATTN_API double attn_flops_forward(const attn_problem *problem);

/* Counts those of the backward pass from lse: 6 D + 4 Dv for each visible pair and query head, two for each product of
 * s = q k, dp = do v, dv += p do, dq += ds k, dk += ds q. */
ATTN_API double attn_flops_backward(const attn_problem *problem);

#ifdef __cplusplus
}
#endif
#endif
