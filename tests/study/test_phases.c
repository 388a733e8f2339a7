/* The table of phases. */
#include "study/synthetic.h"

/* A case of two ranks whose phases are known: 60 % compute, 30 % exchange of which the other rank has more. */
static attn_results *make(void)
{
    const synthetic cases[] = {{.ranks = 2, .seconds = 0.5}, {.status = ATTN_CASE_SKIPPED, .reason = "does not fit"}};
    attn_results *results = synthetic_make(cases, 2);
    attn_result *r = results->cases[0];

    for (int64_t rep = 0; rep < r->reps; rep++)
        for (int64_t rank = 0; rank < r->ranks; rank++) {
            double *phase = r->samples + (rep * r->ranks + rank) * r->phases;

            phase[ATTN_PHASE_TOTAL] = 0.5;
            phase[ATTN_PHASE_COMPUTE] = rank == 0 ? 0.3 : 0.2;
            phase[ATTN_PHASE_EXCHANGE] = rank == 0 ? 0.1 : 0.15;
            phase[ATTN_PHASE_IMBALANCE_WAIT] = 0.001;
        }
    r->samples[r->phases + ATTN_PHASE_INPUT_READ] = 0.25; /* the second rank's, in the first repetition alone */
    attn_attributes_set_real(r->outcomes, "input_bytes", 1e9);
    return results;
}

static void test_text(void)
{
    attn_results *results = make();
    char *text = synthetic_print(attn_study_print_phases, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "total           500.000       100.0  VALID\n");
    TEST_HAS(text, "compute         300.000        60.0\n");
    TEST_HAS(text, "exchange        150.000        30.0\n");
    TEST_HAS(text, "input-read      250.000           -  once, 4.00 GB/s\n");
    TEST_HAS(text, "imbalance-wait    1.000           -  outside total\n");
    TEST_HAS_NOT(text, "merge");
    TEST_HAS(text, "skipped: does not fit\n");
    free(text);
    synthetic_release(results);
}

static void test_csv_repeats_the_case(void)
{
    attn_results *results = make();
    char *text = synthetic_print(attn_study_print_phases, results, ATTN_TABLE_CSV);
    size_t named = 0;

    TEST_HAS(text, "case,ranks,grid,threads,phase,ms,% of total,remark\n");
    TEST_HAS(text, ",2,2x1,1,compute,300.000,60.0,\n");
    for (const char *at = text; (at = strstr(at, ",2,2x1,1,")) != NULL; at++)
        named++;
    CU_ASSERT_EQUAL(named, 5);
    free(text);
    synthetic_release(results);
}

static void test_no_cases(void)
{
    attn_results *results = synthetic_make(NULL, 0);
    char *text = synthetic_print(attn_study_print_phases, results, ATTN_TABLE_TEXT);

    CU_ASSERT_STRING_EQUAL(text, "no cases\n");
    free(text);
    synthetic_release(results);
}

static const attn_test tests[] = {
    {"shares, bandwidth and verdict", test_text},
    {"CSV names the case in every row", test_csv_repeats_the_case},
    {"no cases", test_no_cases},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/phases", tests, sizeof tests / sizeof tests[0]);
}
