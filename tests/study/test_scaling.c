/* Series, speed-up and efficiency. */
#include "study/series.h"
#include "study/synthetic.h"

#include <math.h>

static attn_scaling *find(const attn_results *results)
{
    attn_scaling *scaling = NULL;

    TEST_OK(attn_scaling_find(results, &scaling, &attn_test_error));
    return scaling;
}

static void test_strong(void)
{
    const synthetic cases[] = {{.ranks = 4, .seconds = 0.15625}, {.seconds = 0.5}, {.ranks = 2, .seconds = 0.25}};
    attn_results *results = synthetic_make(cases, 3);
    attn_scaling *scaling = find(results);
    char *text;

    CU_ASSERT_EQUAL_FATAL(scaling->count, 1);
    CU_ASSERT_EQUAL_FATAL(scaling->series[0].count, 3);
    CU_ASSERT_PTR_EQUAL(scaling->series[0].baseline, &scaling->series[0].points[0]);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].speedup, 2.0);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].efficiency, 1.0);
    CU_ASSERT_EQUAL(scaling->series[0].points[2].speedup, 3.2);
    CU_ASSERT_EQUAL(scaling->series[0].points[2].efficiency, 0.8);
    TEST_CLOSE(scaling->series[0].points[1].speedup_lo, 2 * SYNTHETIC_LO / SYNTHETIC_HI, 1e-15);
    TEST_CLOSE(scaling->series[0].points[1].speedup_hi, 2 * SYNTHETIC_HI / SYNTHETIC_LO, 1e-15);
    attn_scaling_destroy(scaling);

    text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_TEXT);
    TEST_HAS(text,
             "series 1: forward, float32, B 1, Hq 8, Hkv 2, S 1024, D 64, causal, kernel portable-avx512, seed 0, "
             "strong scaling; allgather, zigzag\n");
    TEST_HAS(text, "baseline 1 rank x 1 thread: 500.0 ms [476.6, 523.4]\n");
    TEST_HAS(text, "    1   1x1        1         1     9      500.0  [476.6, 523.4]      1.00  -");
    TEST_HAS(text, "     2.00  [1.82, 2.20]           100  [91.0, 110]");
    TEST_HAS(text, "     3.20  [2.91, 3.51]          80.0  [72.8, 87.9]");
    free(text);
    synthetic_release(results);
}

static void test_no_valid_baseline(void)
{
    const synthetic cases[] = {
        {.status = ATTN_CASE_SKIPPED, .reason = "does not fit in memory"},
        {.ranks = 2, .seconds = 0.5},
        {.ranks = 4, .seconds = 0.25},
        {.ranks = 8, .seconds = 0.01, .status = ATTN_CASE_INVALID},
    };
    attn_results *results = synthetic_make(cases, 4);
    char *text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "baseline 2 ranks x 1 thread: 500.0 ms [476.6, 523.4], the fewest ranks with a valid result\n");
    TEST_HAS(text, "skipped: does not fit in memory\n");
    TEST_HAS(text, "INVALID\n");
    TEST_HAS(text, "     2.00  [1.82, 2.20]           100");
    TEST_HAS_NOT(text, "10.00"); /* the time of the wrong result */
    free(text);
    synthetic_release(results);
}

static void test_nothing_valid(void)
{
    const synthetic cases[] = {{.status = ATTN_CASE_SKIPPED, .reason = "too big"},
                               {.ranks = 2, .seconds = 0.5, .status = ATTN_CASE_INVALID}};
    attn_results *results = synthetic_make(cases, 2);
    char *text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "baseline: none, no case of this series is valid; no speed-up\n");
    TEST_HAS_NOT(text, "1.00");
    free(text);
    synthetic_release(results);
}

static void test_oversubscribed(void)
{
    const synthetic cases[] = {{.seconds = 0.5, .cores = 2}, {.ranks = 4, .seconds = 0.5, .cores = 2}};
    attn_results *results = synthetic_make(cases, 2);
    char *text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "oversubscribed: 4 threads on 2 cores\n");
    TEST_HAS(text, "oversubscribed: more threads than cores; not a scaling result\n");
    free(text);
    synthetic_release(results);
}

