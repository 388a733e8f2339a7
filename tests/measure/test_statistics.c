/* Quantiles, and intervals of the median: exact coverage, and coverage of simulated skewed samples. */
#include "harness.h"

#include <attn/random.h>
#include <attn/statistics.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_quantile(void)
{
    const double one[] = {3}, four[] = {1, 2, 4, 8}, five[] = {1, 2, 4, 8, 16};

    CU_ASSERT_EQUAL(attn_quantile(one, 1, 0), 3);
    CU_ASSERT_EQUAL(attn_quantile(one, 1, 1), 3);
    CU_ASSERT_EQUAL(attn_quantile(four, 4, 0), 1);
    CU_ASSERT_EQUAL(attn_quantile(four, 4, 0.5), 3);
    CU_ASSERT_EQUAL(attn_quantile(four, 4, 1), 8);
    CU_ASSERT_EQUAL(attn_quantile(five, 5, 0.5), 4);
    TEST_CLOSE(attn_quantile(five, 5, 0.9), 8 + 0.6 * 8, 1e-15);
    TEST_CLOSE(attn_quantile(four, 4, 0.25), 1.75, 1e-15);
}

/* The interval of the values 1, 2, ..., n, whose ends are the ranks. */
static attn_median ranks_of(size_t n, double level)
{
    double *const values = malloc(n * sizeof *values);
    attn_median m = {0};

    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    for (size_t i = 0; i < n; i++)
        values[(i * 7919) % n] = (double)(i + 1); /* a permutation, as the prime 7919 does not divide n here */
    TEST_OK(attn_median_interval(values, n, level, &m, &attn_test_error));
    free(values);
    return m;
}

/* Exact values: coverage is 1 - 2 (sum of binomial coefficients below k) / 2^n. */
static void test_table(void)
{
    const struct {
        size_t n;
        double level;
        size_t k;
        double coverage;
        bool reached;
    } table[] = {
        {1, 0.5, 1, 0, false},
        {2, 0.5, 1, 0.5, true},
        {2, 0.95, 1, 0.5, false},
        {5, 0.95, 1, 1 - 2.0 / 32, false},
        {5, 0.9375, 1, 0.9375, true},
        {6, 0.95, 1, 0.96875, true},
        {6, 0.99, 1, 0.96875, false},
        {7, 0.95, 1, 1 - 2.0 / 128, true},
        {8, 0.95, 1, 1 - 2.0 / 256, true},
        {9, 0.95, 2, 1 - 2.0 * 10 / 512, true},
        {10, 0.95, 2, 1 - 2.0 * 11 / 1024, true},
        {15, 0.95, 4, 1 - 2.0 * 576 / 32768, true},
        {20, 0.95, 6, 1 - 2.0 * 21700 / 1048576, true},
        {20, 0.99, 4, 1 - 2.0 * 1351 / 1048576, true},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const attn_median m = ranks_of(table[i].n, table[i].level);

        CU_ASSERT_EQUAL(m.count, table[i].n);
        CU_ASSERT_EQUAL(m.lo, (double)table[i].k);
        CU_ASSERT_EQUAL(m.hi, (double)(table[i].n + 1 - table[i].k));
        CU_ASSERT_EQUAL(m.median, ((double)table[i].n + 1) / 2);
        CU_ASSERT_EQUAL(m.coverage, table[i].coverage);
        CU_ASSERT_EQUAL(m.reached, table[i].reached);
    }
}

/* P(Bin(n, 1/2) < k) as a plain sum of logarithms of the terms. */
static double binomial_below(size_t n, size_t k)
{
    double sum = 0;

    for (size_t j = 0; j < k; j++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)j + 1) - lgamma((double)(n - j) + 1) - (double)n * log(2));
    return sum;
}

/* The rank is the largest possible one, on both sides of the change of method and for a million values. */
static void test_large_counts(void)
{
    const size_t counts[] = {53, 100, 999, 1000, 1001, 1002, 5000, 100001, 1000000};
    const double levels[] = {0.5, 0.95, 0.99, 0.999999};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (size_t l = 0; l < 4; l++) {
            const size_t n = counts[i];
            const attn_median m = ranks_of(n, levels[l]);
            const size_t k = (size_t)m.lo;

            CU_ASSERT_TRUE(m.reached);
            CU_ASSERT_EQUAL(m.hi, (double)(n + 1 - k));
            TEST_CLOSE(m.coverage, 1 - 2 * binomial_below(n, k), 1e-8);
            CU_ASSERT(1 - 2 * binomial_below(n, k) >= levels[l]);
            CU_ASSERT(1 - 2 * binomial_below(n, k + 1) < levels[l]);
        }
    }
    /* The normal approximation of n/2 - 1.96 sqrt(n)/2. */
    CU_ASSERT_EQUAL(ranks_of(1000000, 0.95).lo, 499020);
}

static void test_values_are_left(void)
{
    const double values[] = {3, 1, 2};
    double copy[3];
    attn_median m;

    memcpy(copy, values, sizeof copy);
    TEST_OK(attn_median_interval(copy, 3, 0.5, &m, &attn_test_error));
    CU_ASSERT_EQUAL(memcmp(copy, values, sizeof copy), 0);
    CU_ASSERT_EQUAL(m.median, 2);
}

static void test_equal_values(void)
{
    double values[30];
    attn_median m;

    for (size_t i = 0; i < 30; i++)
        values[i] = 0.125;
    TEST_OK(attn_median_interval(values, 30, 0.95, &m, &attn_test_error));
    CU_ASSERT(m.median == 0.125 && m.lo == 0.125 && m.hi == 0.125 && m.reached);
}

/* How often the interval holds the true median, 1, of exp(normal): as often as it says, within five standard
 * deviations of the simulation. */
static void test_simulated_coverage(void)
{
    enum { TRIALS = 4000, MAX = 101 };
    const size_t counts[] = {5, 6, 13, 40, MAX};

    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const size_t n = counts[c];
        double coverage = 0, covered = 0;

        for (uint64_t trial = 0; trial < TRIALS; trial++) {
            double values[MAX];
            attn_median m;

            attn_random_fill(31 + c, ATTN_STREAM_TEST, trial * n, n, ATTN_FLOAT64, values);
            for (size_t i = 0; i < n; i++)
                values[i] = exp(values[i]);
            TEST_OK(attn_median_interval(values, n, 0.95, &m, &attn_test_error));
            covered += m.lo <= 1 && 1 <= m.hi;
            coverage = m.coverage;
        }
        CU_ASSERT(fabs(covered / TRIALS - coverage) < 5 * sqrt(coverage * (1 - coverage) / TRIALS));
    }
}

static const attn_test tests[] = {
    {"quantiles", test_quantile},
    {"ranks and coverage of small samples", test_table},
    {"ranks and coverage of large samples", test_large_counts},
    {"the values are left as they are", test_values_are_left},
    {"equal values", test_equal_values},
    {"simulated coverage", test_simulated_coverage},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "measure/statistics", tests, sizeof tests / sizeof tests[0]);
}
