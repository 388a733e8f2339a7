/* Shapes, scores, ALiBi slopes and FLOP counts. */
#include "harness.h"

#include <attn/problem.h>

#include <math.h>
#include <string.h>

static const attn_problem good = {
    .shape = {2, 6, 3, 7, 11, 8, 5},
    .dtype = ATTN_FLOAT32,
    .mask = ATTN_MASK_FULL,
    .score = {.scale = 0.5},
};

static void expect(const attn_problem *problem, const char *message)
{
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_problem_check(problem, &error), ATTN_ARGUMENT);
    CU_ASSERT_STRING_EQUAL(error.message, message);
}

static void test_shape(void)
{
    attn_problem p = good;

    TEST_OK(attn_problem_check(&p, &attn_test_error));
    CU_ASSERT_EQUAL(attn_shape_group(&p.shape), 2);
    p.shape.kv_heads = 4;
    expect(&p, "heads 6 is not a multiple of kv-heads 4; use a number of kv-heads that divides heads");
    p = good;
    p.shape.seq = 0;
    expect(&p, "seq 0: must be a positive number");
    p = good;
    p.shape.v_head_dim = -3;
    expect(&p, "v-head-dim -3: must be a positive number");
}

static void test_each_extent(void)
{
    const char *const names[] = {"batch", "heads", "kv-heads", "seq", "kv-seq", "head-dim", "v-head-dim"};

    for (size_t i = 0; i < 7; i++) {
        attn_error error = ATTN_ERROR_INIT;
        attn_shape shape = good.shape;
        int64_t *const extents[] = {&shape.batch,  &shape.heads,    &shape.kv_heads,  &shape.seq,
                                    &shape.kv_seq, &shape.head_dim, &shape.v_head_dim};

        *extents[i] = 0;
        CU_ASSERT_EQUAL(attn_shape_check(&shape, &error), ATTN_ARGUMENT);
        CU_ASSERT_EQUAL(strncmp(error.message, names[i], strlen(names[i])), 0);
    }
}

static void test_too_large(void)
{
    const int64_t k = INT64_C(1) << 20;
    attn_problem p = good;

    /* 2^60 elements of 8 bytes are 2^63 bytes; half of that fits. */
    p.shape = (attn_shape){k, 1, 1, k, 1, k, 1};
    expect(&p, "q of 1048576 x 1 x 1048576 x 1048576 elements: too large; its bytes must fit in 63 bits");
    p.shape = (attn_shape){k, 1, 1, 1, k, 1, k};
    expect(&p, "v of 1048576 x 1 x 1048576 x 1048576 elements: too large; its bytes must fit in 63 bits");
    p.shape = (attn_shape){k, 1, 1, 1, k, k, 1};
    expect(&p, "k of 1048576 x 1 x 1048576 x 1048576 elements: too large; its bytes must fit in 63 bits");
    p.shape = (attn_shape){k, 1, 1, k, 1, 1, k};
    expect(&p, "o of 1048576 x 1 x 1048576 x 1048576 elements: too large; its bytes must fit in 63 bits");
    p.shape = (attn_shape){k, 1, 1, k, k, k / 2, k / 2};
    TEST_OK(attn_problem_check(&p, &attn_test_error));
}

static void test_dropout(void)
{
    const int64_t k = INT64_C(1) << 33;
    attn_problem p = good;

    p.dropout = 0.999;
    p.dropout_seed = UINT64_MAX;
    TEST_OK(attn_problem_check(&p, &attn_test_error));
    p.dropout = 1;
    expect(&p, "dropout 1: must be 0 (off) or more, and less than 1");
    p.dropout = -0.1;
    expect(&p, "dropout -0.1: must be 0 (off) or more, and less than 1");
    p.dropout = (double)NAN;
    CU_ASSERT_EQUAL(attn_problem_check(&p, NULL), ATTN_ARGUMENT);
    p.dropout = 0.1;
    p.shape.seq = k;
    expect(&p, "seq 8589934592, kv-seq 11: at most 2^32 rows and 2^35 - 1 keys have dropout");
    p.shape = (attn_shape){k, 1, 1, 7, 4 * k - 1, 1, 1};
    p.shape.batch = 1;
    TEST_OK(attn_problem_check(&p, &attn_test_error));
    p.shape.kv_seq++;
    expect(&p, "seq 7, kv-seq 34359738368: at most 2^32 rows and 2^35 - 1 keys have dropout");
    p.shape = (attn_shape){k, 1, 1, 1, 1, 1, 1};
    expect(&p, "batch 8589934592 of 1 heads: at most 2^32 heads have dropout");
    p.dropout = 0;
    TEST_OK(attn_problem_check(&p, &attn_test_error));
}

