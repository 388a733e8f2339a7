/* The cost model on machines that are made up, the choice of a plan, and plans in files. */
#include "fixture.h"
#include "harness.h"

#include "plan/exchange.h"

#include <attn/planner.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static attn_problem problem_of(int64_t heads, int64_t kv_heads, int64_t seq)
{
    return (attn_problem)PROBLEM(2, heads, kv_heads, seq, seq, 16, 8, ATTN_FLOAT32);
}

static attn_machine machine_of(double alpha, double beta, double hidden)
{
    attn_machine machine = attn_machine_default();

    machine.node = machine.network = (attn_link){alpha, beta, hidden, ATTN_ORIGIN_GIVEN};
    return machine;
}

static attn_plan plan_of(const attn_problem *problem, int ranks, const attn_plan_options *options)
{
    attn_plan plan = {.ranks = 0};

    TEST_OK(attn_plan_make(problem, ranks, options, &plan, &attn_test_error));
    return plan;
}

static attn_estimate estimate_of(const attn_plan *plan, const attn_machine *machine)
{
    attn_estimate made = {.seconds = NAN};

    TEST_OK(attn_plan_estimate(plan, machine, &made, &attn_test_error));
    TEST_CLOSE(made.seconds, made.compute + made.copy + made.exchange - made.hidden + made.combine, 1e-14);
    return made;
}

/* Compute and exchange of even parts, from the definitions. */
static void test_terms(void)
{
    const attn_problem problem = problem_of(8, 4, 64);
    const attn_plan_options options = {.grid = {4, 2}, .exchange = attn_exchange_find("allgather"), .threads = 3};
    const attn_plan plan = plan_of(&problem, 8, &options);
    attn_machine machine = machine_of(1e-5, 1e-8, 1);
    attn_estimate made = estimate_of(&plan, &machine);
    const double pairs = 2.0 * 4 * 16 * 64, flops = 2 * (16 + 8) * pairs, x_k = 2 * 16 * 4 * 16, x_v = x_k / 2;

    TEST_CLOSE(made.compute, flops / (3 * machine.rate[ATTN_PASS_FORWARD][ATTN_FLOAT32].flops), 1e-14);
    TEST_CLOSE(made.exchange, 6 * 1e-5 + 2 * 3 * (x_k + x_v) * 1e-8, 1e-14);
    TEST_CLOSE(made.combine, 1e-5 + 4 * x_v * 1e-8, 1e-14);
    CU_ASSERT(made.hidden >= 0 && made.hidden <= made.exchange);

    machine.cores = 4; /* 8 ranks of 3 threads share them */
    made = estimate_of(&plan, &machine);
    TEST_CLOSE(made.compute, flops / (0.5 * machine.rate[ATTN_PASS_FORWARD][ATTN_FLOAT32].flops), 1e-14);
}

/* What is not known is the default; what no machine can have is refused. */
static void test_machine(void)
{
    const attn_problem problem = problem_of(8, 4, 64);
    const attn_plan_options options = {.grid = {4, 2}, .exchange = attn_exchange_find("ring")};
    const attn_plan plan = plan_of(&problem, 8, &options);
    const attn_machine usual = attn_machine_default();
    attn_machine machine = usual, wrong[] = {usual, usual, usual, usual};
    static const char *const names[] = {"rate", "copy_bandwidth", "node beta", "network hidden"};

    machine.rate[ATTN_PASS_FORWARD][ATTN_FLOAT32].flops = machine.copy_bandwidth = 0;
    CU_ASSERT_EQUAL(estimate_of(&plan, &machine).seconds, estimate_of(&plan, &usual).seconds);
    wrong[0].rate[ATTN_PASS_FORWARD][ATTN_FLOAT32].flops = -1;
    wrong[1].copy_bandwidth = NAN;
    wrong[2].node.beta = INFINITY;
    wrong[3].network.hidden = 1.5;
    for (int n = 0; n < 4; n++) {
        attn_error error = ATTN_ERROR_INIT;
        attn_estimate made;

        CU_ASSERT_EQUAL(attn_plan_estimate(&plan, &wrong[n], &made, &error), ATTN_ARGUMENT);
        CU_ASSERT_PTR_NOT_NULL(strstr(error.message, names[n]));
    }
}

