/* Distributed attention on every kernel, exchange, combine, layout and grid of the ranks at hand, against the
 * definition. */
#include "fixture.h"
#include "harness.h"
#include "pass.h"
#include "plans.h"

#include <attn/comm.h>
#include <attn/dist.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static pass execute(const fixture *f, const attn_plan *plan)
{
    attn_dist *dist;
    pass run;

    TEST_OK(attn_dist_create(MPI_COMM_WORLD, plan, &dist, &attn_test_error));
    run = pass_make(f, dist);
    /* Twice: a second pass must not depend on the first. */
    pass_forward(&run);
    pass_forward(&run);
    return run;
}

static void visit(const attn_plan *plan, void *context)
{
    const fixture *f = context;
    const attn_shape *s = &f->problem.shape;
    const double eps = attn_dtype_epsilon(f->problem.dtype);
    attn_row *rows;
    int64_t count;
    attn_check check;
    pass run = execute(f, plan);

    pass_compare(f, &run);
    /* The library's own check agrees, on every row. */
    TEST_OK(attn_sample_rows(plan, INT64_C(1) << 40, 0, &rows, &count, &attn_test_error));
    TEST_OK(attn_dist_check(run.dist, &run.buffers, rows, count, eps, &check, &attn_test_error));
    CU_ASSERT(check.valid);
    CU_ASSERT_EQUAL(check.rows, s->batch * s->heads * s->seq);
    TEST_CLOSE(check.max_score, f->max_score, 1e-12);
    free(rows);
    pass_finish(&run);
}

static void check_all_plans(const attn_problem *problem)
{
    fixture f = fixture_make(problem);

    test_plans(problem, ATTN_PASS_FORWARD, visit, &f);
    fixture_drop(&f);
}

static void test_shapes(void)
{
    /* Remainders, more ranks than heads, more ranks than rows, one row, fewer K/V heads than ranks. */
    static const int64_t shapes[][7] = {{2, 5, 5, 37, 41, 9, 6},
                                        {1, 1, 1, 2, 3, 4, 4},
                                        {2, 6, 2, 23, 23, 16, 8},
                                        {1, 7, 1, 1, 64, 8, 8},
                                        {3, 4, 4, 4, 4, 5, 7}};

    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        const int64_t *s = shapes[n];
        attn_problem problem = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], ATTN_FLOAT32);

        check_all_plans(&problem);
        problem.mask.causal = true;
        check_all_plans(&problem);
    }
}

static void test_types(void)
{
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem problem = PROBLEM(1, 3, 3, 29, 29, 8, 8, (attn_dtype)dtype);

        problem.mask.causal = true;
        check_all_plans(&problem);
    }
}

static void test_masks_and_scores(void)
{
    static const int64_t kv_len[] = {30, 0, 11}, cu_seqlens[] = {0, 5, 5, 6, 20, 31};
    double slopes[4], sinks[] = {1, -2, 0.5, 30};
    attn_problem window = PROBLEM(1, 4, 2, 31, 40, 8, 8, ATTN_FLOAT32);
    attn_problem padding = PROBLEM(3, 4, 2, 17, 30, 8, 8, ATTN_FLOAT32);
    attn_problem documents = PROBLEM(2, 4, 4, 31, 31, 8, 8, ATTN_FLOAT32);

    attn_alibi_slopes(4, slopes);
    window.mask.window_left = 4;
    window.mask.window_right = 2;
    window.score.alibi_slopes = slopes;
    window.score.softcap = 3;
    check_all_plans(&window);
    padding.mask.kv_len = kv_len;
    padding.score.sinks = sinks;
    check_all_plans(&padding);
    documents.mask.causal = true;
    documents.mask.cu_seqlens = cu_seqlens;
    documents.mask.documents = 5;
    documents.score.alibi_slopes = slopes;
    check_all_plans(&documents);
}

