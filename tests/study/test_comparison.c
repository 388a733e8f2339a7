/* Comparisons of results with known answers. */
#include "study/comparison.h"
#include "study/synthetic.h"

#include <math.h>

/* Two sets, and what became of them. */
typedef struct compared {
    attn_results *base, *changed;
    attn_comparison *c;
} compared;

static compared compare(attn_results *base, attn_results *changed, double threshold)
{
    compared out = {base, changed, NULL};

    TEST_OK(attn_study_compare(base, changed, 0.95, threshold, &out.c, &attn_test_error));
    return out;
}

static void release(compared *of)
{
    attn_comparison_destroy(of->c);
    synthetic_release(of->base);
    synthetic_release(of->changed);
}

static char *print(const compared *of, attn_table_format format)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    TEST_OK(attn_comparison_print(of->c, format, stream, &attn_test_error));
    fclose(stream);
    return text;
}

/* One case of one launch, changed by a factor, with noise and an autocorrelation. */
static attn_verdict verdict_of(double factor, double noise, double carried, uint64_t draw)
{
    const synthetic base = {.seconds = 0.01, .noise = noise, .carried = carried, .draw = 2 * draw};
    const synthetic changed = {.seconds = 0.01 * factor, .noise = noise, .carried = carried, .draw = 2 * draw + 1};
    compared of = compare(synthetic_make(&base, 1), synthetic_make(&changed, 1), 0.02);
    const attn_verdict verdict = of.c->pairs[0].verdict;

    CU_ASSERT_EQUAL(attn_comparison_slower(of.c), verdict == ATTN_VERDICT_SLOWER);
    release(&of);
    return verdict;
}

/* A regression of 5 % fails the comparison, an improvement does not. */
static void test_regression(void)
{
    const synthetic base[] = {{.seconds = 0.010, .noise = 0.01, .draw = 1},
                              {.seconds = 0.005, .noise = 0.01, .draw = 2, .ranks = 2},
                              {.seconds = 0.003, .noise = 0.01, .draw = 3, .ranks = 4}};
    const synthetic changed[] = {{.seconds = 0.010 * 1.05, .noise = 0.01, .draw = 11},
                                 {.seconds = 0.005 * 0.95, .noise = 0.01, .draw = 12, .ranks = 2},
                                 {.seconds = 0.003, .noise = 0.01, .draw = 13, .ranks = 4}};
    compared of = compare(synthetic_make(base, 3), synthetic_make(changed, 3), 0.02);
    const attn_pair *pairs = of.c->pairs;
    char *text = print(&of, ATTN_TABLE_TEXT);

    CU_ASSERT_EQUAL(of.c->count, 3);
    CU_ASSERT_EQUAL(attn_comparison_slower(of.c), 1);
    CU_ASSERT_EQUAL(pairs[0].verdict, ATTN_VERDICT_SLOWER);
    CU_ASSERT_EQUAL(pairs[1].verdict, ATTN_VERDICT_FASTER);
    CU_ASSERT_EQUAL(pairs[2].verdict, ATTN_VERDICT_SAME);
    CU_ASSERT(pairs[0].time.lo < 0.0005 && 0.0005 < pairs[0].time.hi && pairs[0].time.lo > 0);
    CU_ASSERT(fabs(pairs[0].change - 0.05) < 0.015);
    CU_ASSERT(pairs[0].p >= 2 * pairs[0].test.p); /* Holm over three */
    TEST_HAS(text, "SLOWER: 1 of 3 cases by more than 2 %; 1 faster\n");
    free(text);
    release(&of);
}

/* A significant change below the threshold is no failure; above, it is. */
static void test_threshold(void)
{
    const synthetic base = {.seconds = 0.01, .noise = 0.002, .draw = 1, .reps = 100};
    const synthetic changed = {.seconds = 0.0105, .noise = 0.002, .draw = 2, .reps = 100};
    compared of = compare(synthetic_make(&base, 1), synthetic_make(&changed, 1), 0.1);
    char *text = print(&of, ATTN_TABLE_TEXT);

    CU_ASSERT_EQUAL(of.c->pairs[0].verdict, ATTN_VERDICT_WITHIN);
    CU_ASSERT(of.c->pairs[0].p < 1e-6);
    CU_ASSERT_EQUAL(attn_comparison_slower(of.c), 0);
    TEST_HAS(text, "NOT SLOWER: none of 1 cases by more than 10 %\n");
    TEST_HAS(text, "one launch a side");
    free(text);
    release(&of);
}

