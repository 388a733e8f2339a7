/* Whether two samples differ, and by how much; no distribution is assumed (Hoefler and Belli, SC15, rules 7 and 8). */
#include "core/checked.h"
#include "measure/median.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A value on its way to its rank. */
typedef struct ranked {
    double value;
    size_t index; /* where it stood */
} ranked;

static int compare_values(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    return (x->value > y->value) - (x->value < y->value);
}

/* Writes the ranks 1, 2, ... of the values, equal ones sharing the mean of theirs.
 *   sorted  in/out, [count] the values with their places
 *   ranks   out, [count] by place
 * Returns the sum of t^3 - t over all groups of t equal values. */
static double find_ranks(ranked *sorted, size_t count, double *ranks)
{
    double ties = 0;

    qsort(sorted, count, sizeof *sorted, compare_values);
    for (size_t begin = 0, end; begin < count; begin = end) {
        const double first = (double)(begin + 1);
        double equal;

        for (end = begin + 1; end < count && sorted[end].value <= sorted[begin].value; end++)
            ;
        equal = (double)(end - begin);
        for (size_t i = begin; i < end; i++)
            ranks[sorted[i].index] = first + (equal - 1) / 2;
        ties += equal * (equal * equal - 1);
    }
    return ties;
}

/* Autocorrelation at a lag of values of mean 0 and of that sum of squares. */
static double autocorrelation(const double *values, size_t count, size_t lag, double squares)
{
    double sum = 0;

    for (size_t i = lag; i < count; i++)
        sum += values[i - lag] * values[i];
    return sum / squares;
}

/* t of attn_effective_count, of ranks that were freed of their mean, by Geyer's initial monotone sequence. */
static double correlation_time(const double *ranks, size_t count, double squares, double lag1)
{
    const double n = (double)count;
    const double first = (n * lag1 + 1) / (n - 3);
    const double process = first <= 0 ? 1 : first < 1 ? (1 + first) / (1 - first) : INFINITY;
    double pair = 1 + lag1, sum = pair;

    for (size_t lag = 2; lag + 1 < count && pair > 0; lag += 2) {
        const double next =
            autocorrelation(ranks, count, lag, squares) + autocorrelation(ranks, count, lag + 1, squares);

        pair = fmin(pair, next);
        sum += fmax(pair, 0);
    }
    return fmin(fmax(fmax(2 * sum - 1, process), 1), n / 2);
}

