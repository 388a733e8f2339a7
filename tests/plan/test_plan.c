/* The choices of a plan and the volumes that it predicts. */
#include "fixture.h"
#include "harness.h"

#include <attn/plan.h>

#include <math.h>
#include <string.h>

static attn_problem problem_of(int64_t heads, int64_t kv_heads, int64_t seq)
{
    return (attn_problem)PROBLEM(2, heads, kv_heads, seq, seq, 16, 8, ATTN_FLOAT32);
}

static attn_plan plan_of(const attn_problem *problem, int ranks, const attn_plan_options *options)
{
    attn_plan plan = {.ranks = 0};

    TEST_OK(attn_plan_make(problem, ranks, options, &plan, &attn_test_error));
    return plan;
}

/* Ph = gcd(P, Hkv); `none` means 1 x P and any other named exchange P x 1. */
static void test_automatic_choices(void)
{
    attn_problem problem = problem_of(8, 4, 64);
    attn_plan_options options = {.threads = 3};
    attn_plan plan = plan_of(&problem, 6, &options);

    CU_ASSERT_EQUAL(plan.grid.head, 2);
    CU_ASSERT_EQUAL(plan.grid.seq, 3);
    CU_ASSERT_STRING_EQUAL(attn_exchange_name(plan.exchange), "allgather");
    CU_ASSERT_STRING_EQUAL(attn_layout_name(plan.layout), "contiguous");
    CU_ASSERT_STRING_EQUAL(attn_combine_name(plan.combine), "allgather");
    CU_ASSERT_PTR_EQUAL(plan.kernel, attn_kernel_best(ATTN_PASS_FORWARD, ATTN_FLOAT32));
    CU_ASSERT_EQUAL(plan.threads, 3);

    options.pass = ATTN_PASS_DECODE;
    CU_ASSERT_STRING_EQUAL(attn_exchange_name(plan_of(&problem, 6, &options).exchange), "tree");
    CU_ASSERT_STRING_EQUAL(attn_exchange_name(plan_of(&problem, 2, &options).exchange), "none");
    options.pass = ATTN_PASS_FORWARD;

    problem.mask.causal = true;
    plan = plan_of(&problem, 4, &options);
    CU_ASSERT_EQUAL(plan.grid.head, 4);
    CU_ASSERT_STRING_EQUAL(attn_exchange_name(plan.exchange), "none");
    CU_ASSERT_STRING_EQUAL(attn_layout_name(plan.layout), "zigzag");

    options.exchange = attn_exchange_find("allgather");
    CU_ASSERT_EQUAL(plan_of(&problem, 6, &options).grid.seq, 6);
    options.exchange = attn_exchange_find("none");
    CU_ASSERT_EQUAL(plan_of(&problem, 6, &options).grid.head, 6);
}

static void expect_refusal(const attn_problem *problem, int ranks, const attn_plan_options *options, attn_status status,
                           const char *words)
{
    attn_plan plan = {.ranks = -1};
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_plan_make(problem, ranks, options, &plan, &error), status);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, words));
    CU_ASSERT_EQUAL(plan.ranks, -1);
}

static void test_refusals(void)
{
    attn_problem problem = problem_of(8, 4, 64);
    attn_plan_options options = {.grid = {2, 2}};

    expect_refusal(&problem, 3, &options, ATTN_UNSUPPORTED, "2x2");
    options.exchange = attn_exchange_find("none");
    expect_refusal(&problem, 4, &options, ATTN_UNSUPPORTED, "none");
    problem.shape.kv_heads = 3;
    expect_refusal(&problem, 4, &options, ATTN_ARGUMENT, "3");
}