/* Ranks that have most decide: a causal mask on a contiguous layout leaves the last rank 2 - 1/p times the mean. */
static void test_imbalance(void)
{
    const attn_machine machine = machine_of(0, 0, 0);
    attn_problem problem = problem_of(1, 1, 4096);
    attn_plan_options options = {.grid = {8, 1}};
    attn_plan plan;
    double mean;

    problem.mask.causal = true;
    plan = plan_of(&problem, 8, &options);
    mean = estimate_of(&plan, &machine).compute;
    plan.layout = attn_layout_find("contiguous");
    TEST_CLOSE(estimate_of(&plan, &machine).compute / mean, 15.0 / 8, 1e-3);
}

/* Slower links and more bytes never cost less; what is hidden never costs more. For each exchange that runs. */
static void test_monotonic(void)
{
    for (size_t n = 0; n < attn_exchange_count(); n++) {
        attn_problem problem = problem_of(8, 8, 96);
        const attn_plan_options options = {.grid = {4, 1}, .exchange = attn_exchange_at(n)};
        attn_plan plan;
        double before = 0;

        if (attn_plan_make(&problem, 4, &options, &plan, NULL) != ATTN_OK)
            continue;
        for (int digits = 12; digits > 3; digits--) {
            const attn_machine machine = machine_of(1e-6, pow(10, -digits), 0.5);
            const attn_estimate made = estimate_of(&plan, &machine);

            CU_ASSERT(made.seconds >= before);
            CU_ASSERT(made.hidden <= made.compute);
            before = made.seconds;
        }
        before = INFINITY;
        for (int quarter = 0; quarter <= 4; quarter++) {
            const attn_machine machine = machine_of(1e-6, 1e-8, 0.25 * quarter);
            const double seconds = estimate_of(&plan, &machine).seconds;

            CU_ASSERT(seconds <= before);
            before = seconds;
        }
        before = 0;
        for (int64_t width = 16; width <= 256; width *= 2) {
            const attn_machine machine = machine_of(1e-6, 1e-8, 0);

            plan.problem.shape.v_head_dim = width;
            CU_ASSERT(estimate_of(&plan, &machine).exchange >= before);
            before = estimate_of(&plan, &machine).exchange;
        }
    }
}

/* Traffic to a neighbour waits for the slowest link, spread traffic shares them. */
static void test_nodes(void)
{
    const attn_problem problem = problem_of(8, 8, 64);
    attn_plan_options options = {.grid = {4, 1}, .exchange = attn_exchange_find("allgather"), .node_ranks = 2};
    attn_plan plan = plan_of(&problem, 4, &options);

    TEST_CLOSE(attn_far_spread(&plan, NULL), 2.0 / 3, 1e-14);
    CU_ASSERT_EQUAL(attn_far_neighbour(&plan, NULL), 1);
    options.grid = (attn_grid){2, 2}; /* ranks 0 and 2, 1 and 3 */
    plan = plan_of(&problem, 4, &options);
    CU_ASSERT_EQUAL(attn_far_spread(&plan, NULL), 1);
    plan.node_ranks = 4;
    CU_ASSERT_EQUAL(attn_far_spread(&plan, NULL), 0);
    CU_ASSERT_EQUAL(attn_far_neighbour(&plan, NULL), 0);
}

static attn_plan named(const attn_problem *problem, int ranks, const char *exchange, attn_hybrid hybrid)
{
    const attn_plan_options options = {
        .grid = {ranks, 1}, .exchange = attn_exchange_find(exchange), .hybrid = hybrid, .node_ranks = 8};

    return plan_of(problem, ranks, &options);
}