static void test_score(void)
{
    const double slopes[] = {1, 1, 1, 1, (double)INFINITY, 1}, sinks[] = {1, (double)NAN, 1, 1, 1, 1};
    attn_problem p = good;

    p.dtype = ATTN_BFLOAT16; /* sums in float32 */
    p.score.scale = (double)INFINITY;
    expect(&p, "scale inf: must be a number up to 1.7e+38 with bfloat16");
    p.score.scale = -1e300;
    expect(&p, "scale -1e+300: must be a number up to 1.7e+38 with bfloat16");
    p.dtype = ATTN_FLOAT64;
    TEST_OK(attn_problem_check(&p, &attn_test_error));
    p = good;
    p.dtype = ATTN_FLOAT32;
    p.score.softcap = -2;
    expect(&p,
           "softcap -2: must be 0 (off) or from 5.9e-39 to 1.7e+38 with float32, and scale / softcap up to 1.7e+38");
    p.score.softcap = 1e-50; /* 0 in float32 */
    CU_ASSERT_EQUAL(attn_problem_check(&p, NULL), ATTN_ARGUMENT);
    p.score.softcap = (double)NAN;
    CU_ASSERT_EQUAL(attn_problem_check(&p, NULL), ATTN_ARGUMENT);
    p.score.softcap = 1e-20;
    p.score.scale = 1e20; /* their quotient passes float32 */
    CU_ASSERT_EQUAL(attn_problem_check(&p, NULL), ATTN_ARGUMENT);
    p.dtype = ATTN_FLOAT64;
    TEST_OK(attn_problem_check(&p, &attn_test_error));
    p = good;
    p.dtype = ATTN_FLOAT32;
    p.score.alibi_slopes = slopes;
    expect(&p, "alibi_slopes[4] = inf: must be a number up to 1.7e+38 with float32");
    p = good;
    p.score.sinks = sinks;
    CU_ASSERT_EQUAL(attn_problem_check(&p, NULL), ATTN_ARGUMENT);
    p = good;
    p.mask.window_left = -9;
    expect(&p, "window-left -9: must be -1 (no limit) or more");
    p = good;
    p.dtype = ATTN_DTYPE_COUNT;
    expect(&p, "dtype 4: must be float64, float32, float16 or bfloat16");
    TEST_CLOSE(attn_scale_default(64), 0.125, 1e-16);
    p = attn_problem_init(good.shape, ATTN_FLOAT16);
    TEST_OK(attn_problem_check(&p, &attn_test_error));
    CU_ASSERT_EQUAL(attn_mask_pairs(&p.mask, &p.shape), p.shape.batch * p.shape.seq * p.shape.kv_seq);
    CU_ASSERT_EQUAL(p.score.scale, attn_scale_default(p.shape.head_dim));
}

/* The authors' code, in its recursive form. */
static void slopes_of_authors(int64_t n, double *slopes)
{
    const double exponent = log2((double)n);

    if (exponent == floor(exponent)) {
        const double start = pow(2, -pow(2, -(exponent - 3)));

        for (int64_t i = 0; i < n; i++)
            slopes[i] = start * pow(start, (double)i);
    } else {
        const int64_t closest = (int64_t)pow(2, floor(exponent));
        double next[256];

        slopes_of_authors(closest, slopes);
        slopes_of_authors(2 * closest, next);
        for (int64_t i = 0; i < n - closest; i++)
            slopes[closest + i] = next[2 * i];
    }
}

static void test_alibi(void)
{
    double got[129], want[129];

    for (int64_t heads = 1; heads <= 128; heads++) {
        got[heads] = -1;
        attn_alibi_slopes(heads, got);
        slopes_of_authors(heads, want);
        for (int64_t h = 0; h < heads; h++)
            TEST_CLOSE(got[h], want[h], 1e-14);
        CU_ASSERT_EQUAL(got[heads], -1);
    }
    attn_alibi_slopes(8, got);
    CU_ASSERT_EQUAL(got[0], 0.5);
    CU_ASSERT_EQUAL(got[7], 0x1p-8);
}

static void test_flops(void)
{
    const int64_t lengths[] = {0, 11};
    attn_problem p = good;

    CU_ASSERT_EQUAL(attn_flops_forward(&p), 2.0 * (8 + 5) * 6 * 2 * 7 * 11);
    p.mask.causal = true; /* row i of 7 sees i + 5 of 11 keys */
    CU_ASSERT_EQUAL(attn_flops_forward(&p), 2.0 * (8 + 5) * 6 * 2 * (21 + 35));
    p.mask.kv_len = lengths;
    CU_ASSERT_EQUAL(attn_flops_forward(&p), 2.0 * (8 + 5) * 6 * (21 + 35));
    p = good;
    p.shape.heads = p.shape.kv_heads = INT64_C(1) << 30;
    p.shape.head_dim = INT64_C(1) << 25;
    p.shape.v_head_dim = 1;
    CU_ASSERT(attn_flops_forward(&p) > 0x1p62);
}

static const attn_test tests[] = {
    {"shapes", test_shape},
    {"each extent is checked", test_each_extent},
    {"arrays beyond 63 bits", test_too_large},
    {"scores", test_score},
    {"dropout", test_dropout},
    {"ALiBi slopes", test_alibi},
    {"FLOP counts", test_flops},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/problem", tests, sizeof tests / sizeof tests[0]);
}
