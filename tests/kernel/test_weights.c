/* Attention weights: their sums, zeros where masked, and o as their product with v. */
#include "fixture.h"
#include "harness.h"

#include <attn/kernel.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The exact lse in the accumulator type, as a forward pass leaves it. */
static void *stored_lse(const fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = attn_dtype_accumulator(f->problem.dtype);
    const int64_t rows = fixture_elements(s, s->heads, s->seq, 1);
    void *lse = malloc((size_t)rows * attn_dtype_size(dtype));

    attn_convert(dtype, lse, ATTN_FLOAT64, f->lse, (size_t)rows);
    return lse;
}

static double *weights_of(const fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    void *stored = stored_lse(f);
    const attn_array q = attn_array_dense(f->q, s->heads, s->seq, s->head_dim);
    const attn_array k = attn_array_dense(f->k, s->kv_heads, s->kv_seq, s->head_dim);
    const attn_array lse = attn_array_dense(stored, s->heads, s->seq, 1);
    double *p = malloc((size_t)fixture_elements(s, s->heads, s->seq, s->kv_seq) * sizeof *p);

    TEST_OK(attn_weights(&f->problem, &q, &k, &lse, p, &attn_test_error));
    free(stored);
    return p;
}

/* Row by row: zeros outside of the interval, the sum, and p v = o. */
static void check_rows(const fixture *f, const double *p)
{
    const attn_problem *problem = &f->problem;
    const attn_shape *s = &problem->shape;

    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < s->heads; h++)
            for (int64_t i = 0; i < s->seq; i++) {
                const int64_t row = (b * s->heads + h) * s->seq + i;
                const int64_t keys = (b * s->kv_heads + h / attn_shape_group(s)) * s->kv_seq;
                const attn_interval seen = attn_mask_row(&problem->mask, s, b, i);
                const double sink = problem->score.sinks == NULL ? 0 : exp(problem->score.sinks[h] - f->lse[row]);
                const double *weights = p + row * s->kv_seq;
                double sum = 0;

                for (int64_t j = 0; j < s->kv_seq; j++) {
                    CU_ASSERT((weights[j] > 0) == (seen.lo <= j && j < seen.hi));
                    sum += weights[j];
                }
                TEST_CLOSE(sum, seen.lo == seen.hi ? 0 : 1 - sink, fixture_tolerance(f));
                for (int64_t d = 0; d < s->v_head_dim; d++) {
                    double o = 0;

                    for (int64_t j = 0; j < s->kv_seq; j++)
                        o += weights[j] * attn_load(problem->dtype, f->v, (size_t)((keys + j) * s->v_head_dim + d));
                    TEST_CLOSE(o, f->o[row * s->v_head_dim + d], fixture_tolerance(f));
                }
            }
}

static void check(const attn_problem *problem)
{
    fixture f = fixture_make(problem);
    double *p = weights_of(&f);

    check_rows(&f, p);
    free(p);
    fixture_drop(&f);
}

static void test_settings(void)
{
    static const int64_t kv_len[] = {31, 0};
    double slopes[4], sinks[] = {0.5, -3, 2, 0};

    attn_alibi_slopes(4, slopes);
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem p = PROBLEM(2, 4, 2, 20, 37, 12, 5, (attn_dtype)dtype);

        check(&p);
        p.mask.causal = true;
        p.mask.window_left = 9;
        check(&p);
        p.mask.kv_len = kv_len;
        p.score.softcap = 3;
        p.score.alibi_slopes = slopes;
        check(&p);
        p.score.sinks = sinks;
        check(&p);
    }
}

/* The bound on the size is told, with the size. */
static void test_bound(void)
{
    const attn_problem p = PROBLEM(1, 2, 1, 4096, 2049, 8, 8, ATTN_FLOAT32);
    const attn_array none = {.data = NULL};
    attn_error error;

    CU_ASSERT_EQUAL(attn_weights(&p, &none, &none, &none, NULL, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "1 x 2 x 4096 x 2049"));
}

static const attn_test tests[] = {
    {"sums, zeros and p v", test_settings},
    {"the bound on the size", test_bound},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "kernel/weights", tests, sizeof tests / sizeof tests[0]);
}
