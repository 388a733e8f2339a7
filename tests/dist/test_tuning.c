/* Probes of the network and of kernels, and plans made on ranks: the same on all of them, and runnable. */
#include "harness.h"

#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/tuning.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool positive(double value)
{
    return isfinite(value) && value > 0;
}

/* Whether all ranks have the same. */
static bool same(double value)
{
    double least = value, most = value;

    TEST_OK(attn_comm_min(MPI_COMM_WORLD, &least, 1, &attn_test_error));
    TEST_OK(attn_comm_max(MPI_COMM_WORLD, &most, 1, &attn_test_error));
    return least == most;
}

static void check_link(const attn_link *link, bool measured)
{
    CU_ASSERT_EQUAL(link->origin, measured ? ATTN_ORIGIN_MEASURED : ATTN_ORIGIN_DEFAULT);
    CU_ASSERT(isfinite(link->alpha) && link->alpha >= 0);
    CU_ASSERT(positive(link->beta));
    CU_ASSERT(positive(link->alpha + 1024 * link->beta));
    CU_ASSERT(link->hidden >= 0 && link->hidden <= 1);
    CU_ASSERT(same(link->alpha) && same(link->beta) && same(link->hidden));
}

static void test_network(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    for (int node_ranks = 0; node_ranks <= ranks; node_ranks += 2) { /* also uneven nodes */
        attn_machine machine = attn_machine_default();
        const int of_node = node_ranks == 0 ? ranks : node_ranks;

        TEST_OK(attn_network_measure(MPI_COMM_WORLD, node_ranks, &machine.node, &machine.network, &attn_test_error));
        check_link(&machine.node, of_node > 1);
        check_link(&machine.network, of_node < ranks);
    }
}

static attn_problem small_problem(attn_dtype dtype)
{
    return attn_problem_init((attn_shape){2, 4, 2, 96, 96, 32, 16}, dtype);
}

static void test_rates(void)
{
    double bandwidth = 0;

    for (int pass = 0; pass < ATTN_PASS_COUNT; pass++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
            attn_problem problem = small_problem((attn_dtype)dtype);
            attn_rate rate = {0};

            problem.shape.seq = pass == ATTN_PASS_DECODE ? 1 : 96;
            TEST_OK(attn_rate_measure(MPI_COMM_WORLD, &problem, (attn_pass)pass,
                                      attn_kernel_best((attn_pass)pass, (attn_dtype)dtype), 2, 0, 2, &rate,
                                      &attn_test_error));
            CU_ASSERT(positive(rate.flops) && same(rate.flops));
            CU_ASSERT_EQUAL(rate.origin, ATTN_ORIGIN_MEASURED);
        }
    TEST_OK(attn_copy_measure(MPI_COMM_WORLD, &bandwidth, &attn_test_error));
    CU_ASSERT(positive(bandwidth) && same(bandwidth));
}

/* Choices as numbers. */
static bool same_plan(const attn_plan *plan)
{
    double exchange = 0, layout = 0;

    for (size_t n = 0; n < attn_exchange_count(); n++)
        exchange += plan->exchange == attn_exchange_at(n) ? (double)n : 0;
    for (size_t n = 0; n < attn_layout_count(); n++)
        layout += plan->layout == attn_layout_at(n) ? (double)n : 0;
    return same(plan->grid.seq) && same(exchange) && same(layout) && same(plan->transfer) &&
           same(plan->hybrid.alltoall);
}

static void test_modes(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    for (int pass = ATTN_PASS_FORWARD; pass <= ATTN_PASS_BACKWARD; pass++)
        for (int mode = 0; mode < ATTN_PLAN_MODE_COUNT; mode++) {
            attn_problem problem = small_problem(ATTN_FLOAT32);
            const attn_plan_options options = {.pass = (attn_pass)pass, .node_ranks = 2};
            attn_tuning report = {.tried = -1};
            attn_plan plan = {.ranks = 0};
            attn_dist *dist = NULL;

            problem.mask.causal = true;
            if (mode == ATTN_PLAN_MODE_RULE && attn_plan_make(&problem, ranks, &options, &plan, NULL) != ATTN_OK)
                continue; /* the rule looks at nothing: its exchange may lack the pass */
            TEST_OK(attn_plan_create(MPI_COMM_WORLD, &problem, &options, (attn_plan_mode)mode, NULL, &plan, &report,
                                     &attn_test_error));
            CU_ASSERT_EQUAL_FATAL(plan.ranks, ranks);
            CU_ASSERT(same_plan(&plan));
            CU_ASSERT(mode == ATTN_PLAN_MODE_RULE || positive(report.predicted));
            if (mode == ATTN_PLAN_MODE_MEASURE && ranks > 1) {
                CU_ASSERT(report.tried >= 1 && report.tried <= ATTN_TUNING_MOST);
                CU_ASSERT(positive(report.measured) && report.model_measured >= report.measured);
                CU_ASSERT(isfinite(report.regret) && report.regret >= 0);
            } else {
                CU_ASSERT_EQUAL(report.tried, 0);
            }
            TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
            attn_dist_destroy(dist);
        }
}