attn_status attn_effective_count(const double *values, size_t count, double *lag1, double *out, attn_error *error)
{
    ranked *sorted = attn_calloc_array((int64_t)count, sizeof *sorted);
    double *ranks = attn_calloc_array((int64_t)count, sizeof *ranks);
    double squares = 0, first = 0;

    assert(count >= 1);
    if (sorted == NULL || ranks == NULL) {
        free(sorted);
        free(ranks);
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu values", count);
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = (ranked){values[i], i};
    find_ranks(sorted, count, ranks);
    for (size_t i = 0; i < count; i++) {
        ranks[i] -= ((double)count + 1) / 2;
        squares += ranks[i] * ranks[i];
    }
    *out = (double)count;
    if (count >= 5 && squares > 0) {
        first = autocorrelation(ranks, count, 1, squares);
        *out = (double)count / correlation_time(ranks, count, squares, first);
    }
    if (lag1 != NULL)
        *lag1 = first;
    free(sorted);
    free(ranks);
    return ATTN_OK;
}

/* Number of ways to choose b of a + b; infinite when it is above 2^52, beyond which doubles do not count. */
static double count_orders(size_t a, size_t b)
{
    const size_t few = a < b ? a : b;
    double orders = 1;

    for (size_t i = 1; i <= few && orders <= 0x1p52; i++)
        orders = orders * (double)(a + b - few + i) / (double)i;
    return orders <= 0x1p52 ? orders : INFINITY;
}

/* The number of orders of a and b values in which U is at most u, from the generating function of Mann and Whitney's
 * recurrence, the Gaussian binomial coefficient prod_{i=1..few} (1 - q^(many + i)) / (1 - q^i), cut off behind q^u. All
 * terms are whole numbers below 2^52.
 *   terms  [u + 1], for work */
static double orders_up_to(size_t a, size_t b, size_t u, double *terms)
{
    const size_t few = a < b ? a : b, many = a < b ? b : a;
    double sum = 0;

    memset(terms, 0, (u + 1) * sizeof *terms);
    terms[0] = 1;
    for (size_t i = 1; i <= few; i++) {
        for (size_t q = u; q >= many + i; q--)
            terms[q] -= terms[q - many - i];
        for (size_t q = i; q <= u; q++)
            terms[q] += terms[q - i];
    }
    for (size_t q = 0; q <= u; q++)
        sum += terms[q];
    return sum;
}

/* Two-sided p of a U by the normal approximation.
 *   ties  in, sum of t^3 - t over the groups of equal values */
static double normal_p(const attn_values *a, const attn_values *b, double u, double ties)
{
    const double pairs = (double)a->count * (double)b->count, all = (double)(a->count + b->count);
    const double variance = (a->effective + b->effective + 1) / (12 * a->effective * b->effective);
    const double equal = 1 - ties / (all * (all * all - 1));
    const double distance = fmax(fabs(u - pairs / 2) - 0.5, 0) / pairs;

    return equal > 0 ? erfc(distance / sqrt(2 * variance * equal)) : 1;
}

static attn_status exact_p(const attn_values *a, const attn_values *b, double orders, attn_rank_test *out,
                           attn_error *error)
{
    const double pairs = (double)a->count * (double)b->count;
    const size_t u = (size_t)fmin(out->u, pairs - out->u);
    double *terms = attn_calloc_array((int64_t)u + 1, sizeof *terms);

    if (terms == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the distribution of %zu values", u + 1);
    out->p = fmin(1, 2 * orders_up_to(a->count, b->count, u, terms) / orders);
    out->least = fmin(1, 2 / orders);
    out->exact = true;
    free(terms);
    return ATTN_OK;
}

attn_status attn_mann_whitney(const attn_values *a, const attn_values *b, attn_rank_test *out, attn_error *error)
{
    const size_t all = a->count + b->count;
    const double m = (double)b->count, orders = count_orders(a->count, b->count);
    ranked *sorted = attn_calloc_array((int64_t)all, sizeof *sorted);
    double *ranks = attn_calloc_array((int64_t)all, sizeof *ranks);
    attn_rank_test test = {0};
    attn_status status = ATTN_OK;
    double ties;

    assert(a->count >= 1 && b->count >= 1 && a->effective > 0 && b->effective > 0);
    if (sorted == NULL || ranks == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %zu values", all);
        goto cleanup;
    }
    for (size_t i = 0; i < all; i++)
        sorted[i] = (ranked){i < a->count ? a->values[i] : b->values[i - a->count], i};
    ties = find_ranks(sorted, all, ranks);
    for (size_t i = a->count; i < all; i++)
        test.u += ranks[i];
    test.u -= m * (m + 1) / 2;
    if (ties <= 0 && isfinite(orders) && a->effective >= (double)a->count && b->effective >= m) {
        status = exact_p(a, b, orders, &test, error);
    } else {
        test.p = normal_p(a, b, test.u, ties);
        test.least = normal_p(a, b, 0, ties);
    }
    if (status == ATTN_OK)
        *out = test;

cleanup:
    free(sorted);
    free(ranks);
    return status;
}

static void widen(attn_median *m, double effective)
{
    const double factor = sqrt((double)m->count / effective);

    m->lo = m->median - factor * (m->median - m->lo);
    m->hi = m->median + factor * (m->hi - m->median);
}

attn_status attn_median_difference(const attn_values *a, const attn_values *b, double level, attn_difference *out,
                                   attn_error *error)
{
    attn_difference d = {.reached = false};
    attn_status status = attn_median_interval(a->values, a->count, level, &d.a, error);

    if (status == ATTN_OK)
        status = attn_median_interval(b->values, b->count, level, &d.b, error);
    if (status != ATTN_OK)
        return status;
    widen(&d.a, a->effective);
    widen(&d.b, b->effective);
    d.reached = d.a.reached && d.b.reached;
    d.difference = d.b.median - d.a.median;
    d.lo = d.difference - hypot(d.b.median - d.b.lo, d.a.hi - d.a.median);
    d.hi = d.difference + hypot(d.b.hi - d.b.median, d.a.median - d.a.lo);
    if (a->count == 1 || b->count == 1) {
        d.lo = -INFINITY;
        d.hi = INFINITY;
    }
    *out = d;
    return ATTN_OK;
}

attn_status attn_holm(const double *p, size_t count, double *corrected, attn_error *error)
{
    ranked *sorted = attn_calloc_array((int64_t)count + 1, sizeof *sorted);
    double most = 0;
    size_t tests = 0;

    if (sorted == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu tests", count);
    for (size_t i = 0; i < count; i++) {
        corrected[i] = NAN;
        if (!isnan(p[i]))
            sorted[tests++] = (ranked){p[i], i};
    }
    qsort(sorted, tests, sizeof *sorted, compare_values);
    for (size_t i = 0; i < tests; i++) {
        most = fmax(most, fmin(1, (double)(tests - i) * sorted[i].value));
        corrected[sorted[i].index] = most;
    }
    free(sorted);
    return ATTN_OK;
}
