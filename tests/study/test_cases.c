/* The table of `run`. */
#include "study/synthetic.h"

static void test_common_words_stand_once(void)
{
    const synthetic cases[] = {{.seconds = 0.5}, {.seconds = 0.25, .ranks = 2}, {.seconds = 0.125, .ranks = 4}};
    attn_results *results = synthetic_make(cases, 3);
    char *text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "forward, float32, B 1, Hq 8, Hkv 2, S 1024, D 64, causal, kernel portable-avx512, seed 0, strong");
    TEST_HAS(text, "covers the median with 95 %");
    TEST_HAS(text, "no exchange  contiguous      1   1x1        1      500.0  [476.6, 523.4]     9    2.000");
    TEST_HAS(text, "allgather  zigzag            4   4x1        1      125.0  [119.1, 130.9]     9    8.000     50.0  "
                   "compute    1.2e-07");
    TEST_HAS(text, "\nVALID: 3 of 3 cases\n");
    TEST_HAS_NOT(text, "Skv");
    TEST_HAS_NOT(text, "~");
    TEST_HAS_NOT(text, "more threads than cores");
    free(text);
    synthetic_release(results);
}

static void test_what_varies_stands_in_rows(void)
{
    const synthetic cases[] = {{.seconds = 0.5}, {.seconds = 2, .seq = 2048}, {.seconds = 1, .input = "real.h5"}};
    attn_results *results = synthetic_make(cases, 3);
    char *text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "B 1, Hq 8, Hkv 2, D 64, causal");
    TEST_HAS(text, "\nS 1024  no input ");
    TEST_HAS(text, "\nS 2048  no input ");
    TEST_HAS(text, "\nS 1024  input real.h5 ");
    TEST_HAS_NOT(text, "S 1024,");
    free(text);
    synthetic_release(results);
}

static void test_unknown_factor_is_shown(void)
{
    const synthetic cases[] = {{.seconds = 0.5}, {.seconds = 2}};
    attn_results *results = synthetic_make(cases, 2);
    char *text;

    attn_attributes_set_text(results->cases[0]->factors, "colour", "red");
    attn_attributes_set_text(results->cases[1]->factors, "colour", "blue");
    text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "\ncolour red ");
    TEST_HAS(text, "\ncolour blue ");
    free(text);
    synthetic_release(results);
}

static void test_digest_is_shown_where_it_tells_cases_apart(void)
{
    const synthetic cases[] = {{.seconds = 0.5, .input = "x.h5"}, {.seconds = 2, .input = "x.h5"}};
    attn_results *results = synthetic_make(cases, 2);
    char *text;

    attn_attributes_set_text(results->cases[0]->factors, "input_digest", "0011");
    attn_attributes_set_text(results->cases[1]->factors, "input_digest", "0011");
    text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);
    TEST_HAS_NOT(text, "digest");
    free(text);
    attn_attributes_set_text(results->cases[1]->factors, "input_digest", "0022");
    text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "\ndigest 0011 ");
    TEST_HAS(text, "\ndigest 0022 ");
    free(text);
    synthetic_release(results);
}

static void test_verdicts(void)
{
    const synthetic cases[] = {{.seconds = 0.5},
                               {.ranks = 2, .seconds = 0.5, .status = ATTN_CASE_INVALID},
                               {.ranks = 3, .status = ATTN_CASE_SKIPPED, .reason = "needs 12 GiB, 8 GiB are free"},
                               {.ranks = 4, .status = ATTN_CASE_INTERRUPTED}};
    attn_results *results = synthetic_make(cases, 4);
    char *text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "2.5e-01  INVALID\n");
    TEST_HAS(
        text,
        "    -  -                  0        -        -  -                -  skipped: needs 12 GiB, 8 GiB are free\n");
    TEST_HAS(text, "interrupted\n");
    TEST_HAS(text, "\nINVALID: 1 of 4 cases; 1 valid; 1 skipped; 1 interrupted\n");
    free(text);
    synthetic_release(results);
}