/* With a machine that is given nothing is measured, and what is fixed stays. */
static void test_given_machine(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_machine machine = attn_machine_default();
    const attn_problem problem = small_problem(ATTN_FLOAT32);
    attn_plan_options options = {.grid = {ranks, 1}, .layout = attn_layout_find("striped")};
    attn_plan by_model = {.ranks = 0}, plan = {.ranks = 0};
    attn_tuning report;

    TEST_OK(attn_plan_choose(&problem, ranks, &options, &machine, &by_model, NULL, &attn_test_error));
    TEST_OK(attn_plan_create(MPI_COMM_WORLD, &problem, &options, ATTN_PLAN_MODE_ESTIMATE, &machine, &plan, &report,
                             &attn_test_error));
    CU_ASSERT(ranks == 1 || plan.exchange == by_model.exchange);
    CU_ASSERT_PTR_EQUAL(plan.layout, options.layout);
    TEST_OK(attn_plan_create(MPI_COMM_WORLD, &problem, &options, ATTN_PLAN_MODE_MEASURE, &machine, &plan, &report,
                             &attn_test_error));
    CU_ASSERT_PTR_EQUAL(plan.layout, options.layout);
    options.grid = (attn_grid){ranks + 1, 1};
    CU_ASSERT_EQUAL(
        attn_plan_create(MPI_COMM_WORLD, &problem, &options, ATTN_PLAN_MODE_ESTIMATE, &machine, &plan, NULL, NULL),
        ATTN_UNSUPPORTED);
}

/* What is beyond the memory is not run: with room for one candidate alone it is taken, with none nothing is tried. */
static void test_memory(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    attn_machine machine = attn_machine_default();
    const attn_problem problem = small_problem(ATTN_FLOAT32);
    const attn_plan_options options = {.grid = {ranks, 1}};
    attn_plan_totals totals = {.memory = INFINITY};
    attn_candidate *list;
    attn_tuning report;
    attn_plan plan;
    size_t count;
    double least = INFINITY;

    if (ranks == 1)
        return; /* there is nothing to choose */
    TEST_OK(attn_plan_candidates(&problem, ranks, &options, &machine, &list, &count, &attn_test_error));
    for (size_t n = 0; n < count; n++)
        least = fmin(least, list[n].estimate.memory);
    free(list);
    machine.memory = least;
    TEST_OK(attn_plan_create(MPI_COMM_WORLD, &problem, &options, ATTN_PLAN_MODE_MEASURE, &machine, &plan, &report,
                             &attn_test_error));
    CU_ASSERT(report.tried >= 1);
    TEST_OK(attn_plan_predict_all(&plan, &totals, &attn_test_error));
    CU_ASSERT(totals.memory <= machine.memory);
    machine.memory = 1;
    TEST_OK(attn_plan_create(MPI_COMM_WORLD, &problem, &options, ATTN_PLAN_MODE_MEASURE, &machine, &plan, &report,
                             &attn_test_error));
    CU_ASSERT_EQUAL(report.tried, 0);
    CU_ASSERT_EQUAL(report.measured, 0);
    CU_ASSERT_EQUAL(plan.ranks, ranks);
}

static const attn_test tests[] = {
    {"network", test_network},
    {"rates", test_rates},
    {"by rule, estimate and measuring", test_modes},
    {"a machine that is given", test_given_machine},
    {"memory", test_memory},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/tuning", tests, sizeof tests / sizeof tests[0]);
}