/* Samples of one distribution are significant in at most 5 of 100 comparisons, whatever the autocorrelation, and 3 %
 * more is found in at least 90. */
static void test_rates(void)
{
    enum { TRIALS = 200 };
    static const double carried[] = {0, 0.3, 0.6};

    for (size_t r = 0; r < 3; r++) {
        size_t flagged = 0, found = 0;

        for (uint64_t trial = 0; trial < TRIALS; trial++) {
            const attn_verdict same = verdict_of(1, 0.015, carried[r], 1000 * r + trial);

            flagged += same != ATTN_VERDICT_SAME;
            found += verdict_of(1.03, 0.01, 0.2, 10000 + 1000 * r + trial) == ATTN_VERDICT_SLOWER;
        }
        if (flagged > TRIALS / 20 || found < TRIALS * 9 / 10)
            printf("autocorrelation %g: %zu of %d flagged, %zu found\n", carried[r], flagged, TRIALS, found);
        CU_ASSERT(flagged <= TRIALS / 20);
        CU_ASSERT(found >= TRIALS * 9 / 10);
    }
}

/* A sweep of 20 cases compared with itself: in at most 5 % of such comparisons any case is significant. */
static void test_family(void)
{
    enum { TRIALS = 200, CASES = 20 };
    size_t flagged = 0, uncorrected = 0;

    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        synthetic base[CASES], changed[CASES];
        compared of;
        bool any = false;

        for (size_t i = 0; i < CASES; i++) {
            base[i] = (synthetic){.seconds = 0.01, .noise = 0.02, .carried = 0.3, .seq = (int64_t)(64 * (i + 1))};
            changed[i] = base[i];
            base[i].draw = (trial * CASES + i) * 2;
            changed[i].draw = base[i].draw + 1;
        }
        of = compare(synthetic_make(base, CASES), synthetic_make(changed, CASES), 0);
        for (size_t i = 0; i < CASES; i++)
            any = any || of.c->pairs[i].test.p < 0.05;
        flagged += of.c->of_verdict[ATTN_VERDICT_SAME] < CASES;
        uncorrected += any;
        release(&of);
    }
    if (flagged > TRIALS / 20)
        printf("%zu of %d flagged\n", flagged, TRIALS);
    CU_ASSERT(flagged <= TRIALS / 20);
    CU_ASSERT(uncorrected > TRIALS / 4);
}

/* Launches that differ by 3 % among themselves: their repetitions alone would call the sides different. */
static void test_launches(void)
{
    const char *const names[] = {"a", "b", "c", "d"};
    synthetic base[4], changed[4];
    compared of;
    char *text;

    for (size_t i = 0; i < 4; i++) {
        base[i] = (synthetic){.seconds = 0.010 + 0.0001 * (double)i, .launch = names[i], .noise = 0.001, .draw = i};
        changed[i] = base[i];
        changed[i].seconds += 0.00015;
        changed[i].draw = 10 + i;
    }
    of = compare(synthetic_make(base, 4), synthetic_make(changed, 4), 0);
    CU_ASSERT_TRUE(of.c->pairs[0].by_launch);
    CU_ASSERT_EQUAL(of.c->pairs[0].base.launches, 4);
    CU_ASSERT_EQUAL(of.c->pairs[0].base.reps, 120);
    CU_ASSERT_EQUAL(of.c->pairs[0].verdict, ATTN_VERDICT_SAME);
    TEST_CLOSE(of.c->pairs[0].time.a.median, 0.01015, 1e-5);
    TEST_CLOSE(of.c->pairs[0].test.u, 13, 0); /* of 16: 1.5 steps up, so all but 2 + 1 pairs */
    text = print(&of, ATTN_TABLE_TEXT);
    TEST_HAS(text, "4 + 4 launches");
    TEST_HAS_NOT(text, "one launch a side");
    free(text);
    release(&of);

    for (size_t i = 0; i < 4; i++)
        changed[i].seconds = base[i].seconds * 1.1;
    of = compare(synthetic_make(base, 4), synthetic_make(changed, 4), 0.02);
    CU_ASSERT_EQUAL(of.c->pairs[0].verdict, ATTN_VERDICT_SLOWER);
    TEST_CLOSE(of.c->pairs[0].p, 2.0 / 70, 1e-15);
    release(&of);

    of = compare(synthetic_make(base, 3), synthetic_make(changed, 3), 0.02);
    text = print(&of, ATTN_TABLE_TEXT);
    CU_ASSERT_EQUAL(of.c->pairs[0].verdict, ATTN_VERDICT_UNDECIDED);
    TEST_HAS(text, "undecided: too few launches");
    TEST_HAS(text, "; 1 undecided\n");
    free(text);
    release(&of);
}

