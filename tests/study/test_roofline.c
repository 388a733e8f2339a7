/* The roofline: what its picture says, how many cases it can tell apart, and what it refuses. */
#include "study/pictures.h"

static const synthetic cases[] = {
    {.seconds = 0.5},
    {.seconds = 0.25, .ranks = 2},
    {.seconds = 0.3, .seq = 2048, .flops = 4e9},
    {.ranks = 3, .status = ATTN_CASE_SKIPPED, .reason = "does not fit"},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

/* All of a file; freed by the caller. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

static char *draw(const attn_results *results, const char *folder)
{
    char path[128], *text;

    snprintf(path, sizeof path, "%s/roofline.svg", folder);
    TEST_OK(attn_study_plot_roofline(results, path, &attn_test_error));
    text = read_text(path);
    unlink(path);
    return text;
}

static void test_kinds(void)
{
    static const char *const kinds[][2] = {{"png", "\x89PNG\r\n\x1a\n"}, {"svg", "<?xml"}, {"pdf", "%PDF"}};
    attn_results *results = synthetic_make(cases, CASE_COUNT);
    char folder[64], path[128];

    if (!gnuplot_missing()) {
        make_folder(folder);
        for (size_t k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "%s/roofline.%s", folder, kinds[k][0]);
            TEST_OK(attn_study_plot_roofline(results, path, &attn_test_error));
            CU_ASSERT(begins_with(path, kinds[k][1], strlen(kinds[k][1])));
            CU_ASSERT_EQUAL(count_files(folder), 1);
            unlink(path);
        }
        rmdir(folder);
    }
    synthetic_release(results);
}

/* Roofs of one rank and of two, each once; every valid case has its number and name. */
static void test_words(void)
{
    attn_results *results = synthetic_make(cases, CASE_COUNT);
    char folder[64];

    if (!gnuplot_missing()) {
        char *text;

        make_folder(folder);
        text = draw(results, folder);
        TEST_HAS(text, "fma-float32-avx512, 1 rank x 1 thread: 16 GFLOP/s");
        TEST_HAS(text, "fma-float32-avx512, 2 ranks x 1 thread: 16 GFLOP/s");
        TEST_HAS(text, "read bandwidth 8 GB/s");
        TEST_HAS(text, "1: S 1024");
        TEST_HAS(text, "3: S 2048");
        TEST_HAS_NOT(text, "4: ");
        free(text);
        rmdir(folder);
    }
    synthetic_release(results);
}

/* Without a bandwidth there are peaks alone; cases of an older version that have no peak are left out. */
static void test_missing_outcomes(void)
{
    attn_results *results = synthetic_make(cases, 1);
    attn_results *nothing = synthetic_make(&cases[CASE_COUNT - 1], 1);
    attn_error error = ATTN_ERROR_INIT;
    char folder[64];

    attn_attributes_set_real(results->cases[0]->outcomes, "read_bandwidth", 0);
    if (!gnuplot_missing()) {
        char *text;

        make_folder(folder);
        text = draw(results, folder);
        TEST_HAS(text, "fma-float32-avx512, 1 rank x 1 thread");
        TEST_HAS_NOT(text, "read bandwidth");
        free(text);
        rmdir(folder);
    }
    attn_attributes_set_real(results->cases[0]->outcomes, "compute_peak", 0);
    CU_ASSERT_EQUAL(attn_study_plot_roofline(results, "roofline.png", &error), ATTN_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "nothing to draw"));
    CU_ASSERT_EQUAL(attn_study_plot_roofline(nothing, "roofline.png", &error), ATTN_UNSUPPORTED);
    CU_ASSERT_EQUAL(attn_study_plot_roofline(results, "roofline.jpg", &error), ATTN_ARGUMENT);
    CU_ASSERT_NOT_EQUAL(access("roofline.png", F_OK), 0);
    synthetic_release(nothing);
    synthetic_release(results);
}

/* More cases than anybody could tell apart by numbers are told apart by their kernels. */
static void test_many(void)
{
    synthetic many[30];
    attn_results *results;
    char folder[64];

    for (int i = 0; i < 30; i++)
        many[i] = (synthetic){.seconds = 1.0 / (i + 1), .seq = 100 * (i + 1)};
    results = synthetic_make(many, 30);
    for (size_t c = 20; c < 30; c++)
        attn_attributes_set_text(results->cases[c]->factors, "kernel", "another");
    if (!gnuplot_missing()) {
        char *text;

        make_folder(folder);
        text = draw(results, folder);
        TEST_HAS(text, "portable-avx512, float32");
        TEST_HAS(text, "another, float32");
        TEST_HAS_NOT(text, "1: ");
        free(text);
        rmdir(folder);
    }
    synthetic_release(results);
}

static const attn_test tests[] = {
    {"PNG, SVG and PDF", test_kinds},
    {"roofs and cases are named", test_words},
    {"without bandwidth, without peaks", test_missing_outcomes},
    {"many cases", test_many},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/roofline", tests, sizeof tests / sizeof tests[0]);
}
