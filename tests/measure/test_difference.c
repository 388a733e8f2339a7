/* Mann and Whitney's test, differences of medians and Holm's correction: published values, hand calculations, and how
 * often simulated samples are called different. */
#include "harness.h"

#include <attn/random.h>
#include <attn/statistics.h>

#include <math.h>
#include <string.h>

enum { MOST = 200 };

static attn_values independent(const double *values, size_t count)
{
    return (attn_values){values, count, (double)count};
}

static attn_rank_test test_of(const double *a, size_t na, const double *b, size_t nb)
{
    const attn_values x = independent(a, na), y = independent(b, nb);
    attn_rank_test out = {0};

    TEST_OK(attn_mann_whitney(&x, &y, &out, &attn_test_error));
    return out;
}

/* Samples of n and m values without equal ones in which U is u: the values of b stand behind as many of a. */
static attn_rank_test test_with_u(size_t n, size_t m, size_t u)
{
    double a[MOST], b[MOST];

    for (size_t i = 0; i < n; i++)
        a[i] = (double)(i + 1);
    for (size_t j = 0; j < m; j++) {
        const size_t below = u < n ? u : n;

        u -= below;
        b[j] = (double)below + 0.5 + (double)j / 1000;
    }
    return test_of(a, n, b, m);
}

/* Mann and Whitney 1947, table I: P(U <= u) to three places. */
static void test_table(void)
{
    static const struct {
        size_t n, u;
        double p;
    } table[] = {
        {3, 0, .050}, {3, 1, .100},  {3, 2, .200},  {3, 3, .350},  {4, 0, .014}, {4, 1, .029}, {4, 2, .057},
        {4, 3, .100}, {4, 4, .171},  {4, 5, .243},  {4, 6, .343},  {4, 7, .443}, {5, 0, .004}, {5, 1, .008},
        {5, 2, .016}, {5, 3, .028},  {5, 4, .048},  {5, 5, .075},  {5, 6, .111}, {5, 7, .155}, {5, 8, .210},
        {5, 9, .274}, {5, 10, .345}, {5, 11, .421}, {5, 12, .500},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const size_t n = table[i].n;
        const attn_rank_test low = test_with_u(n, n, table[i].u), high = test_with_u(n, n, n * n - table[i].u);

        CU_ASSERT_EQUAL(low.u, (double)table[i].u);
        CU_ASSERT_EQUAL(high.u, (double)(n * n - table[i].u));
        CU_ASSERT_TRUE(low.exact);
        CU_ASSERT(fabs(low.p - 2 * table[i].p) <= 0.001 + 1e-12);
        CU_ASSERT_EQUAL(high.p, low.p);
        CU_ASSERT_EQUAL(low.least, test_with_u(n, n, 0).p);
    }
    TEST_CLOSE(test_with_u(4, 4, 0).p, 2.0 / 70, 1e-15);
    TEST_CLOSE(test_with_u(25, 25, 0).p, 2 / 126410606437752.0, 1e-15);
    CU_ASSERT_EQUAL(test_with_u(2, 3, 3).p, 1);
}

/* Permeability of the human chorioamnion at term and at 12 to 26 weeks: Hollander and Wolfe, Nonparametric Statistical
 * Methods, 1973, page 69; U = 35 of 50 and one-sided P 0.1272 in R's wilcox.test, which has it as its example. */
static void test_hollander_wolfe(void)
{
    const double term[] = {0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46};
    const double weeks[] = {1.15, 0.88, 0.90, 0.74, 1.21};
    const attn_rank_test t = test_of(weeks, 5, term, 10);

    CU_ASSERT_EQUAL(t.u, 35);
    CU_ASSERT_TRUE(t.exact);
    CU_ASSERT(fabs(t.p / 2 - 0.1272) < 0.00005);
    CU_ASSERT_EQUAL(test_of(term, 10, weeks, 5).u, 15);
    CU_ASSERT_EQUAL(test_of(term, 10, weeks, 5).p, t.p);
}

/* The example in the documentation of SciPy's mannwhitneyu: U = 17, exact p 1/9, 0.11134688653314041 by the
 * approximation. */
static void test_scipy(void)
{
    const double men[] = {19, 22, 16, 29, 24}, women[] = {20, 11, 17, 12};
    const attn_values a = {women, 4, 4 - 1e-13}, b = independent(men, 5);
    attn_rank_test t = test_of(women, 4, men, 5);

    CU_ASSERT_EQUAL(t.u, 17);
    TEST_CLOSE(t.p, 1.0 / 9, 1e-14);
    TEST_OK(attn_mann_whitney(&a, &b, &t, &attn_test_error));
    CU_ASSERT_FALSE(t.exact);
    TEST_CLOSE(t.p, 0.11134688653314041, 1e-12);
}