/* 4 nodes of 8 ranks, on a network that is slow and hides nothing. */
static void test_shares(void)
{
    const attn_hybrid inside = {8, 4, false}, across = {8, 4, true}, none = {0, 0, false};
    attn_problem problem = problem_of(32, 32, 512);
    attn_machine machine = machine_of(0, 1e-9, 0);
    const attn_plan ring = named(&problem, 32, "ring", none), nodes = named(&problem, 32, "hierarchical", none);
    double near, all_far, far;
    attn_plan plan;

    TEST_CLOSE(attn_far_nodes(&nodes, NULL), 3.0 / 31, 1e-14);
    near = estimate_of(&nodes, &machine).exchange;
    machine.network.beta = 1e-7;
    far = estimate_of(&nodes, &machine).exchange;
    TEST_CLOSE(far / near, 1 + 99 * 3.0 / 31, 1e-12);
    CU_ASSERT(far < estimate_of(&ring, &machine).exchange);
    /* An all-to-all within the nodes sends nothing out of them but by its ring, and the other way round. */
    plan = named(&problem, 32, "hybrid", inside);
    CU_ASSERT_EQUAL(attn_far_alltoall(&plan, NULL), 0);
    CU_ASSERT_EQUAL(attn_far_ring(&plan, NULL), 1);
    far = estimate_of(&plan, &machine).exchange;
    plan = named(&problem, 32, "hybrid", across);
    TEST_CLOSE(attn_far_alltoall(&plan, NULL), 6.0 / 7, 1e-14);
    CU_ASSERT_EQUAL(attn_far_ring(&plan, NULL), 0);
    CU_ASSERT(estimate_of(&plan, &machine).exchange != far);
    /* A window on rows that follow each other is sent to the next rank alone, otherwise to all. */
    plan = named(&problem, 32, "halo", none);
    plan.layout = attn_layout_find("contiguous");
    near = estimate_of(&plan, &(attn_machine){.node = {.beta = 1e-9}, .network = {.beta = 1e-9}}).exchange;
    all_far = estimate_of(&plan, &machine).exchange / near;
    TEST_CLOSE(all_far, 1 + 99 * 24.0 / 31, 1e-12);
    plan.problem.mask = (attn_mask){.causal = true, .window_left = 8, .window_right = -1};
    near = estimate_of(&plan, &(attn_machine){.node = {.beta = 1e-9}, .network = {.beta = 1e-9}}).exchange;
    TEST_CLOSE(estimate_of(&plan, &machine).exchange / near, 100, 1e-12);
}

/* Of one dimension a hybrid is that exchange, with each transfer and in each pass. */
static void test_dimensions(void)
{
    static const attn_transfer transfers[] = {ATTN_TRANSFER_BLOCKING, ATTN_TRANSFER_NONBLOCKING};
    const attn_problem problem = problem_of(16, 16, 512);
    const attn_machine machine = machine_of(1e-6, 1e-9, 0.9);

    for (int t = 0; t < 2; t++)
        for (int pass = ATTN_PASS_FORWARD; pass <= ATTN_PASS_BACKWARD; pass++)
            for (int way = 0; way < 2; way++) {
                attn_plan_options options = {.grid = {16, 1},
                                             .exchange = attn_exchange_find("hybrid"),
                                             .hybrid =
                                                 way == 0 ? (attn_hybrid){16, 1, false} : (attn_hybrid){1, 16, false},
                                             .transfer = transfers[t],
                                             .pass = (attn_pass)pass,
                                             .node_ranks = 8};
                const attn_plan both = plan_of(&problem, 16, &options);
                attn_plan one;
                attn_estimate a, b;

                options.exchange = attn_exchange_find(way == 0 ? "alltoall" : "ring");
                options.hybrid = (attn_hybrid){0, 0, false};
                one = plan_of(&problem, 16, &options);
                a = estimate_of(&both, &machine);
                b = estimate_of(&one, &machine);
                TEST_CLOSE(a.exchange / b.exchange, 1, 1e-12);
                TEST_CLOSE(a.seconds / b.seconds, 1, 1e-12);
                CU_ASSERT_EQUAL(a.hidden > 0, way == 1 && t == 1);
            }
}

static attn_plan chosen(const attn_problem *problem, int ranks, const attn_plan_options *options,
                        const attn_machine *machine)
{
    attn_plan plan = {.ranks = 0};
    attn_estimate estimate = {.seconds = NAN};

    TEST_OK(attn_plan_choose(problem, ranks, options, machine, &plan, &estimate, &attn_test_error));
    TEST_CLOSE(estimate.seconds, estimate_of(&plan, machine).seconds, 1e-14);
    return plan;
}