/* What is on one side alone, or not valid there, is listed with the reason. */
static void test_not_compared(void)
{
    const synthetic base[] = {
        {.seconds = 0.01},
        {.seconds = 0.02, .seq = 2048},
        {.seconds = 0.03, .seq = 4096},
        {.seconds = 0.04, .seq = 8192, .status = ATTN_CASE_INVALID, .reason = "error 1 above the tolerance"},
    };
    const synthetic changed[] = {
        {.seconds = 0.05, .seq = 512},
        {.seconds = 0.01},
        {.seq = 4096, .status = ATTN_CASE_SKIPPED, .reason = "does not fit in memory"},
        {.seconds = 0.04, .seq = 8192},
    };
    compared of = compare(synthetic_make(base, 4), synthetic_make(changed, 4), 0.02);
    char *text = print(&of, ATTN_TABLE_TEXT);

    CU_ASSERT_EQUAL(of.c->count, 5);
    CU_ASSERT_EQUAL(of.c->of_verdict[ATTN_VERDICT_NOT_COMPARED], 4);
    CU_ASSERT_TRUE(isnan(of.c->pairs[1].p));
    CU_ASSERT_EQUAL(of.c->pairs[0].p, 1);
    TEST_HAS(text, "S 2048 ");
    TEST_HAS(text, "not compared: only in base\n");
    TEST_HAS(text, "not compared: only in new\n");
    TEST_HAS(text, "not compared: in new skipped: does not fit in memory\n");
    TEST_HAS(text, "not compared: in base INVALID: error 1 above the tolerance\n");
    TEST_HAS(text, "NOT SLOWER: none of 1 cases by more than 2 %; 4 not compared\n");
    free(text);
    text = print(&of, ATTN_TABLE_CSV);
    TEST_HAS(text, "id,base_launches,base_reps,");
    TEST_HAS(text, ",0.01,");
    TEST_HAS(text, ",not compared,not compared: only in new,");
    free(text);
    release(&of);

    of = compare(synthetic_make(NULL, 0), synthetic_make(NULL, 0), 0.02);
    text = print(&of, ATTN_TABLE_TEXT);
    CU_ASSERT_STRING_EQUAL(text, "no cases\n");
    free(text);
    release(&of);
}

static void test_provenance(void)
{
    const synthetic one = {.seconds = 0.01};
    attn_results *sides[2];
    compared of;

    for (size_t side = 0; side < 2; side++) {
        sides[side] = synthetic_make(&one, 1);
        sides[side]->environments = calloc(2, sizeof *sides[side]->environments);
        for (size_t e = 0; e < 2; e++) {
            attn_attributes **environment = &sides[side]->environments[sides[side]->environment_count++];

            TEST_OK(attn_attributes_create(environment, &attn_test_error));
            attn_attributes_set_text(*environment, "cpu_model", side == 0 ? "slow" : "fast");
            attn_attributes_set_text(*environment, "compiler", "gcc");
            attn_attributes_set_text(*environment, "commit", side == 0 ? "aaaa" : "bbbb");
            attn_attributes_set_text(*environment, "hostname", e == 0 ? "node1" : "node2");
        }
    }
    of = compare(sides[0], sides[1], 0.02);
    CU_ASSERT_EQUAL_FATAL(attn_comparison_warnings(of.c), 2);
    CU_ASSERT_STRING_EQUAL(attn_comparison_warning(of.c, 0),
                           "launches of both sides differ in the machine: hostname node1, node2");
    CU_ASSERT_STRING_EQUAL(attn_comparison_warning(of.c, 1),
                           "the machines differ: cpu_model slow in base, fast in new");
    for (size_t side = 0; side < 2; side++) {
        for (size_t e = 0; e < 2; e++)
            attn_attributes_destroy(sides[side]->environments[e]);
        free(sides[side]->environments);
    }
    release(&of);
}

static const attn_test tests[] = {
    {"a regression of 5 % is found", test_regression},
    {"the threshold", test_threshold},
    {"how often what is the same is flagged, and 3 % found", test_rates},
    {"how often any of 20 cases is flagged", test_family},
    {"launches", test_launches},
    {"what is not compared", test_not_compared},
    {"machines and builds", test_provenance},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/comparison", tests, sizeof tests / sizeof tests[0]);
}