/* By hand: U = 1.5 + 1.5 + 2.5, groups of three twos and two threes, variance 9/12 (7 - (24 + 6) / 30) = 4.5. */
static void test_ties(void)
{
    const double a[] = {1, 2, 3}, b[] = {2, 2, 3}, same[] = {5, 5, 5};
    const attn_rank_test t = test_of(a, 3, b, 3);

    CU_ASSERT_EQUAL(t.u, 5.5);
    CU_ASSERT_FALSE(t.exact);
    TEST_CLOSE(t.p, erfc((5.5 - 4.5 - 0.5) / sqrt(4.5) / sqrt(2)), 1e-14);
    CU_ASSERT_EQUAL(test_of(same, 3, same, 3).p, 1);
    CU_ASSERT_EQUAL(test_of(same, 3, same, 3).u, 4.5);
}

/* Where the exact distribution ends, the approximation is near. */
static void test_both_ways(void)
{
    double a[25], b[25];

    for (size_t i = 0; i < 25; i++) {
        a[i] = attn_random_normal(3, ATTN_STREAM_TEST, i);
        b[i] = attn_random_normal(3, ATTN_STREAM_TEST, 100 + i) + 0.7;
    }
    for (size_t n = 12; n <= 25; n++) {
        const attn_values x = {a, n, (double)n * (1 - 1e-12)}, y = independent(b, n);
        attn_rank_test t;

        TEST_OK(attn_mann_whitney(&x, &y, &t, &attn_test_error));
        CU_ASSERT(!t.exact && test_of(a, n, b, n).exact);
        CU_ASSERT(fabs(t.p - test_of(a, n, b, n).p) < 0.01);
    }
}

/* The example of R's p.adjust and of many texts, by hand: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the one
 * before. */
static void test_holm(void)
{
    const double p[] = {0.01, 0.04, NAN, 0.03, 0.005}, alone[] = {0.04}, large[] = {0.6, 0.9};
    double out[5];

    TEST_OK(attn_holm(p, 5, out, &attn_test_error));
    TEST_CLOSE(out[0], 0.03, 1e-15);
    TEST_CLOSE(out[1], 0.06, 1e-15);
    CU_ASSERT_TRUE(isnan(out[2]));
    TEST_CLOSE(out[3], 0.06, 1e-15);
    TEST_CLOSE(out[4], 0.02, 1e-15);
    TEST_OK(attn_holm(alone, 1, out, &attn_test_error));
    CU_ASSERT_EQUAL(out[0], 0.04);
    TEST_OK(attn_holm(large, 2, out, &attn_test_error));
    CU_ASSERT(out[0] == 1 && out[1] == 1);
    TEST_OK(attn_holm(NULL, 0, NULL, &attn_test_error));
}

