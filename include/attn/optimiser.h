/* AdamW, for the arrays of weights that a rank holds: without MPI and without memory of its own, so that the caller's
 * arrays are all the state there is to keep.
 *
 *   g = scale x gradient                              scale: 1, or what attn_adamw_clip tells
 *   m = beta1 m + (1 - beta1) g
 *   v = beta2 v + (1 - beta2) g g
 *   w = w - schedule (learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay w)
 *
 * Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2. As there, weight_decay is
 * not multiplied by learning_rate; where it is, as in PyTorch, its product with learning_rate is meant here. */
#ifndef ATTN_OPTIMISER_H
#define ATTN_OPTIMISER_H

#include <attn/dtype.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What may change from step to step; a plain value. */
typedef struct attn_adamw {
    double learning_rate; /* alpha, >= 0; 0.001 in the paper */
    double beta1, beta2;  /* of the means of g and g g, 0 <= beta < 1; 0.9 and 0.999 */
    double epsilon;       /* > 0; 1e-8 */
    double weight_decay;  /* lambda, >= 0 */
    double schedule;      /* eta_t, >= 0: 1, or the multiplier of a schedule at this step */
} attn_adamw;

/* Arrays of count elements of dtype, which is an accumulator type (float64, float32); before the first step m and v are
 * zeros. */
typedef struct attn_adamw_arrays {
    int64_t count;
    attn_dtype dtype;
    const void *gradient;
    void *weights, *m, *v;
    attn_dtype copy_dtype;
    void *copy; /* the new weights rounded to copy_dtype, for computing; NULL: none */
} attn_adamw_arrays;

/* The settings of the paper, with a weight decay of 0. */
#define ATTN_ADAMW_INIT                                                                                                \
    {                                                                                                                  \
        0.001, 0.9, 0.999, 1e-8, 0, 1                                                                                  \
    }

/* Checks settings. ATTN_ARGUMENT with the name and value at fault. */
ATTN_API attn_status attn_adamw_check(const attn_adamw *settings, attn_error *error);

/* Makes step t >= 1.
 *   scale    in, what gradients are multiplied with
 *   threads  in, OpenMP threads, >= 1; bits do not depend on them */
ATTN_API void attn_adamw_step(const attn_adamw *settings, int64_t t, double scale, const attn_adamw_arrays *arrays,
                              int threads);

/* Sums the squares of an array of an accumulator type, in float64; bits do not depend on threads. The sum over all
 * arrays and ranks, each element once, is what attn_adamw_clip wants. */
ATTN_API double attn_adamw_squares(attn_dtype dtype, const void *array, int64_t count, int threads);

/* Tells by what to scale gradients whose squares have this sum so that their norm is at most max_norm > 0: 1 where it
 * is already; NaN where the sum is, so that it is seen. Source: Pascanu et al. 2013, algorithm 1. */
ATTN_API double attn_adamw_clip(double squares, double max_norm);

#ifdef __cplusplus
}
#endif
#endif
