/* Least squares with factors that are not negative. */
#include "harness.h"
#include "measure/fit.h"

#include <math.h>

static void test_exact(void)
{
    const double x[][ATTN_FIT_TERMS] = {{1, 0, 0}, {1, 1, 2}, {1, 3, 12}, {1, 7, 56}};
    double y[4], c[3];

    for (size_t i = 0; i < 4; i++)
        y[i] = 2e-3 * x[i][0] + 5e-5 * x[i][1] + 1e-6 * x[i][2];
    CU_ASSERT_TRUE_FATAL(attn_fit(x, y, 4, 3, c));
    TEST_CLOSE(c[0] / 2e-3, 1, 1e-10);
    TEST_CLOSE(c[1] / 5e-5, 1, 1e-10);
    TEST_CLOSE(c[2] / 1e-6, 1, 1e-9);
}

/* By hand: one term 1 and y = 1, 2: the relative errors of c are c - 1 and c / 2 - 1, least at c = 1.5 / 1.25. */
static void test_relative(void)
{
    const double x[][ATTN_FIT_TERMS] = {{1, 0, 0}, {1, 0, 0}}, y[] = {1, 2};
    double c[1];

    CU_ASSERT_TRUE_FATAL(attn_fit(x, y, 2, 1, c));
    TEST_CLOSE(c[0], 1.2, 1e-14);
}

/* The plain solution is y = 3 - x; the best without a negative factor has none of x, and again c = sum (1 / y) / sum
 * (1 / y^2). */
static void test_bound(void)
{
    const double x[][ATTN_FIT_TERMS] = {{1, 0, 0}, {1, 1, 0}, {1, 2, 0}}, y[] = {3, 2, 1};
    double c[2];

    CU_ASSERT_TRUE_FATAL(attn_fit(x, y, 3, 2, c));
    TEST_CLOSE(c[0], (1.0 / 3 + 0.5 + 1) / (1.0 / 9 + 0.25 + 1), 1e-14);
    CU_ASSERT_EQUAL(c[1], 0);
}

static void test_dependent(void)
{
    const double same[][ATTN_FIT_TERMS] = {{1, 2, 0}, {2, 4, 0}, {3, 6, 0}}, y[] = {1, 2, 3};
    double c[3] = {-1, -1, -1};

    CU_ASSERT_FALSE(attn_fit(same, y, 3, 2, c));
    CU_ASSERT_EQUAL(c[0], -1);
    CU_ASSERT_TRUE_FATAL(attn_fit(same, y, 3, 1, c));
    TEST_CLOSE(c[0], 1, 1e-14);
    CU_ASSERT_FALSE(attn_fit(same, y, 1, 2, c)); /* fewer rows than terms */
}

/* A term that is 0 everywhere does not count. */
static void test_zero_term(void)
{
    const double x[][ATTN_FIT_TERMS] = {{1, 0, 1}, {1, 0, 2}}, y[] = {3, 5};
    double c[3];

    CU_ASSERT_TRUE_FATAL(attn_fit(x, y, 2, 3, c));
    TEST_CLOSE(c[0], 1, 1e-12);
    CU_ASSERT_EQUAL(c[1], 0);
    TEST_CLOSE(c[2], 2, 1e-12);
}

static const attn_test tests[] = {
    {"known factors", test_exact},
    {"relative errors", test_relative},
    {"a factor at its bound", test_bound},
    {"terms that cannot be told apart", test_dependent},
    {"a term that is not there", test_zero_term},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "measure/fit", tests, sizeof tests / sizeof tests[0]);
}
