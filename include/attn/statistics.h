/* Order statistics of timings. No normality is assumed (Hoefler and Belli, SC15, rules 6 and 8). */
#ifndef ATTN_STATISTICS_H
#define ATTN_STATISTICS_H

#include <attn/status.h>

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the quantile 0 <= p <= 1 by linear interpolation of the order statistics (Hyndman and Fan 1996, type 7).
 *   sorted  in, [count] rising, count >= 1 */
ATTN_API double attn_quantile(const double *sorted, size_t count, double p);

/* A median with its confidence interval. */
typedef struct attn_median {
    size_t count;
    double median;
    double lo, hi;   /* the interval, two order statistics */
    double coverage; /* probability that [lo, hi] covers the true median: 1 - 2 P(Bin(n, 1/2) < k), for independent
                        samples */
    bool reached;    /* coverage >= the wanted level; with few samples [min, max] covers less */
} attn_median;

/* Computes the median and the narrowest symmetric order-statistics interval with at least the wanted coverage (David
 * and Nagaraja, Order Statistics, 3rd edition, section 7.1); [min, max] when there is none.
 *   values  in, [count] in any order, count >= 1; left as they are
 *   level   in, wanted coverage, 0 < level < 1
 * ATTN_MEMORY. */
ATTN_API attn_status attn_median_interval(const double *values, size_t count, double level, attn_median *out,
                                          attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