/* The least time over every grid, exchange and layout that attn_plan_make accepts. */
static double brute_force(const attn_problem *problem, int ranks, const attn_plan_options *fixed,
                          const attn_machine *machine)
{
    double best = INFINITY;

    for (int head = 1; head <= ranks; head++)
        for (size_t e = 0; e < attn_exchange_count(); e++)
            for (size_t l = 0; l < attn_layout_count(); l++)
                for (int t = 0; t < ATTN_TRANSFER_COUNT; t++)
                    for (int pu = 0; pu <= ranks; pu++)
                        for (int inside = 0; inside < 2; inside++) {
                            attn_plan_options options = *fixed;
                            attn_plan plan;

                            if (ranks % head != 0 || (pu > 0 && (ranks / head) % pu != 0) ||
                                (pu > 0 && !attn_exchange_at(e)->hybrid) || (pu == 0 && inside == 1))
                                continue;
                            options.grid = (attn_grid){ranks / head, head};
                            options.exchange = attn_exchange_at(e);
                            if (options.layout == NULL)
                                options.layout = attn_layout_at(l);
                            options.transfer = (attn_transfer)t;
                            if (pu > 0)
                                options.hybrid = (attn_hybrid){pu, ranks / head / pu, inside == 1};
                            if (attn_plan_make(problem, ranks, &options, &plan, NULL) == ATTN_OK)
                                best = fmin(best, estimate_of(&plan, machine).seconds);
                        }
    return best;
}

static void test_brute_force(void)
{
    static const double betas[] = {1e-12, 1e-9, 1e-7};
    static const int ranks[] = {1, 2, 5, 6, 8};

    for (size_t r = 0; r < sizeof ranks / sizeof ranks[0]; r++)
        for (size_t b = 0; b < sizeof betas / sizeof betas[0]; b++)
            for (int causal = 0; causal < 2; causal++) {
                const attn_machine machine = machine_of(1e-6, betas[b], 0.7);
                const attn_plan_options options = {.layout = causal == 0 ? attn_layout_find("striped") : NULL,
                                                   .node_ranks = 3};
                attn_problem problem = problem_of(6, 2, 67);
                attn_plan plan;
                double got, best;

                problem.mask.causal = causal == 1;
                plan = chosen(&problem, ranks[r], &options, &machine);
                got = estimate_of(&plan, &machine).seconds;
                best = brute_force(&problem, ranks[r], &options, &machine);
                CU_ASSERT(got <= (1 + ATTN_PLAN_MARGIN) * best * (1 + 1e-12));
                CU_ASSERT(got >= best * (1 - 1e-12));
            }
}

/* Each candidate is unlike all others, they rise, and the choice is the first. */
static void test_candidates(void)
{
    const attn_machine machine = machine_of(1e-6, 1e-9, 0.7);
    const attn_problem problem = problem_of(8, 4, 64);
    const attn_plan_options options = {.node_ranks = 2};
    attn_candidate *list;
    size_t count;

    TEST_OK(attn_plan_candidates(&problem, 8, &options, &machine, &list, &count, &attn_test_error));
    CU_ASSERT(count > attn_layout_count());
    for (size_t a = 0; a < count; a++) {
        CU_ASSERT(a < 2 || list[a].estimate.seconds >= list[a - 1].estimate.seconds);
        for (size_t b = 0; b < a; b++)
            CU_ASSERT(list[a].plan.grid.seq != list[b].plan.grid.seq || list[a].plan.layout != list[b].plan.layout ||
                      list[a].plan.exchange != list[b].plan.exchange ||
                      list[a].plan.transfer != list[b].plan.transfer ||
                      list[a].plan.hybrid.alltoall != list[b].plan.hybrid.alltoall ||
                      list[a].plan.hybrid.ring_inside != list[b].plan.hybrid.ring_inside);
    }
    free(list);
}