static void test_launches(void)
{
    const synthetic cases[] = {
        {.seconds = 0.5, .launch = "a"},
        {.seconds = 1, .launch = "b"},
        {.ranks = 2, .seconds = 0.25, .launch = "a"},
        {.ranks = 2, .seconds = 0.5, .launch = "b"},
        {.ranks = 2, .status = ATTN_CASE_INTERRUPTED, .launch = "c"},
    };
    attn_results *results = synthetic_make(cases, 5);
    attn_scaling *scaling = find(results);
    char *text;

    CU_ASSERT_EQUAL_FATAL(scaling->count, 1);
    CU_ASSERT_EQUAL_FATAL(scaling->series[0].count, 2);
    CU_ASSERT_EQUAL(scaling->series[0].points[0].launches, 2);
    CU_ASSERT_EQUAL(scaling->series[0].points[0].time, 0.75); /* the median of the medians 0.5 and 1 */
    CU_ASSERT_EQUAL(scaling->series[0].points[0].lo, 0.5 * SYNTHETIC_LO);
    CU_ASSERT_EQUAL(scaling->series[0].points[0].hi, 1.0 * SYNTHETIC_HI);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].rejected, 1);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].reps, 18);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].speedup, 2.0);
    attn_scaling_destroy(scaling);
    text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "1 launch left out, not valid\n");
    free(text);
    synthetic_release(results);
}

/* Weak in the sequence: at 2 ranks twice the rows, so four times the work; 0.8 of the ideal rate. */
static void test_weak(void)
{
    const synthetic cases[] = {
        {.scaling = "weak-seq", .seq = 1024, .seconds = 0.5, .flops = 1e9},
        {.scaling = "weak-seq", .seq = 2048, .ranks = 2, .seconds = 1.25, .flops = 4e9},
        {.scaling = "weak-seq", .seq = 512, .seconds = 0.125, .flops = 2.5e8},
        {.scaling = "weak-seq", .seq = 1024, .ranks = 2, .seconds = 0.25, .flops = 1e9},
        {.scaling = "weak-batch", .batch = 1, .seconds = 0.5, .flops = 1e9},
        {.scaling = "weak-batch", .batch = 3, .ranks = 3, .seconds = 0.5, .flops = 3e9},
    };
    attn_results *results = synthetic_make(cases, 6);
    attn_scaling *scaling = find(results);

    CU_ASSERT_EQUAL_FATAL(scaling->count, 3);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].flops, 4e9);
    TEST_CLOSE(scaling->series[0].points[1].speedup, 1.6, 1e-15);
    TEST_CLOSE(scaling->series[0].points[1].efficiency, 0.8, 1e-15);
    CU_ASSERT_EQUAL(scaling->series[1].points[1].speedup, 2.0);
    CU_ASSERT_EQUAL(scaling->series[2].points[1].speedup, 3.0);
    CU_ASSERT_EQUAL(scaling->series[2].points[1].efficiency, 1.0);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* Equal work for each rank, met as well as whole rows allow. */