static void test_marks(void)
{
    const synthetic cases[] = {{.seconds = 0.5, .unsettled = 1},
                               {.ranks = 4, .threads = 2, .seconds = 0.5, .cores = 2}};
    attn_results *results = synthetic_make(cases, 2);
    char *text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);

    TEST_HAS(text, "[476.6, 523.4]~");
    TEST_HAS(text, "\n~ the interval is wider than asked");
    TEST_HAS(text, "       2*      500.0  [476.6, 523.4]  ");
    TEST_HAS(text, "\n* more threads than cores: 8 threads on 2 cores; not a scaling result\n");
    free(text);
    text = synthetic_print(synthetic_cases, results, ATTN_TABLE_CSV);
    TEST_HAS(text, "case,ranks,grid,threads,median ms,interval,reps,GFLOP/s,% bound,bound,max error,verdict\n");
    TEST_HAS(text, ",1,1x1,1,500.0,\"[476.6, 523.4]\",9,2.000,12.5,compute,1.2e-07,\"VALID, not converged\"\n");
    TEST_HAS(text, ",4,4x1,2,500.0,\"[476.6, 523.4]\",9,2.000,12.5,compute,1.2e-07,\"VALID, oversubscribed\"\n");
    TEST_HAS_NOT(text, "~");
    free(text);
    synthetic_release(results);
}

/* Five samples cannot give an interval of 95 %. */
static void test_few_samples_are_marked(void)
{
    const synthetic cases[] = {{.seconds = 0.5}};
    attn_results *results = synthetic_make(cases, 1);
    char *text;

    results->cases[0]->reps = 5;
    text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);
    TEST_HAS(text, "]~");
    free(text);
    synthetic_release(results);
}

/* The metrics that are asked for, in that order, instead of the usual ones. */
static void test_chosen_metrics(void)
{
    const synthetic cases[] = {{.seconds = 0.5}};
    const attn_metric *const chosen[] = {attn_metric_find("tokens"), attn_metric_find("gflops")};
    attn_results *results = synthetic_make(cases, 1);
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    TEST_OK(attn_study_print_cases(results, chosen, 2, ATTN_TABLE_CSV, stream, &attn_test_error));
    fclose(stream);
    TEST_HAS(text, "reps,tokens/s,GFLOP/s,max error");
    TEST_HAS(text, ",9,2048,2.000,1.2e-07,");
    free(text);
    synthetic_release(results);
}

static void test_no_cases(void)
{
    attn_results *results = synthetic_make(NULL, 0);
    char *text = synthetic_print(synthetic_cases, results, ATTN_TABLE_TEXT);

    CU_ASSERT_STRING_EQUAL(text, "no cases\n");
    free(text);
    synthetic_release(results);
}

static void test_line(void)
{
    const synthetic cases[] = {{.ranks = 4, .seconds = 0.125},
                               {.ranks = 2, .status = ATTN_CASE_SKIPPED, .reason = "does not fit"}};
    attn_results *results = synthetic_make(cases, 2);
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    attn_study_print_case_line(results->cases[0], stream);
    attn_study_print_case_line(results->cases[1], stream);
    fclose(stream);
    TEST_HAS(text,
             "S 1024, D 64, causal, kernel portable-avx512, seed 0, strong scaling, allgather, zigzag, 4x1, ranks 4, "
             "threads 1: 125.0 ms [119.1, 130.9], 9 reps, 8.000 GFLOP/s, 50.0 % bound, error 1.2e-07, VALID\n");
    TEST_HAS(text, "ranks 2, threads 1: skipped: does not fit\n");
    free(text);
    synthetic_release(results);
}

static const attn_test tests[] = {
    {"what all cases share is said once", test_common_words_stand_once},
    {"what varies stands in the rows", test_what_varies_stands_in_rows},
    {"a factor of any name is shown", test_unknown_factor_is_shown},
    {"the digest of an input", test_digest_is_shown_where_it_tells_cases_apart},
    {"verdicts and the last line", test_verdicts},
    {"not converged and oversubscribed are marked", test_marks},
    {"too few samples for the interval are marked", test_few_samples_are_marked},
    {"metrics that are asked for", test_chosen_metrics},
    {"no cases", test_no_cases},
    {"one line for one case", test_line},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/cases", tests, sizeof tests / sizeof tests[0]);
}