static void test_tables(void)
{
    for (size_t n = 0; n < attn_exchange_count(); n++) {
        const attn_exchange *exchange = attn_exchange_at(n);

        CU_ASSERT_PTR_EQUAL(attn_exchange_find(attn_exchange_name(exchange)), exchange);
        CU_ASSERT(strlen(attn_exchange_summary(exchange)) > 0);
    }
    for (size_t n = 0; n < attn_combine_count(); n++) {
        const attn_combine *combine = attn_combine_at(n);

        CU_ASSERT_PTR_EQUAL(attn_combine_find(attn_combine_name(combine)), combine);
        CU_ASSERT(strlen(attn_combine_summary(combine)) > 0);
    }
    CU_ASSERT_PTR_NULL(attn_exchange_find("pigeon"));
    CU_ASSERT_PTR_NULL(attn_combine_find("pigeon"));
}

/* Even division: all-gather sends hkv (p - 1) (X_k + X_v), the combine hq (Ph - 1) X_v. */
static void test_volumes(void)
{
    const attn_problem problem = problem_of(8, 4, 64);
    const attn_plan_options options = {.grid = {4, 2}, .exchange = attn_exchange_find("allgather")};
    const attn_plan plan = plan_of(&problem, 8, &options);
    const double row = 2 * 16 * 4, x_k = row * 16, x_v = x_k / 2; /* B D e, S / p rows */

    for (int rank = 0; rank < 8; rank++) {
        attn_prediction p;

        TEST_OK(attn_plan_predict(&plan, rank, &p, &attn_test_error));
        CU_ASSERT_EQUAL(p.exchange_bytes, 2 * 3 * (x_k + x_v));
        CU_ASSERT_EQUAL(p.combine_bytes, 4 * x_v);
        CU_ASSERT_EQUAL(p.messages, 2 * 3 + 1);
        CU_ASSERT_EQUAL(p.extra_bytes, 2 * 4 * (x_k + x_v));
        CU_ASSERT_EQUAL(p.input_bytes, 4 * x_k + 2 * (x_k + x_v));
        CU_ASSERT_EQUAL(p.output_bytes, 8 * x_v + 2 * 4 * 16 * 4);
        CU_ASSERT_EQUAL(p.pairs, 2.0 * 64 * 16 * 4);
    }
}

/* Uneven division: what all ranks send together is what all others must receive, and the totals are those of the
 * ranks. */
static void test_uneven_volumes(void)
{
    static const int64_t kv_len[] = {17, 61};
    attn_problem problem = problem_of(7, 7, 61);
    const attn_plan_options options = {.grid = {3, 2}};
    attn_plan plan = plan_of(&problem, 6, &options);
    attn_plan_totals totals;
    attn_prediction p;
    double sent = 0, bytes = 0, memory = 0, pairs = 0, most_pairs = 0;

    problem.mask.kv_len = kv_len; /* pairs differ between the batches */
    plan.problem = problem;
    for (int rank = 0; rank < 6; rank++) {
        TEST_OK(attn_plan_predict(&plan, rank, &p, &attn_test_error));
        sent += p.exchange_bytes;
        bytes = fmax(bytes, p.exchange_bytes + p.combine_bytes);
        memory = fmax(memory, p.input_bytes + p.output_bytes + p.extra_bytes);
        pairs += p.pairs;
        most_pairs = fmax(most_pairs, p.pairs);
    }
    CU_ASSERT_EQUAL(sent, 2.0 * 7 * 61 * (16 + 8) * 4 * 2);
    CU_ASSERT_EQUAL(pairs, 7.0 * 61 * (17 + 61));
    TEST_OK(attn_plan_predict_all(&plan, &totals, &attn_test_error));
    CU_ASSERT_EQUAL(totals.bytes, bytes);
    CU_ASSERT_EQUAL(totals.memory, memory);
    CU_ASSERT_EQUAL(totals.pairs, pairs);
    TEST_CLOSE(totals.imbalance, most_pairs * 6 / pairs, 1e-14);
}

