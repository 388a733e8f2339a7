/* Rotary embedding against the formula in higher precision; turning back; scores depend on distances alone. */
#include "harness.h"

#include "layer/rotary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, HEADS = 3, D = 12, GAP = 5, LINE = HEADS * D + GAP }; /* lines of all heads, and something between */

static const attn_rotary_style styles[] = {ATTN_ROTARY_HALF, ATTN_ROTARY_INTERLEAVED};

static attn_segments *rows_of(int64_t first)
{
    const int64_t begins[] = {first, first + 40, first + 1000}, lengths[] = {4, 1, 6};
    attn_segments *rows = NULL;

    TEST_OK(attn_segments_create(3, begins, lengths, &rows, &attn_test_error));
    return rows;
}

static attn_array lines(void *data, int64_t rows)
{
    return (attn_array){data, rows * LINE, D, LINE};
}

static void *drawn(attn_dtype dtype, int64_t count)
{
    void *x = malloc((size_t)count * attn_dtype_size(dtype));

    for (int64_t n = 0; n < count; n++)
        attn_store(dtype, x, (size_t)n, sin((double)(n * n % 1009)));
    return x;
}

static int64_t partner(const attn_rotary *rotary, int64_t d, int64_t *pair, bool *second)
{
    const int64_t half = rotary->dim / 2;

    *second = rotary->style == ATTN_ROTARY_HALF ? d >= half : d % 2 == 1;
    *pair = rotary->style == ATTN_ROTARY_HALF ? d % half : d / 2;
    return rotary->style == ATTN_ROTARY_HALF ? (d + half) % rotary->dim : d + 1 - 2 * (d % 2);
}

/* Element d of a line of which x are the elements before, at a position. */
static double expected(const attn_rotary *rotary, attn_dtype dtype, const void *x, size_t line, int64_t d,
                       int64_t position, double *magnitude)
{
    const long double own = attn_load(dtype, x, line + (size_t)d);
    long double other, angle, sine;
    int64_t pair, with;
    bool second;

    *magnitude = 0;
    if (d >= rotary->dim)
        return (double)own;
    with = partner(rotary, d, &pair, &second);
    other = attn_load(dtype, x, line + (size_t)with);
    angle = (long double)position * powl(rotary->theta, -2 * (long double)pair / (long double)rotary->dim);
    sine = sinl(angle);
    *magnitude = (double)(fabsl(own) + fabsl(other));
    return (double)(own * cosl(angle) + (second ? other * sine : -other * sine));
}

static void check(const attn_rotary *rotary, attn_dtype dtype, int64_t first, int64_t shift, int threads)
{
    const double eps = attn_dtype_epsilon(attn_dtype_accumulator(dtype));
    const double last = dtype == attn_dtype_accumulator(dtype) ? 0 : attn_dtype_epsilon(dtype);
    attn_segments *rows = rows_of(first);
    const int64_t count = BATCH * rows->rows * LINE;
    void *before = drawn(dtype, count), *x = drawn(dtype, count);
    const attn_array array = lines(x, rows->rows);
    attn_rotary_table *table = NULL;

    TEST_OK(attn_rotary_create(rotary, rows, shift, dtype, &table, &attn_test_error));
    attn_rotary_turn(table, false, BATCH, HEADS, &array, threads);
    for (int64_t n = 0; n < count; n++) {
        const int64_t place = n % LINE, row = n / LINE % rows->rows;
        const int64_t position = attn_segments_global(rows, row) + shift;
        const double got = attn_load(dtype, x, (size_t)n);
        double magnitude = 0, want = attn_load(dtype, before, (size_t)n);

        if (place < HEADS * D)
            want = expected(rotary, dtype, before, (size_t)(n - place % D), place % D, position, &magnitude);
        /* Rounded: cosine, product, sum; the angle, whose error grows with it; and the result. */
        CU_ASSERT(fabs(got - want) <= magnitude * (2 * eps + 4 * fabs((double)position) * 0x1p-53) + last * fabs(want));
        CU_ASSERT(magnitude > 0 || got == want);
    }
    attn_rotary_turn(table, true, BATCH, HEADS, &array, threads);
    for (int64_t n = 0; n < count; n++)
        TEST_CLOSE(attn_load(dtype, x, (size_t)n), attn_load(dtype, before, (size_t)n), 4 * eps + 2 * last);
    attn_rotary_destroy(table);
    attn_segments_destroy(rows);
    free(before);
    free(x);
}

static void test_formula(void)
{
    for (int style = 0; style < 2; style++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
            check(&(attn_rotary){styles[style], 10000, D}, (attn_dtype)dtype, 0, 0, 1);
            check(&(attn_rotary){styles[style], 10000, 2}, (attn_dtype)dtype, 0, 7, 2);
            check(&(attn_rotary){styles[style], 500000, 8}, (attn_dtype)dtype, 131072, 0, 3);
            check(&(attn_rotary){styles[style], 0.5, 6}, (attn_dtype)dtype, 3, -9, 2);
        }
}

/* q_i . k_j for equal distances, far apart. */
static void test_distances(void)
{
    static const int64_t starts[] = {0, 1, 77, 4000};

    for (int style = 0; style < 2; style++) {
        const attn_rotary rotary = {styles[style], 10000, D};
        double first = 0;

        for (int n = 0; n < 4; n++) {
            const int64_t begins[] = {starts[n], starts[n] + 13}, ones[] = {1, 1};
            double *x = drawn(ATTN_FLOAT64, 2 * D), score = 0;
            const attn_array array = attn_array_dense(x, 1, 2, D);
            attn_segments *rows = NULL;
            attn_rotary_table *table = NULL;

            TEST_OK(attn_segments_create(2, begins, ones, &rows, &attn_test_error));
            TEST_OK(attn_rotary_create(&rotary, rows, 0, ATTN_FLOAT64, &table, &attn_test_error));
            attn_rotary_turn(table, false, 1, 1, &array, 2);
            for (int d = 0; d < D; d++)
                score += x[d] * x[D + d];
            if (n == 0)
                first = score;
            TEST_CLOSE(score, first, 1e-11);
            attn_rotary_destroy(table);
            attn_segments_destroy(rows);
            free(x);
        }
    }
}

/* Rows of no rank. */
static void test_empty(void)
{
    attn_segments *rows = NULL;
    attn_rotary_table *table = NULL;
    const attn_array none = {.data = NULL};

    TEST_OK(attn_segments_create(0, NULL, NULL, &rows, &attn_test_error));
    TEST_OK(attn_rotary_create(&(attn_rotary){ATTN_ROTARY_HALF, 10000, 4}, rows, 0, ATTN_BFLOAT16, &table,
                               &attn_test_error));
    attn_rotary_turn(table, false, 2, 2, &none, 2);
    attn_rotary_destroy(table);
    attn_rotary_destroy(NULL);
    attn_segments_destroy(rows);
}

static const attn_test tests[] = {
    {"the formula, and back", test_formula},
    {"scores by distance", test_distances},
    {"no rows", test_empty},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "layer/rotary", tests, sizeof tests / sizeof tests[0]);
}