/* By hand: nine values each, the intervals from the second to the eighth. */
static void test_medians(void)
{
    const double a[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, b[] = {10, 11, 14, 16, 20, 22, 25, 26, 40}, one[] = {3};
    const attn_values x = independent(a, 9), y = independent(b, 9), z = independent(one, 1), quarter = {a, 9, 9.0 / 4};
    attn_difference d;

    TEST_OK(attn_median_difference(&x, &y, 0.95, &d, &attn_test_error));
    CU_ASSERT(d.a.median == 5 && d.a.lo == 2 && d.a.hi == 8);
    CU_ASSERT(d.b.median == 20 && d.b.lo == 11 && d.b.hi == 26);
    CU_ASSERT_EQUAL(d.difference, 15);
    TEST_CLOSE(d.lo, 15 - sqrt(9 * 9 + 3 * 3), 1e-15);
    TEST_CLOSE(d.hi, 15 + sqrt(6 * 6 + 3 * 3), 1e-15);
    CU_ASSERT_TRUE(d.reached);
    TEST_OK(attn_median_difference(&quarter, &y, 0.95, &d, &attn_test_error));
    CU_ASSERT(d.a.lo == -1 && d.a.hi == 11);
    TEST_CLOSE(d.lo, 15 - sqrt(9 * 9 + 6 * 6), 1e-15);
    TEST_OK(attn_median_difference(&x, &z, 0.95, &d, &attn_test_error));
    CU_ASSERT(d.difference == -2 && isinf(d.lo) && isinf(d.hi) && !d.reached);
}

/* Skewed times with a first-order autocorrelation rho, their median 1, as repetitions of a busy machine are. */
static void draw(uint64_t seed, double rho, size_t count, double *out)
{
    double state = attn_random_normal(seed, ATTN_STREAM_TEST, 0);

    for (size_t i = 0; i < count; i++) {
        out[i] = exp(0.1 * state);
        state = rho * state + sqrt(1 - rho * rho) * attn_random_normal(seed, ATTN_STREAM_TEST, 1 + i);
    }
}

static attn_values weigh(const double *values, size_t count)
{
    attn_values sample = {.values = values, .count = count};

    TEST_OK(attn_effective_count(values, count, NULL, &sample.effective, &attn_test_error));
    return sample;
}

static void test_effective_count(void)
{
    double values[MOST], lag1, effective, sum = 0;

    for (uint64_t trial = 0; trial < 50; trial++) {
        draw(1000 + trial, 0, MOST, values);
        sum += weigh(values, MOST).effective / MOST / 50;
    }
    CU_ASSERT(sum > 0.8 && sum <= 1);
    sum = 0;
    for (uint64_t trial = 0; trial < 50; trial++) {
        draw(2000 + trial, 0.6, MOST, values);
        sum += weigh(values, MOST).effective / MOST / 50;
    }
    CU_ASSERT(fabs(sum - 0.25) < 0.05); /* (1 - rho) / (1 + rho) */
    for (size_t i = 0; i < MOST; i++)
        values[i] = (double)i;
    TEST_OK(attn_effective_count(values, MOST, &lag1, &effective, &attn_test_error));
    CU_ASSERT(lag1 > 0.95 && effective < 10); /* a drift is worth little */
    for (size_t i = 0; i < MOST; i++)
        values[i] = (double)(i % 2);
    TEST_OK(attn_effective_count(values, MOST, &lag1, &effective, &attn_test_error));
    CU_ASSERT(lag1 < -0.9 && effective == MOST); /* never more than there are */
    for (size_t i = 0; i < MOST; i++)
        values[i] = 2;
    TEST_OK(attn_effective_count(values, MOST, &lag1, &effective, &attn_test_error));
    CU_ASSERT(lag1 == 0 && effective == MOST);
    CU_ASSERT_EQUAL(weigh(values, 1).effective, 1);
}

/* Samples of one distribution: p is below 0.05 in at most 5 %, within three standard deviations of the simulation, and
 * the interval of the difference holds 0 in at least 95 %, whatever the autocorrelation. Without looking at it, far
 * more would be called different. */
static void test_same(void)
{
    enum { TRIALS = 1000 };
    static const struct {
        size_t count;
        double rho;
    } rows[] = {{10, 0}, {20, 0}, {60, 0}, {30, 0.3}, {60, 0.3}, {60, 0.6}, {150, 0.6}, {150, 0.8}};
    const double slack = 3 * sqrt(0.05 * 0.95 / TRIALS);
    double naive = 0;

    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        double flagged = 0, missed = 0;

        naive = 0;
        for (uint64_t trial = 0; trial < TRIALS; trial++) {
            double a[MOST], b[MOST];
            attn_values x, y;
            attn_rank_test t;
            attn_difference d;

            draw((r * TRIALS + trial) * 2, rows[r].rho, rows[r].count, a);
            draw((r * TRIALS + trial) * 2 + 1, rows[r].rho, rows[r].count, b);
            x = weigh(a, rows[r].count);
            y = weigh(b, rows[r].count);
            TEST_OK(attn_mann_whitney(&x, &y, &t, &attn_test_error));
            TEST_OK(attn_median_difference(&x, &y, 0.95, &d, &attn_test_error));
            flagged += t.p < 0.05;
            missed += d.lo > 0 || d.hi < 0;
            naive += test_of(a, rows[r].count, b, rows[r].count).p < 0.05;
        }
        if (flagged / TRIALS > 0.05 + slack || missed / TRIALS > 0.05 + slack)
            printf("%zu values, rho %g: %g called different, %g intervals without 0\n", rows[r].count, rows[r].rho,
                   flagged / TRIALS, missed / TRIALS);
        CU_ASSERT(flagged / TRIALS <= 0.05 + slack);
        CU_ASSERT(missed / TRIALS <= 0.05 + slack);
    }
    CU_ASSERT(naive / TRIALS > 0.4);
}

static const attn_test tests[] = {
    {"U: the table of Mann and Whitney", test_table}, {"U: chorioamnion", test_hollander_wolfe},
    {"U: exact and approximate", test_scipy},         {"U: equal values", test_ties},
    {"U: the approximation is near", test_both_ways}, {"Holm's correction", test_holm},
    {"difference of medians", test_medians},          {"effective count", test_effective_count},
    {"samples of one distribution", test_same},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "measure/difference", tests, sizeof tests / sizeof tests[0]);
}
