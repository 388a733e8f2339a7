/* What one rank sends to another row by row: exactly what the rows there see. */
#include "fixture.h"
#include "harness.h"
#include "pass.h"

#include <attn/comm.h>
#include <attn/dist.h>

#include <math.h>

static attn_plan make_plan(const attn_problem *problem, const char *layout, attn_pass way)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_plan_options options = {
        .grid = {ranks, 1}, .exchange = attn_exchange_find("halo"), .layout = attn_layout_find(layout), .pass = way};
    attn_plan plan;

    TEST_OK(attn_plan_make(problem, ranks, &options, &plan, &attn_test_error));
    return plan;
}

/* The volume that the design states: the last window_left keys of a rank go to the next, and nothing else; the backward
 * pass returns as many rows of gradients. */
static void test_causal_window(void)
{
    static const int64_t windows[] = {0, 1, 5, 12};
    const int ranks = attn_comm_size(MPI_COMM_WORLD), rank = attn_comm_rank(MPI_COMM_WORLD);

    for (size_t n = 0; n < sizeof windows / sizeof windows[0] && ranks > 1; n++) {
        attn_problem problem = PROBLEM(2, 6, 3, 12 * ranks, 12 * ranks, 8, 8, ATTN_BFLOAT16);
        const double row = 2.0 * 2 * 3 * 8; /* elements of a row of K and V: twice B hkv D */
        const double sent = rank < ranks - 1 ? (double)windows[n] : 0, got = rank > 0 ? (double)windows[n] : 0;
        attn_prediction forward, backward;
        attn_plan plan;

        problem.mask.causal = true;
        problem.mask.window_left = windows[n];
        plan = make_plan(&problem, "contiguous", ATTN_PASS_FORWARD);
        TEST_OK(attn_plan_predict(&plan, rank, &forward, &attn_test_error));
        CU_ASSERT_EQUAL(forward.exchange_bytes, sent * row * 2);
        CU_ASSERT_EQUAL(forward.messages, sent > 0 ? 2 : 0);
        plan = make_plan(&problem, "contiguous", ATTN_PASS_BACKWARD);
        TEST_OK(attn_plan_predict(&plan, rank, &backward, &attn_test_error));
        CU_ASSERT_EQUAL(backward.exchange_bytes, sent * row * 2 + got * row * 4);
    }
}

/* Rows that a rank does not see are not read: they are NaN with their owner, where its own rows do not see them
 * either. */
static void test_unseen_rows(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    for (size_t l = 0; l < attn_layout_count(); l++) {
        attn_problem problem = PROBLEM(1, 2, 2, 4, 4 + 8 * ranks, 4, 4, ATTN_FLOAT32);
        attn_plan plan;
        attn_dist *dist;
        fixture f;
        pass run;

        problem.mask.window_left = 3;
        problem.mask.window_right = 1;
        f = fixture_make(&problem);
        for (int64_t h = 0; h < 2; h++)
            for (int64_t j = 0; j < 8 * ranks - 3; j++) /* before the first row's window */
                for (int64_t d = 0; d < 4; d++) {
                    const size_t at = (size_t)((h * problem.shape.kv_seq + j) * 4 + d);

                    attn_store(ATTN_FLOAT32, f.k, at, NAN);
                    attn_store(ATTN_FLOAT32, f.v, at, NAN);
                }
        plan = make_plan(&problem, attn_layout_name(attn_layout_at(l)), ATTN_PASS_FORWARD);
        TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
        run = pass_make(&f, dist);
        pass_forward(&run);
        pass_compare(&f, &run);
        pass_finish(&run);
        fixture_drop(&f);
    }
}

static const attn_test tests[] = {
    {"a causal window sends its rows to one neighbour", test_causal_window},
    {"rows that nobody sees are not read", test_unseen_rows},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/halo", tests, sizeof tests / sizeof tests[0]);
}
