/* CSV and JSON of all cases. */
#include "study/synthetic.h"

#include <cjson/cJSON.h>

#include <math.h>

static char *csv(const attn_results *results)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    TEST_OK(attn_study_write_csv(results, stream, &attn_test_error));
    fclose(stream);
    return text;
}

static cJSON *json(const attn_results *results)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    cJSON *root;

    TEST_OK(attn_study_write_json(results, stream, &attn_test_error));
    fclose(stream);
    root = cJSON_Parse(text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(root);
    free(text);
    return root;
}

static void test_csv(void)
{
    const synthetic cases[] = {
        {.seconds = 0.5},
        {.ranks = 2, .status = ATTN_CASE_SKIPPED, .reason = "needs 12 GiB, has \"8\""},
    };
    attn_results *results = synthetic_make(cases, 2);
    char *text = csv(results);
    char id[128];

    TEST_HAS(text, "id,launch_id,status,batch,heads,kv_heads,seq,");
    TEST_HAS(text, ",scaling,reason,flops,");
    TEST_HAS(text,
             ",oversubscribed,reps,median_s,ci_lo_s,ci_hi_s,gflops,bound-percent,fma-percent,memory-bandwidth,tokens,");
    snprintf(id, sizeof id, "\n%s,launch-1,valid,1,8,2,1024,1024,64,64,float32,1,-1,-1,", results->cases[0]->id);
    TEST_HAS(text, id);
    TEST_HAS(text, ",9,0.5,0.4765625,0.5234375,2,12.5,12.5,0.002,2048,,");
    TEST_HAS(text, ",\"needs 12 GiB, has \"\"8\"\"\",1000000000,");
    TEST_HAS(text, ",0,0,,,,,,,");
    free(text);
    synthetic_release(results);
}

/* Every row has as many fields as the first, whatever a case has or lacks. */
static void test_csv_is_rectangular(void)
{
    const synthetic cases[] = {{.seconds = 0.5}, {.ranks = 2, .seconds = 1}, {.ranks = 3}};
    attn_results *results = synthetic_make(cases, 3);
    size_t fields = 0, first = 0, lines = 0;
    char *text;

    attn_attributes_set_text(results->cases[1]->factors, "extra", "only here");
    attn_attributes_set_real(results->cases[2]->outcomes, "another", 0.1);
    text = csv(results);
    for (const char *c = text; *c != '\0'; c++) {
        fields += *c == ',';
        if (*c != '\n')
            continue;
        first = lines == 0 ? fields : first;
        CU_ASSERT_EQUAL(fields, first);
        fields = 0;
        lines++;
    }
    CU_ASSERT_EQUAL(lines, 4);
    TEST_HAS(text, ",extra,");
    TEST_HAS(text, ",only here,");
    free(text);
    synthetic_release(results);
}

/* The first line of the CSV of two cases that have other names each; freed by the caller. */
static char *columns_of(const synthetic *first, const synthetic *second)
{
    const synthetic cases[] = {*first, *second};
    attn_results *results = synthetic_make(cases, 2);
    char *text;

    for (size_t c = 0; c < 2; c++)
        if (cases[c].input != NULL)
            attn_attributes_set_text(results->cases[c]->outcomes, "of_input", "x");
    text = csv(results);
    text[strcspn(text, "\n")] = '\0';
    synthetic_release(results);
    return text;
}

static void test_csv_columns_do_not_depend_on_order(void)
{
    const synthetic one = {.seconds = 0.5, .input = "x.h5"}, other = {.status = ATTN_CASE_SKIPPED, .reason = "no"};
    char *forth = columns_of(&one, &other), *back = columns_of(&other, &one);

    CU_ASSERT_STRING_EQUAL(forth, back);
    free(forth);
    free(back);
}

static const char *text_of(const cJSON *entry, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(entry, name));

    return text != NULL ? text : "";
}

static double number_of(const cJSON *entry, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItem(entry, name));
}