/* Whoever computes a weight, and wherever its key stands, drops it or not alike: the fixture knows of no ranks. */
static void test_dropout(void)
{
    static const int64_t kv_len[] = {30, 11};
    double slopes[6], sinks[] = {1, -2, 0.5, 30, 0, 0};
    attn_problem causal = PROBLEM(2, 6, 2, 45, 45, 8, 8, ATTN_FLOAT32);
    attn_problem scores = PROBLEM(2, 6, 3, 17, 30, 8, 8, ATTN_FLOAT32);
    attn_problem half = PROBLEM(1, 3, 3, 29, 37, 8, 8, ATTN_BFLOAT16);

    attn_alibi_slopes(6, slopes);
    causal.dropout = 0.2;
    causal.mask.causal = true;
    check_all_plans(&causal);
    scores.dropout = 0.5;
    scores.dropout_seed = UINT64_MAX;
    scores.mask.kv_len = kv_len;
    scores.score.alibi_slopes = slopes;
    scores.score.sinks = sinks;
    check_all_plans(&scores);
    half.dropout = 0.1;
    check_all_plans(&half);
}

/* Heads that deal evenly and unevenly to the ranks of an all-to-all, fewer than those, shared ones. */
static void test_dealt_heads(void)
{
    static const int64_t kv_len[] = {40, 0, 11};
    static const int64_t shapes[][7] = {{3, 8, 8, 24, 48, 8, 8}, {3, 2, 1, 5, 40, 4, 7}, {3, 24, 4, 7, 41, 4, 4}};

    for (size_t masked = 0; masked < sizeof shapes / sizeof shapes[0]; masked++) {
        const int64_t *s = shapes[masked];
        attn_problem problem =
            PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], masked == 1 ? ATTN_BFLOAT16 : ATTN_FLOAT32);

        problem.mask.causal = masked == 1;
        problem.mask.window_left = masked == 2 ? 3 : -1;
        problem.mask.kv_len = masked == 2 ? kv_len : NULL;
        check_all_plans(&problem);
    }
}

/* A wrong element, anywhere, makes the check fail on every rank. */
static void test_check_finds_a_wrong_element(void)
{
    attn_problem problem = PROBLEM(2, 3, 3, 13, 13, 8, 5, ATTN_FLOAT32);
    fixture f = fixture_make(&problem);
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_plan_options options = {.threads = 1};
    attn_row *rows;
    int64_t count;
    attn_plan plan;
    attn_check check;
    pass run;

    TEST_OK(attn_plan_make(&problem, ranks, &options, &plan, &attn_test_error));
    run = execute(&f, &plan);
    TEST_OK(attn_sample_rows(&plan, 1000, 0, &rows, &count, &attn_test_error));
    for (int wrong = 0; wrong < ranks; wrong++)
        for (int what = 0; what < 3; what++) {
            const attn_part *part = attn_dist_part(run.dist);
            const bool mine = attn_comm_rank(MPI_COMM_WORLD) == wrong && part->head_count * part->q_rows->rows > 0;
            float *place = what == 1 ? run.buffers.lse : run.buffers.o;
            const float kept = mine ? *place : 0;
            double found = mine;

            if (mine)
                *place = what == 2 ? NAN : kept + 1e-4F * (1 + fabsf(kept));
            TEST_OK(attn_comm_max(MPI_COMM_WORLD, &found, 1, &attn_test_error));
            TEST_OK(attn_dist_check(run.dist, &run.buffers, rows, count, attn_dtype_epsilon(ATTN_FLOAT32), &check,
                                    &attn_test_error));
            CU_ASSERT_EQUAL(check.valid, found == 0);
            if (mine)
                *place = kept;
        }
    free(rows);
    pass_finish(&run);
    fixture_drop(&f);
}

/* Rows of weights sum to 1: with every value 1, every output is 1. */
static void test_weights_sum_to_one(void)
{
    attn_problem problem = PROBLEM(1, 4, 4, 33, 33, 8, 3, ATTN_FLOAT32);
    fixture f;

    problem.mask.causal = true;
    f = fixture_make(&problem);
    for (size_t n = 0; n < 4 * 33 * 3; n++)
        attn_store(ATTN_FLOAT32, f.v, n, 1);
    fixture_solve(&f);
    for (size_t n = 0; n < 4 * 33 * 3; n++)
        TEST_CLOSE(f.o[n], 1, 1e-14);
    test_plans(&problem, ATTN_PASS_FORWARD, visit, &f);
    fixture_drop(&f);
}