/* Contiguous causal: the last of p ranks has (2p - 1) / p times the mean as S grows; zigzag is balanced. */
static void test_imbalance(void)
{
    attn_problem problem = problem_of(1, 1, 4096);

    problem.mask.causal = true;
    for (int p = 1; p <= 16; p *= 2) {
        attn_plan_options options = {.grid = {.seq = p, .head = 1}, .layout = attn_layout_find("contiguous")};
        attn_plan plan = plan_of(&problem, p, &options);
        attn_plan_totals totals;

        TEST_OK(attn_plan_predict_all(&plan, &totals, &attn_test_error));
        TEST_CLOSE(totals.imbalance, (2.0 * p - 1) / p, 1e-3);
        plan.layout = attn_layout_find("zigzag");
        TEST_OK(attn_plan_predict_all(&plan, &totals, &attn_test_error));
        TEST_CLOSE(totals.imbalance, 1, 1e-12);
        plan.layout = attn_layout_find("striped");
        TEST_OK(attn_plan_predict_all(&plan, &totals, &attn_test_error));
        TEST_CLOSE(totals.imbalance, 1, 4e-3);
    }
}

/* Expects a refusal that tells of this. */
static void refused(const attn_problem *problem, int ranks, const attn_plan_options *options, const char *words)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_plan plan;

    CU_ASSERT_EQUAL(attn_plan_make(problem, ranks, options, &plan, &error), ATTN_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "deterministic: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, words));
}

/* What depends on the number of ranks is refused, and what is left open is chosen so that nothing does. */
static void test_deterministic(void)
{
    attn_problem problem = problem_of(8, 4, 1024);
    const attn_plan_options open = {.kernel = attn_kernel_find("portable"), .deterministic = true};
    attn_plan_options options = open;
    attn_plan plan;

    problem.mask.causal = true;
    plan = plan_of(&problem, 8, &options);
    CU_ASSERT(plan.deterministic && plan.grid.seq == 2);
    CU_ASSERT_STRING_EQUAL(attn_layout_name(plan.layout), "contiguous");
    CU_ASSERT_STRING_EQUAL(attn_exchange_name(plan.exchange), "allgather");
    CU_ASSERT_EQUAL(plan.transfer, ATTN_TRANSFER_BLOCKING);
    plan = plan_of(&problem, 3, &options); /* 1024 / 3 keys are no whole blocks */
    CU_ASSERT(plan.grid.head == 3 && plan.exchange == attn_exchange_find("none"));
    options.pass = ATTN_PASS_DECODE;
    plan = plan_of(&problem, 8, &options);
    CU_ASSERT_STRING_EQUAL(attn_exchange_name(plan.exchange), "allgather");
    options = open;
    options.exchange = attn_exchange_find("allgather");
    refused(&problem, 3, &options, "a multiple of 128 keys");
    options.layout = attn_layout_find("zigzag");
    refused(&problem, 2, &options, "layout zigzag");
    options = open;
    options.exchange = attn_exchange_find("ring");
    refused(&problem, 2, &options, "exchange ring");
    options = open;
    options.grid = (attn_grid){2, 1};
    options.kernel = attn_kernel_find("reference");
    refused(&problem, 2, &options, "kernel reference");
    options = open;
    options.pass = ATTN_PASS_BACKWARD;
    plan_of(&problem, 4, &options);
    refused(&problem, 8, &options, "8 ranks share key-value heads");
    options.grid = (attn_grid){2, 2};
    refused(&problem, 4, &options, "grid 2x2");
    problem.mask.window_left = 7;
    refused(&problem, 2, &open, "left window");
}

static const attn_test tests[] = {
    {"what is left open is chosen by rule", test_automatic_choices},
    {"what cannot run is refused with its reason", test_refusals},
    {"what deterministic plans refuse and choose", test_deterministic},
    {"tables", test_tables},
    {"volumes, even division", test_volumes},
    {"volumes, uneven division", test_uneven_volumes},
    {"imbalance of causal masks", test_imbalance},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "plan/plan", tests, sizeof tests / sizeof tests[0]);
}