static void test_json_times(void)
{
    const synthetic cases[] = {{.ranks = 4, .seconds = 0.125}};
    const char *name = "attn/forward/float32/B1/Hq8/Hkv2/S1024/D64/causal/kernel:portable-avx512/seed:0/"
                       "strong-scaling/allgather/zigzag/4x1/ranks:4/threads:1";
    attn_results *results = synthetic_make(cases, 1);
    cJSON *root = json(results);
    const cJSON *entries = cJSON_GetObjectItem(root, "benchmarks");
    const cJSON *entry, *median;
    double sum = 0;

    CU_ASSERT_EQUAL_FATAL(cJSON_GetArraySize(entries), 12);
    for (int i = 0; i < 9; i++) {
        entry = cJSON_GetArrayItem(entries, i);
        CU_ASSERT_STRING_EQUAL(text_of(entry, "name"), name);
        CU_ASSERT_STRING_EQUAL(text_of(entry, "run_type"), "iteration");
        CU_ASSERT_STRING_EQUAL(text_of(entry, "time_unit"), "ms");
        CU_ASSERT_EQUAL(number_of(entry, "repetition_index"), i);
        CU_ASSERT_EQUAL(number_of(entry, "repetitions"), 9);
        CU_ASSERT_EQUAL(number_of(entry, "ranks"), 4);
        sum += number_of(entry, "real_time");
    }
    TEST_CLOSE(sum / 9, 125, 1e-12);
    CU_ASSERT_STRING_EQUAL(text_of(cJSON_GetArrayItem(entries, 9), "aggregate_name"), "mean");
    TEST_CLOSE(number_of(cJSON_GetArrayItem(entries, 9), "real_time"), 125, 1e-12);
    median = cJSON_GetArrayItem(entries, 10);
    CU_ASSERT_STRING_EQUAL(text_of(median, "aggregate_name"), "median");
    CU_ASSERT_STRING_EQUAL(text_of(median, "run_name"), name);
    CU_ASSERT_EQUAL(strlen(text_of(median, "name")), strlen(name) + strlen("_median"));
    CU_ASSERT_EQUAL(number_of(median, "real_time"), 125);
    CU_ASSERT_EQUAL(number_of(median, "GFLOP/s"), 8);
    CU_ASSERT_EQUAL(number_of(median, "% bound"), 50);
    CU_ASSERT_EQUAL(number_of(median, "tokens/s"), 8192);
    CU_ASSERT_EQUAL(number_of(median, "ci_hi"), 125 * SYNTHETIC_HI);
    entry = cJSON_GetArrayItem(entries, 11);
    CU_ASSERT_STRING_EQUAL(text_of(entry, "aggregate_name"), "stddev");
    TEST_CLOSE(number_of(entry, "real_time"), 125 * sqrt(7.5) / 64, 1e-12); /* 2 (1 + 4 + 9 + 16) / 8 = 7.5 */
    cJSON_Delete(root);
    synthetic_release(results);
}

static void test_json_is_valid_with_odd_values(void)
{
    const synthetic cases[] = {{.seconds = 0.5, .input = "a \"b\"\\c/d.h5"},
                               {.ranks = 2, .seconds = 0.5, .status = ATTN_CASE_INVALID, .reason = "max error \"nan\""},
                               {.ranks = 3, .status = ATTN_CASE_SKIPPED, .reason = "line\nbreak\ttab"}};
    attn_results *results = synthetic_make(cases, 3);
    cJSON *root;
    const cJSON *entries, *last;

    attn_attributes_set_real(results->cases[0]->outcomes, "max_error", NAN);
    attn_attributes_set_real(results->cases[0]->outcomes, "max_score", INFINITY);
    attn_attributes_set_real(results->cases[0]->outcomes, "flops", INFINITY);
    root = json(results);
    entries = cJSON_GetObjectItem(root, "benchmarks");
    CU_ASSERT_EQUAL_FATAL(cJSON_GetArraySize(entries), 14);
    CU_ASSERT_PTR_NULL(cJSON_GetObjectItem(cJSON_GetArrayItem(entries, 10), "max_error"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text_of(cJSON_GetArrayItem(entries, 0), "name"), "/input:a-\"b\"\\c_d.h5/"));
    last = cJSON_GetArrayItem(entries, 12);
    CU_ASSERT(cJSON_IsTrue(cJSON_GetObjectItem(last, "error_occurred")));
    CU_ASSERT_STRING_EQUAL(text_of(last, "error_message"), "INVALID: max error \"nan\"");
    CU_ASSERT_EQUAL(number_of(last, "real_time"), 0); /* the time of a wrong result is not a result */
    last = cJSON_GetArrayItem(entries, 13);
    CU_ASSERT(cJSON_IsTrue(cJSON_GetObjectItem(last, "skipped")));
    CU_ASSERT_STRING_EQUAL(text_of(last, "skip_message"), "skipped: line\nbreak\ttab");
    cJSON_Delete(root);
    synthetic_release(results);
}