/* A permutation of the keys (with their values) leaves full attention unchanged. */
static void test_permuted_keys(void)
{
    enum { ROWS = 24, WIDTH = 8 };
    attn_problem problem = PROBLEM(1, 2, 2, ROWS, ROWS, WIDTH, WIDTH, ATTN_FLOAT32);
    fixture f = fixture_make(&problem);
    float *k = f.k, *v = f.v;

    for (int h = 0; h < 2; h++)
        for (int j = 0; j < ROWS / 2; j++) /* mirror the rows */
            for (int d = 0; d < WIDTH; d++) {
                const int a = (h * ROWS + j) * WIDTH + d, b = (h * ROWS + ROWS - 1 - j) * WIDTH + d;
                const float key = k[a], value = v[a];

                k[a] = k[b];
                k[b] = key;
                v[a] = v[b];
                v[b] = value;
            }
    /* f.o still is the result for the old order. */
    test_plans(&problem, ATTN_PASS_FORWARD, visit, &f);
    fixture_drop(&f);
}

/* Output is linear in v: that of 2 v1 - 3 v2 is 2 o1 - 3 o2. */
static void test_linear_in_values(void)
{
    enum { COUNT = 2 * 19 * 4 };
    attn_problem problem = PROBLEM(1, 2, 2, 19, 19, 8, 4, ATTN_FLOAT64);
    fixture f, g;
    double *v, *w;

    problem.mask.causal = true;
    f = fixture_make(&problem);
    g = fixture_make(&problem);
    v = f.v;
    w = g.v;
    for (int n = 0; n < COUNT; n++)
        w[n] = cos(n);
    fixture_solve(&g);
    for (int n = 0; n < COUNT; n++) {
        v[n] = 2 * v[n] - 3 * w[n];
        f.o[n] = 2 * f.o[n] - 3 * g.o[n]; /* not solved again */
    }
    test_plans(&problem, ATTN_PASS_FORWARD, visit, &f);
    fixture_drop(&f);
    fixture_drop(&g);
}

/* NaN in the keys of one head: its rows are NaN in the exact result too, and that is said. */
static void test_check_counts_nan_rows(void)
{
    attn_problem problem = PROBLEM(1, 3, 3, 13, 13, 8, 5, ATTN_FLOAT32);
    fixture f = fixture_make(&problem);
    const attn_plan_options options = {.threads = 1};
    attn_row *rows;
    int64_t count;
    attn_plan plan;
    attn_check check;
    pass run;

    attn_store(ATTN_FLOAT32, f.k, 13 * 8 + 3, NAN); /* head 1, row 0 */
    TEST_OK(attn_plan_make(&problem, attn_comm_size(MPI_COMM_WORLD), &options, &plan, &attn_test_error));
    run = execute(&f, &plan);
    TEST_OK(attn_sample_rows(&plan, 1000, 0, &rows, &count, &attn_test_error));
    TEST_OK(attn_dist_check(run.dist, &run.buffers, rows, count, attn_dtype_epsilon(ATTN_FLOAT32), &check,
                            &attn_test_error));
    CU_ASSERT(check.valid);
    CU_ASSERT_EQUAL(check.nan_rows, 13);
    CU_ASSERT_EQUAL(check.ranks, check.working_ranks);
    CU_ASSERT(check.working_ranks >= 1 && check.working_ranks <= attn_comm_size(MPI_COMM_WORLD));
    free(rows);
    pass_finish(&run);
    fixture_drop(&f);
}

static const attn_test tests[] = {
    {"shapes with remainders, few heads, few rows", test_shapes},
    {"every type", test_types},
    {"masks and scores", test_masks_and_scores},
    {"dropout", test_dropout},
    {"heads dealt to ranks", test_dealt_heads},
    {"the check finds a wrong element", test_check_finds_a_wrong_element},
    {"the check counts rows of NaN", test_check_counts_nan_rows},
    {"weights sum to 1", test_weights_sum_to_one},
    {"a permutation of the keys changes nothing", test_permuted_keys},
    {"linear in v", test_linear_in_values},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/forward", tests, sizeof tests / sizeof tests[0]);
}
