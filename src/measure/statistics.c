#include <attn/statistics.h>

#include "core/checked.h"
#include "measure/median.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

double attn_quantile(const double *sorted, size_t count, double p)
{
    double position, below;
    size_t i;

    assert(count >= 1 && p >= 0 && p <= 1);
    position = p * (double)(count - 1);
    below = floor(position);
    i = (size_t)below;
    if (position <= below || i + 1 >= count)
        return sorted[i];
    return sorted[i] + (position - below) * (sorted[i + 1] - sorted[i]);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void attn_values_sort(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
}

/* A number of successes j from which sums of P(Bin(n, 1/2) = j) may start, and that probability: 0 where 2^-n is a
 * double, otherwise 30 standard deviations below the mean, where all that is left out is below 1e-190. */
static double first_term(size_t n, size_t *j)
{
    const double size = (double)n;
    double start;

    *j = 0;
    if (n <= 1000)
        return ldexp(1, -(int)n);
    *j = n / 2 - (size_t)(15 * sqrt(size));
    start = (double)*j;
    return exp(lgamma(size + 1) - lgamma(start + 1) - lgamma(size - start + 1) - size * log(2));
}

/* The largest k <= (n + 1) / 2 for which the k-th smallest and the k-th largest of n values cover the median with
 * probability 1 - 2 P(Bin(n, 1/2) < k) >= level, or 1 when there is none. For n up to 53 the sums are exact. */
static size_t interval_rank(size_t n, double level, double *coverage)
{
    size_t j, k = 1;
    double term = first_term(n, &j), below = term;

    *coverage = 1 - 2 * below;
    while (j + 1 <= (n + 1) / 2 && 1 - 2 * below >= level) {
        k = j + 1;
        *coverage = 1 - 2 * below;
        term = term * (double)(n - j) / (double)(j + 1);
        below += term;
        j++;
    }
    return k;
}

attn_median attn_median_of_sorted(const double *sorted, size_t count, double level)
{
    attn_median m = {.count = count};
    size_t k;

    assert(count >= 1 && level > 0 && level < 1);
    k = interval_rank(count, level, &m.coverage);
    m.median = attn_quantile(sorted, count, 0.5);
    m.lo = sorted[k - 1];
    m.hi = sorted[count - k];
    m.reached = m.coverage >= level;
    return m;
}

attn_status attn_median_interval(const double *values, size_t count, double level, attn_median *out, attn_error *error)
{
    double *const sorted = attn_calloc_array((int64_t)count, sizeof *sorted);

    if (sorted == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu values", count);
    memcpy(sorted, values, count * sizeof *sorted);
    attn_values_sort(sorted, count);
    *out = attn_median_of_sorted(sorted, count, level);
    free(sorted);
    return ATTN_OK;
}