static void test_json_names_differ(void)
{
    const synthetic cases[] = {{.seconds = 1},
                               {.seconds = 1, .seq = 2048},
                               {.seconds = 1, .input = "x"},
                               {.seconds = 1, .ranks = 2},
                               {.seconds = 1, .threads = 2},
                               {.seconds = 1, .scaling = "weak-seq"}};
    attn_results *results = synthetic_make(cases, 6);
    cJSON *root = json(results);
    const cJSON *entries = cJSON_GetObjectItem(root, "benchmarks");

    CU_ASSERT_EQUAL_FATAL(cJSON_GetArraySize(entries), 72);
    for (int i = 0; i < 72; i += 12)
        for (int j = 0; j < i; j += 12)
            CU_ASSERT_STRING_NOT_EQUAL(text_of(cJSON_GetArrayItem(entries, i), "name"),
                                       text_of(cJSON_GetArrayItem(entries, j), "name"));
    cJSON_Delete(root);
    synthetic_release(results);
}

static void test_json_context(void)
{
    attn_results *results = synthetic_make(NULL, 0);
    attn_attributes *environment = NULL;
    cJSON *root = json(results);
    const cJSON *context;

    CU_ASSERT_EQUAL(cJSON_GetArraySize(cJSON_GetObjectItem(root, "benchmarks")), 0);
    cJSON_Delete(root);
    TEST_OK(attn_attributes_create(&environment, &attn_test_error));
    attn_attributes_set_text(environment, "launch_id", "a");
    attn_attributes_set_text(environment, "hostname", "node7");
    attn_attributes_set_text(environment, "build_type", "Release");
    attn_attributes_set_integer(environment, "cpus", 96);
    attn_attributes_set_real(environment, "load_1min", 0.25);
    results->environments = &environment;
    results->environment_count = 1;
    root = json(results);
    context = cJSON_GetObjectItem(root, "context");
    CU_ASSERT_STRING_EQUAL(text_of(context, "host_name"), "node7");
    CU_ASSERT_STRING_EQUAL(text_of(context, "library_build_type"), "release");
    CU_ASSERT_EQUAL(number_of(context, "num_cpus"), 96);
    CU_ASSERT_EQUAL(cJSON_GetArraySize(cJSON_GetObjectItem(context, "load_avg")), 1);
    CU_ASSERT_EQUAL(cJSON_GetArraySize(cJSON_GetObjectItem(context, "launches")), 1);
    cJSON_Delete(root);
    attn_attributes_destroy(environment);
    synthetic_release(results);
}

static const attn_test tests[] = {
    {"CSV: every factor and outcome, quoted", test_csv},
    {"CSV: cases of different columns", test_csv_is_rectangular},
    {"the columns of the CSV", test_csv_columns_do_not_depend_on_order},
    {"JSON: iterations and aggregates", test_json_times},
    {"JSON: valid whatever the values", test_json_is_valid_with_odd_values},
    {"JSON: different cases have different names", test_json_names_differ},
    {"JSON: context", test_json_context},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/export", tests, sizeof tests / sizeof tests[0]);
}