static void test_weak_work(void)
{
    const synthetic cases[] = {
        {.scaling = "weak-work", .seq = 1024, .seconds = 0.5, .flops = 1e9},
        {.scaling = "weak-work", .seq = 1448, .ranks = 2, .seconds = 0.5, .flops = 1.9995e9},
        {.scaling = "weak-work", .seq = 2048, .seconds = 2, .flops = 4e9},
    };
    attn_results *results = synthetic_make(cases, 3);
    attn_scaling *scaling = find(results);

    CU_ASSERT_EQUAL_FATAL(scaling->count, 2);
    CU_ASSERT_EQUAL_FATAL(scaling->series[0].count, 2);
    TEST_CLOSE(scaling->series[0].points[1].efficiency, 1.9995 / 2, 1e-14);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

static void test_unknown_work(void)
{
    const synthetic cases[] = {{.seconds = 0.5, .flops = -1},
                               {.ranks = 2, .seconds = 0.25, .flops = -1},
                               {.seconds = 0.5, .flops = -1, .scaling = "weak-seq"},
                               {.ranks = 2, .seq = 2048, .seconds = 0.25, .flops = -1, .scaling = "weak-seq"}};
    attn_results *results = synthetic_make(cases, 4);
    attn_scaling *scaling = find(results);

    CU_ASSERT_EQUAL_FATAL(scaling->count, 2);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].speedup, 2.0);
    CU_ASSERT(isnan(scaling->series[1].points[1].speedup));
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* One case of 1 rank is the baseline of every exchange and layout. */
static void test_baseline_of_all_exchanges(void)
{
    const synthetic cases[] = {
        {.seconds = 1},
        {.ranks = 2, .seconds = 0.5},
        {.ranks = 2, .seconds = 0.625, .exchange = "ring"},
        {.ranks = 2, .seconds = 0.75, .layout = "contiguous"},
        {.ranks = 4, .seconds = 0.25, .exchange = "ring"},
        {.ranks = 4, .seconds = 0.3125},
        {.ranks = 2, .seconds = 0.5625, .grid_head = 2},
    };
    attn_results *results = synthetic_make(cases, 7);
    attn_scaling *scaling = find(results);

    CU_ASSERT_EQUAL_FATAL(scaling->count, 4);
    for (size_t s = 0; s < 4; s++) {
        CU_ASSERT_EQUAL(scaling->series[s].count, s < 2 ? 3 : 2);
        CU_ASSERT_EQUAL(scaling->series[s].points[0].ranks, 1);
        CU_ASSERT_EQUAL(scaling->series[s].baseline->time, 1);
    }
    CU_ASSERT_EQUAL(scaling->series[0].points[2].time, 0.3125);
    CU_ASSERT_EQUAL(scaling->series[1].points[2].time, 0.25);
    CU_ASSERT_EQUAL(scaling->series[2].points[1].time, 0.75);
    CU_ASSERT_EQUAL(scaling->series[3].points[1].time, 0.5625);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* With few key-value heads the automatic grid turns from 1xP to Px2, and then there is an exchange. */
static void test_grid_follows_ranks(void)
{
    const synthetic cases[] = {{.seconds = 1},
                               {.ranks = 2, .seconds = 0.5, .grid_head = 2},
                               {.ranks = 4, .seconds = 0.25, .grid_head = 2},
                               {.ranks = 6, .seconds = 0.2, .grid_head = 2}};
    attn_results *results = synthetic_make(cases, 4);
    attn_scaling *scaling = find(results);

    CU_ASSERT_EQUAL_FATAL(scaling->count, 1);
    CU_ASSERT_EQUAL(scaling->series[0].count, 4);
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

static void test_grids_swept(void)
{
    const synthetic cases[] = {
        {.seconds = 1},
        {.ranks = 4, .seconds = 0.25},
        {.ranks = 4, .seconds = 0.3, .grid_head = 2},
        {.ranks = 8, .seconds = 0.125},
        {.ranks = 8, .seconds = 0.15, .grid_head = 2},
    };
    attn_results *results = synthetic_make(cases, 5);
    attn_scaling *scaling = find(results);

    CU_ASSERT_EQUAL_FATAL(scaling->count, 2);
    CU_ASSERT_EQUAL(scaling->series[0].points[2].time, 0.125);
    CU_ASSERT_STRING_EQUAL(scaling->series[0].family, "grid Px1");
    CU_ASSERT_EQUAL(scaling->series[1].points[2].time, 0.15);
    CU_ASSERT_STRING_EQUAL(scaling->series[1].family, "grid (P/2)x2");
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

static void test_threads(void)
{
    const synthetic cases[] = {
        {.threads = 4, .seconds = 0.5},
        {.ranks = 2, .threads = 2, .seconds = 0.5},
        {.ranks = 4, .threads = 2, .seconds = 0.25},
    };
    const synthetic swept[] = {
        {.threads = 1, .seconds = 1},
        {.threads = 2, .seconds = 0.5},
        {.ranks = 2, .threads = 1, .seconds = 0.5},
        {.ranks = 2, .threads = 2, .seconds = 0.25},
    };
    attn_results *results = synthetic_make(cases, 3);
    attn_scaling *scaling = find(results);
    char *text;

    CU_ASSERT_EQUAL_FATAL(scaling->count, 1);
    CU_ASSERT_EQUAL(scaling->series[0].points[1].efficiency, 1.0);
    CU_ASSERT_EQUAL(scaling->series[0].points[2].speedup, 2.0);
    CU_ASSERT_EQUAL(scaling->series[0].points[2].efficiency, 1.0); /* 8 cores against 4 */
    attn_scaling_destroy(scaling);
    text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "baseline 1 rank x 4 threads: 500.0 ms [476.6, 523.4]; threads differ: efficiency per core\n");
    free(text);
    synthetic_release(results);

    results = synthetic_make(swept, 4);
    scaling = find(results);
    CU_ASSERT_EQUAL_FATAL(scaling->count, 2);
    for (size_t s = 0; s < 2; s++) {
        CU_ASSERT_EQUAL(scaling->series[s].count, 2);
        CU_ASSERT_EQUAL(scaling->series[s].points[1].speedup, 2.0);
        CU_ASSERT_EQUAL(scaling->series[s].points[1].efficiency, 1.0);
    }
    attn_scaling_destroy(scaling);
    synthetic_release(results);
}

/* A baseline is never another machine's. */
static void test_processors(void)
{
    const synthetic cases[] = {{.seconds = 1, .launch = "a"}, {.ranks = 2, .seconds = 0.25, .launch = "b"}};
    attn_results *results = synthetic_make(cases, 2);
    attn_attributes *environments[2];
    attn_scaling *scaling;

    for (size_t e = 0; e < 2; e++) {
        TEST_OK(attn_attributes_create(&environments[e], &attn_test_error));
        attn_attributes_set_text(environments[e], "launch_id", e == 0 ? "a" : "b");
        attn_attributes_set_text(environments[e], "cpu_model", e == 0 ? "slow" : "fast");
    }
    results->environments = environments;
    results->environment_count = 2;
    scaling = find(results);
    CU_ASSERT_EQUAL(scaling->count, 2);
    attn_scaling_destroy(scaling);
    for (size_t e = 0; e < 2; e++)
        attn_attributes_destroy(environments[e]);
    synthetic_release(results);
}

static void test_one_rank_count(void)
{
    const synthetic cases[] = {{.seconds = 1}, {.seq = 2048, .seconds = 4}};
    attn_results *results = synthetic_make(cases, 2);
    char *text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "run at one rank count only, no speed-up: ");
    TEST_HAS(text, "S 1024 ");
    TEST_HAS(text, "S 2048 ");
    TEST_HAS_NOT(text, "1.00");
    TEST_HAS_NOT(text, "series 1");
    free(text);
    text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_CSV);
    TEST_HAS(text, "series,ranks,grid,threads,case,");
    TEST_HAS(text, "\n2,1,1x1,1,");
    free(text);
    synthetic_release(results);
}

