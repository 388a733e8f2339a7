/* Keys and values in memory that ranks share: what is kept there is not copied, and a group that is not on one node is
 * refused, by the plan or in fact. */
#include "fixture.h"
#include "harness.h"
#include "pass.h"

#include <attn/comm.h>
#include <attn/dist.h>

#include <stdlib.h>
#include <string.h>

/* Where > 0, ranks below it are said to be on one node and the others on a second one. */
static int second_node;

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *out)
{
    if (second_node > 0)
        return PMPI_Comm_split(comm, attn_comm_rank(comm) >= second_node, key, out);
    return PMPI_Comm_split_type(comm, type, key, info, out);
}

/* Whether the last rank is told that there is no window. */
static bool last_fails;

int MPI_Win_allocate_shared(MPI_Aint bytes, int unit, MPI_Info info, MPI_Comm comm, void *memory, MPI_Win *out)
{
    const int code = PMPI_Win_allocate_shared(bytes, unit, info, comm, memory, out);

    return last_fails && attn_comm_rank(comm) + 1 == attn_comm_size(comm) ? MPI_ERR_NO_MEM : code;
}

static attn_plan make_plan(const attn_problem *problem, int head, attn_pass way)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_plan_options options = {
        .grid = {ranks / head, head}, .exchange = attn_exchange_find("shared"), .pass = way};
    attn_plan plan;

    TEST_OK(attn_plan_make(problem, ranks, &options, &plan, &attn_test_error));
    return plan;
}

/* Four passes over keys that change between them, in the exchange's memory and in the caller's in turn: what is in
 * place is not packed, and no rank reads what another has written for the next pass. */
static void test_own_memory(void)
{
    attn_problem problem = PROBLEM(2, 6, 3, 37, 41, 8, 4, ATTN_FLOAT32);
    const attn_plan plan = make_plan(&problem, 1, ATTN_PASS_FORWARD);
    const int64_t k_elements = 2 * 3 * 41 * 8;
    fixture f = fixture_make(&problem);
    double seconds[ATTN_PHASE_COUNT];
    attn_dist *dist;
    size_t k_bytes, v_bytes;
    void *k, *v;
    pass run;

    TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
    attn_dist_own_memory(dist, &k, &v);
    CU_ASSERT_EQUAL(k != NULL && v != NULL, plan.ranks > 1);
    run = pass_make(&f, dist);
    k_bytes = (size_t)(2 * 3 * attn_dist_part(dist)->kv_rows->rows * 8) * sizeof(float);
    v_bytes = k_bytes / 2;
    for (int turn = 0; turn < 4 && plan.ranks > 1; turn++) {
        const bool own = turn % 3 != 2;

        for (int64_t n = 0; n < k_elements; n++)
            ((float *)f.k)[n] *= -1;
        for (size_t n = 0; n < k_bytes / sizeof(float); n++)
            ((float *)run.k)[n] *= -1;
        fixture_solve(&f);
        run.buffers.k = own ? k : run.k;
        run.buffers.v = own ? v : run.v;
        if (own) {
            memcpy(k, run.k, k_bytes);
            memcpy(v, run.v, v_bytes);
        }
        TEST_OK(attn_dist_forward(dist, &run.buffers, seconds, &attn_test_error));
        CU_ASSERT_EQUAL(seconds[ATTN_PHASE_PACK] > 0, !own);
        if (own)
            memset(k, 0xff, k_bytes); /* NaN, as soon as the pass is over here */
        pass_compare(&f, &run);
    }
    pass_finish(&run);
    fixture_drop(&f);
}

/* Nothing is sent; memory is the window. */
static void test_prediction(void)
{
    attn_problem problem = PROBLEM(2, 4, 4, 48, 48, 16, 16, ATTN_FLOAT32);
    const attn_plan plan = make_plan(&problem, 1, ATTN_PASS_FORWARD), back = make_plan(&problem, 1, ATTN_PASS_BACKWARD);
    const int ranks = plan.ranks;
    attn_prediction of;

    if (ranks == 1 || 48 % ranks != 0)
        return;
    TEST_OK(attn_plan_predict(&plan, 0, &of, &attn_test_error));
    CU_ASSERT(of.exchange_bytes == 0 && of.messages == 0);
    CU_ASSERT_EQUAL(of.extra_bytes, 2 * 4 * (48 / ranks) * 32 * 4);
    TEST_OK(attn_plan_predict(&back, 0, &of, &attn_test_error));
    CU_ASSERT(of.exchange_bytes == 0 && of.messages == 0);
    CU_ASSERT_EQUAL(of.extra_bytes, 2 * 4 * 48 * 32 * 4);
}

static void test_nodes(void)
{
    const attn_problem problem = PROBLEM(1, 4, 4, 24, 24, 8, 8, ATTN_FLOAT32);
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    attn_error error = ATTN_ERROR_INIT;
    attn_plan_options options = {.grid = {ranks, 1}, .exchange = attn_exchange_find("shared")};
    attn_dist *dist;
    attn_plan plan;

    if (ranks == 1)
        return;
    /* As the plan has it. */
    options.node_ranks = ranks - 1;
    CU_ASSERT_EQUAL(attn_plan_make(&problem, ranks, &options, &plan, &error), ATTN_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "node"));
    if (ranks % 2 == 0 && ranks > 2) {
        options.node_ranks = 2;
        options.grid = (attn_grid){ranks / 2, 2}; /* neighbours share rows, groups cross the nodes */
        CU_ASSERT_EQUAL(attn_plan_make(&problem, ranks, &options, &plan, NULL), ATTN_UNSUPPORTED);
    }
    options.grid = (attn_grid){1, ranks};
    options.node_ranks = 1;
    TEST_OK(attn_plan_make(&problem, ranks, &options, &plan, &attn_test_error)); /* nothing is exchanged */
    /* In fact. */
    plan = make_plan(&problem, 1, ATTN_PASS_FORWARD);
    second_node = 1;
    CU_ASSERT_EQUAL(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &error), ATTN_UNSUPPORTED);
    second_node = 0;
    CU_ASSERT_PTR_NULL(dist);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "node"));
    TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
    attn_dist_destroy(dist);
}

/* A system that shares too little memory leaves a case out, on all ranks alike, and the next one runs. */
static void test_no_window(void)
{
    attn_problem problem = PROBLEM(1, 2, 2, 16, 16, 4, 4, ATTN_FLOAT32);
    const attn_plan plan = make_plan(&problem, 1, ATTN_PASS_FORWARD);
    attn_error error = ATTN_ERROR_INIT;
    attn_dist *dist;

    if (plan.ranks == 1)
        return; /* nothing is exchanged */
    last_fails = true;
    CU_ASSERT_EQUAL(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &error), ATTN_MEMORY);
    last_fails = false;
    CU_ASSERT_PTR_NULL(dist);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "exchange shared"));
    TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
    attn_dist_destroy(dist);
}

static const attn_test tests[] = {
    {"keys in the exchange's memory are not copied", test_own_memory},
    {"nothing is sent", test_prediction},
    {"a group on two nodes is refused", test_nodes},
    {"no window on one rank", test_no_window},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/shared", tests, sizeof tests / sizeof tests[0]);
}