static void test_fixed_choices(void)
{
    const attn_machine machine = machine_of(1e-5, 1e-7, 1);
    attn_problem problem = problem_of(8, 8, 64);
    attn_plan_options options = {.grid = {4, 2}};
    attn_plan plan = chosen(&problem, 8, &options, &machine);

    CU_ASSERT_EQUAL(plan.grid.seq, 4);
    for (size_t n = 0; n < attn_layout_count(); n++) {
        options = (attn_plan_options){.layout = attn_layout_at(n), .grid = {2, 2}};
        CU_ASSERT_PTR_EQUAL(chosen(&problem, 4, &options, &machine).layout, attn_layout_at(n));
    }
    options =
        (attn_plan_options){.exchange = attn_exchange_find("ring"), .combine = attn_combine_find("none"), .threads = 5};
    plan = chosen(&problem, 4, &options, &machine);
    CU_ASSERT_PTR_EQUAL(plan.exchange, options.exchange);
    CU_ASSERT_PTR_EQUAL(plan.combine, options.combine);
    CU_ASSERT_EQUAL(plan.grid.seq, 4); /* a named exchange brings its grid */
    CU_ASSERT_EQUAL(plan.threads, 5);
    options = (attn_plan_options){.grid = {3, 1}};
    CU_ASSERT_EQUAL(attn_plan_choose(&problem, 4, &options, &machine, &plan, NULL, &attn_test_error), ATTN_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(attn_test_error.message, "3x1"));
    problem.shape.kv_heads = 3;
    CU_ASSERT_EQUAL(attn_plan_choose(&problem, 4, &(attn_plan_options){.threads = 1}, &machine, &plan, NULL, NULL),
                    ATTN_ARGUMENT);
}

/* On a slow network heads are split where they divide and outputs stay; with one head the sequence is split; with a
 * mask that leaves early rows little to do, not in contiguous parts. */
static void test_choices(void)
{
    const attn_machine slow = machine_of(1e-4, 1e-6, 1), quick = machine_of(0, 0, 1);
    const attn_plan_options apart = {.combine = attn_combine_find("none")};
    attn_problem problem = problem_of(8, 8, 4096);
    attn_plan plan = chosen(&problem, 8, &apart, &slow);

    CU_ASSERT_EQUAL(plan.grid.head, 8);
    CU_ASSERT_STRING_EQUAL(attn_exchange_name(plan.exchange), "none");
    problem = problem_of(1, 1, 4096);
    CU_ASSERT_EQUAL(chosen(&problem, 8, &apart, &quick).grid.seq, 8);
    problem.mask.causal = true;
    CU_ASSERT_STRING_NOT_EQUAL(attn_layout_name(chosen(&problem, 8, &apart, &quick).layout), "contiguous");
}

/* Where transfers can be hidden, an exchange that hides them is better than one that does not. */
static void test_hiding(void)
{
    const attn_problem problem = problem_of(1, 1, 65536);
    attn_plan_options options = {.grid = {8, 1}, .exchange = attn_exchange_find("ring")};
    const attn_plan ring = plan_of(&problem, 8, &options);
    attn_machine machine = machine_of(1e-6, 1e-7, 1);
    attn_plan gather;

    options.exchange = attn_exchange_find("allgather");
    options.transfer = ATTN_TRANSFER_BLOCKING;
    gather = plan_of(&problem, 8, &options);
    CU_ASSERT(estimate_of(&ring, &machine).seconds < estimate_of(&gather, &machine).seconds);
    CU_ASSERT_EQUAL(estimate_of(&gather, &machine).hidden, 0);
    TEST_CLOSE(estimate_of(&ring, &machine).hidden, estimate_of(&ring, &machine).exchange, 1e-14);
    options = (attn_plan_options){.grid = {8, 1}, .node_ranks = 4}; /* not in one memory */
    CU_ASSERT(
        attn_exchange_of(&(attn_plan){.grid = {8, 1}, .exchange = chosen(&problem, 8, &options, &machine).exchange})
            ->cost.overlaps != 0);
    machine.node.hidden = machine.network.hidden = 0;
    CU_ASSERT_EQUAL(estimate_of(&ring, &machine).hidden, 0);
}

/* Small differences do not move the choice away from the rule's. */
static void test_margin(void)
{
    const attn_machine machine = machine_of(0, 0, 0);
    attn_problem problem = problem_of(8, 8, 256);
    const attn_plan_options options = {.threads = 1};
    const attn_plan rule = plan_of(&problem, 4, &options), plan = chosen(&problem, 4, &options, &machine);

    CU_ASSERT_EQUAL(plan.grid.seq, rule.grid.seq);
    CU_ASSERT_PTR_EQUAL(plan.exchange, rule.exchange);
    CU_ASSERT_PTR_EQUAL(plan.layout, rule.layout);
}