static void test_no_cases(void)
{
    attn_results *results = synthetic_make(NULL, 0);
    char *text = synthetic_print(attn_study_print_scaling, results, ATTN_TABLE_MARKDOWN);

    CU_ASSERT_STRING_EQUAL(text, "no cases\n");
    free(text);
    synthetic_release(results);
}

static const attn_test tests[] = {
    {"strong scaling: speed-up 2, efficiency 0.8", test_strong},
    {"the baseline is the valid case of fewest ranks, and said", test_no_valid_baseline},
    {"no valid case, no speed-up", test_nothing_valid},
    {"oversubscribed rows are marked", test_oversubscribed},
    {"several launches of a case", test_launches},
    {"weak scaling", test_weak},
    {"weak scaling of work", test_weak_work},
    {"unknown work", test_unknown_work},
    {"one baseline for all exchanges and layouts", test_baseline_of_all_exchanges},
    {"a grid that follows the ranks is one series", test_grid_follows_ranks},
    {"grids that were swept are several series", test_grids_swept},
    {"threads that follow, threads that were swept", test_threads},
    {"different processors are different series", test_processors},
    {"cases of one rank count", test_one_rank_count},
    {"no cases", test_no_cases},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/scaling", tests, sizeof tests / sizeof tests[0]);
}
