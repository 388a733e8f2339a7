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

/* Values of one kind in the order in which they were measured, and how many independent ones they are worth. */
typedef struct attn_values {
    const double *values; /* [count] */
    size_t count;
    double effective; /* as attn_effective_count gives it; count where the values are independent */
} attn_values;

/* Computes how many independent values a series is worth: count / t with t = 1 + 2 (sum of its autocorrelations), at
 * least 1 and at most count / 2. The autocorrelations are those of the ranks, so that a few stragglers do not hide
 * them. Their sum is taken as long as pairs of them are positive, and falling (Geyer 1992, Practical Markov chain Monte
 * Carlo, section 3.3), and not below that of a first-order process, (1 + r) / (1 - r) with r the first of them freed of
 * its bias, (count r + 1) / (count - 3) (Kendall 1954). Fewer than five values, and equal ones, count in full.
 *   values  in, [count] in the order of measurement, count >= 1
 *   lag1    out, the first autocorrelation of the ranks, 0 where the values count in full; may be NULL
 *   out     out
 * ATTN_MEMORY. */
ATTN_API attn_status attn_effective_count(const double *values, size_t count, double *lag1, double *out,
                                          attn_error *error);

/* Whether the values of one sample tend to be larger than those of another. */
typedef struct attn_rank_test {
    double u;     /* pairs in which the value of b is larger than that of a, and half the pairs of equal ones */
    double p;     /* two-sided */
    double least; /* the smallest p that two samples of these sizes can give */
    bool exact;
} attn_rank_test;

/* Tests by Mann and Whitney's U (1947). Exact where no two values are equal, both samples are worth their count, and
 * the number of orders is below 2^52 (25 and 25 values, or 5 and 1000); otherwise by the normal approximation with
 * corrections for continuity and for equal values (Lehmann, Nonparametrics, section 1.2), the variance being that of
 * the effective counts.
 *   a, b  in, of at least one value each
 * ATTN_MEMORY. */
ATTN_API attn_status attn_mann_whitney(const attn_values *a, const attn_values *b, attn_rank_test *out,
                                       attn_error *error);

/* Two medians and their difference. */
typedef struct attn_difference {
    attn_median a, b;          /* as attn_median_interval, the intervals widened by sqrt(count / effective) */
    double difference, lo, hi; /* median of b - median of a; the interval is infinite where a sample has one value */
    bool reached;              /* both intervals cover as much as was wanted */
} attn_difference;

/* Computes the difference of two medians with an interval that is made of the intervals of both (Zou and Donner 2008,
 * Statistics in Medicine 27, the method of variance estimates recovery), so without assuming a distribution or equal
 * ones.
 *   a, b   in, of at least one value each
 *   level  in, wanted coverage, 0 < level < 1
 * ATTN_MEMORY. */
ATTN_API attn_status attn_median_difference(const attn_values *a, const attn_values *b, double level,
                                            attn_difference *out, attn_error *error);

/* Corrects the p of several tests (Holm 1979): with all hypotheses true, the probability that any corrected p is below
 * x is at most x.
 *   p          in, [count]; those that are NAN are no tests
 *   corrected  out, [count]; NAN where p is
 * ATTN_MEMORY. */
ATTN_API attn_status attn_holm(const double *p, size_t count, double *corrected, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