/* A plan that does not fit stands behind those that do. */
static void test_memory(void)
{
    attn_machine machine = machine_of(0, 0, 1);
    const attn_problem problem = problem_of(1, 1, 1024);
    attn_candidate *list;
    size_t count;
    double least = INFINITY, most = 0;

    TEST_OK(attn_plan_candidates(&problem, 8, &(attn_plan_options){.grid = {8, 1}}, &machine, &list, &count,
                                 &attn_test_error));
    for (size_t n = 0; n < count; n++) {
        least = fmin(least, list[n].estimate.memory);
        most = fmax(most, list[n].estimate.memory);
    }
    free(list);
    CU_ASSERT(least < most);
    machine.memory = (least + most) / 2;
    TEST_OK(attn_plan_candidates(&problem, 8, &(attn_plan_options){.grid = {8, 1}}, &machine, &list, &count,
                                 &attn_test_error));
    CU_ASSERT(list[0].estimate.memory <= machine.memory);
    CU_ASSERT(list[count - 1].estimate.memory > machine.memory);
    free(list);
}

static void test_fit(void)
{
    static const double bytes[] = {16, 1024, 65536, 1048576};
    double seconds[4];
    attn_link link = {.hidden = 0.25};

    for (int n = 0; n < 4; n++)
        seconds[n] = 3e-6 + 2e-10 * bytes[n];
    attn_link_fit(bytes, seconds, 4, &link);
    TEST_CLOSE(link.alpha * 1e6, 3, 1e-9);
    TEST_CLOSE(link.beta * 1e10, 2, 1e-9);
    CU_ASSERT_EQUAL(link.hidden, 0.25);
    attn_link_fit(bytes, seconds, 1, &link);
    TEST_CLOSE(link.alpha * 1e6, seconds[0] * 1e6, 1e-9);
    CU_ASSERT_EQUAL(link.beta, 0);
    for (int n = 0; n < 4; n++)
        seconds[n] = 1e-12 * bytes[n] * bytes[n]; /* no line: neither may be negative */
    attn_link_fit(bytes, seconds, 4, &link);
    CU_ASSERT(link.alpha >= 0 && link.beta > 0);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static char *read_file(const char *path)
{
    char *text = calloc(1, 65536);
    FILE *file = fopen(path, "r");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

static void expect_refusal(const attn_problem *problem, int ranks, const char *path, attn_status status,
                           const char *words)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_plan plan = {.ranks = -1};

    CU_ASSERT_EQUAL(attn_plan_load(problem, ranks, path, &plan, NULL, &error), status);
    if (strstr(error.message, words) == NULL)
        CU_FAIL(error.message);
    CU_ASSERT_EQUAL(plan.ranks, -1);
}

/* Replaces one word of a saved plan. */
static void expect_damage(const attn_problem *problem, const char *path, const char *from, const char *to,
                          attn_status status, const char *words)
{
    char *text = read_file(path), *at = strstr(text, from), *changed = calloc(1, strlen(text) + strlen(to) + 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(changed, strlen(text) + strlen(to) + 1, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_file(path, changed);
    expect_refusal(problem, 8, path, status, words);
    write_file(path, text);
    free(text);
    free(changed);
}

static void test_files(void)
{
    char path[64];
    attn_problem problem = problem_of(8, 4, 64), other;
    const attn_plan_options options = {.grid = {4, 2}, .exchange = attn_exchange_find("ring"), .threads = 3};
    attn_machine machine = machine_of(1.25e-6, 1.0 / 3, 0.1), read;
    attn_plan plan, back = {.ranks = 0};

    snprintf(path, sizeof path, "/tmp/attn-test-plan-%ld.json", (long)getpid());
    machine.rate[ATTN_PASS_BACKWARD][ATTN_FLOAT16] = (attn_rate){7.0 / 3e-9, ATTN_ORIGIN_MEASURED};
    problem.mask.causal = true;
    plan = plan_of(&problem, 8, &options);
    TEST_OK(attn_plan_save(&plan, &machine, path, &attn_test_error));
    TEST_OK(attn_plan_load(&problem, 8, path, &back, &read, &attn_test_error));
    CU_ASSERT_EQUAL(back.ranks, 8);
    CU_ASSERT_EQUAL(back.grid.seq, 4);
    CU_ASSERT_EQUAL(back.grid.head, 2);
    CU_ASSERT_PTR_EQUAL(back.exchange, plan.exchange);
    CU_ASSERT_PTR_EQUAL(back.layout, plan.layout);
    CU_ASSERT_PTR_EQUAL(back.combine, plan.combine);
    CU_ASSERT_PTR_EQUAL(back.kernel, plan.kernel);
    CU_ASSERT_EQUAL(back.transfer, plan.transfer);
    CU_ASSERT_EQUAL(back.threads, 3);
    CU_ASSERT_EQUAL(back.node_ranks, plan.node_ranks);
    CU_ASSERT_EQUAL(back.pass, plan.pass);
    CU_ASSERT_EQUAL(read.node.beta, machine.node.beta);
    CU_ASSERT_EQUAL(read.node.origin, ATTN_ORIGIN_GIVEN);
    for (int pass = 0; pass < ATTN_PASS_COUNT; pass++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
            CU_ASSERT_EQUAL(read.rate[pass][dtype].flops, machine.rate[pass][dtype].flops);
            CU_ASSERT_EQUAL(read.rate[pass][dtype].origin, machine.rate[pass][dtype].origin);
        }

    expect_refusal(&problem, 4, path, ATTN_ARGUMENT, "ranks 8; 4 is given");
    other = problem;
    other.shape.seq = other.shape.kv_seq = 65;
    expect_refusal(&other, 8, path, ATTN_ARGUMENT, "seq 64; 65 is given");
    other = problem;
    other.mask.causal = false;
    expect_refusal(&other, 8, path, ATTN_ARGUMENT, "causal 1; 0 is given");
    other = problem;
    other.dtype = ATTN_FLOAT64;
    expect_refusal(&other, 8, path, ATTN_ARGUMENT, "float64");
    expect_damage(&problem, path, "\"ring\"", "\"pigeon\"", ATTN_INPUT, "pigeon");
    expect_damage(&problem, path, "\"attn-plan\"", "\"attn-input\"", ATTN_INPUT, "schema");
    expect_damage(&problem, path, "\"grid_seq\"", "\"grid_sec\"", ATTN_INPUT, "grid_seq");
    expect_damage(&problem, path, "\"grid_head\":\t2", "\"grid_head\":\t3", ATTN_UNSUPPORTED, "4x3");
    expect_damage(&problem, path, "\"alpha\":\t", "\"alpha\":\t-", ATTN_INPUT, "alpha");
    expect_damage(&problem, path, "\"hidden\":\t", "\"hidden\":\t7", ATTN_INPUT, "0 to 1");
    write_file(path, "{\"schema\":");
    expect_refusal(&problem, 8, path, ATTN_INPUT, "JSON");
    write_file(path, "[]");
    expect_refusal(&problem, 8, path, ATTN_INPUT, "schema");
    unlink(path);
    expect_refusal(&problem, 8, path, ATTN_FILE, path);
    CU_ASSERT_EQUAL(attn_plan_save(&plan, NULL, "/nonexistent/plan.json", NULL), ATTN_FILE);
}

static const attn_test tests[] = {
    {"terms of an estimate", test_terms},
    {"numbers of a machine", test_machine},
    {"the most loaded rank decides", test_imbalance},
    {"more costs more, for each exchange", test_monotonic},
    {"shares of traffic between nodes", test_nodes},
    {"4 nodes of 8 ranks", test_shares},
    {"hybrids of one dimension", test_dimensions},
    {"the choice is that of brute force", test_brute_force},
    {"candidates", test_candidates},
    {"what is fixed stays", test_fixed_choices},
    {"choices that can be foreseen", test_choices},
    {"hidden transfers", test_hiding},
    {"the rule's plan where it is as good", test_margin},
    {"memory", test_memory},
    {"fit of a link", test_fit},
    {"saved and loaded", test_files},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "plan/planner", tests, sizeof tests / sizeof tests[0]);
}
