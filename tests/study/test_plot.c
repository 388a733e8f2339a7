/* The picture: it is made whole or not at all, and names of files and series are never taken as commands. */
#include "study/pictures.h"

static const synthetic scaling[] = {
    {.seconds = 1, .cores = 4},
    {.ranks = 2, .seconds = 0.53, .cores = 4},
    {.ranks = 4, .seconds = 0.3, .cores = 4},
    {.ranks = 8, .seconds = 0.29, .cores = 4},
    {.ranks = 2, .seconds = 0.55, .exchange = "ring", .cores = 4},
    {.ranks = 4, .seconds = 0.28, .exchange = "ring", .cores = 4},
    {.ranks = 3, .status = ATTN_CASE_SKIPPED, .reason = "does not fit"},
};
enum { SCALING_COUNT = sizeof scaling / sizeof scaling[0] };

static void test_kinds(void)
{
    static const char *const kinds[][2] = {{"png", "\x89PNG\r\n\x1a\n"}, {"svg", "<?xml"}, {"pdf", "%PDF"}};
    attn_results *results = synthetic_make(scaling, SCALING_COUNT);
    char folder[64], path[128];

    if (!gnuplot_missing()) {
        make_folder(folder);
        for (size_t k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "%s/scaling.%s", folder, kinds[k][0]);
            TEST_OK(attn_study_plot_scaling(results, path, &attn_test_error));
            CU_ASSERT(begins_with(path, kinds[k][1], strlen(kinds[k][1])));
            CU_ASSERT_EQUAL(count_files(folder), 1); /* nothing is left beside it */
            unlink(path);
        }
        rmdir(folder);
    }
    synthetic_release(results);
}

static void test_hostile_names(void)
{
    const synthetic cases[] = {{.seconds = 1, .input = "a'; system 'touch test-plot-harm'; '`touch test-plot-harm`.h5"},
                               {.seconds = 1, .input = "@b \"{c}_d^e\\n\n!touch test-plot-harm\n.h5"}};
    attn_results *results = synthetic_make(cases, 2);
    char folder[64], path[128];

    if (!gnuplot_missing()) {
        make_folder(folder);
        snprintf(path, sizeof path, "%s/a'b`touch test-plot-harm` $(touch test-plot-harm);\"c.png", folder);
        TEST_OK(attn_study_plot_scaling(results, path, &attn_test_error));
        CU_ASSERT(begins_with(path, "\x89PNG", 4));
        CU_ASSERT_NOT_EQUAL(access("test-plot-harm", F_OK), 0);
        unlink(path);
        rmdir(folder);
    }
    synthetic_release(results);
}

static void test_refusals(void)
{
    attn_results *results = synthetic_make(scaling, SCALING_COUNT);
    attn_results *nothing = synthetic_make(&scaling[SCALING_COUNT - 1], 1);
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_study_plot_scaling(results, "scaling.jpg", &error), ATTN_ARGUMENT);
    CU_ASSERT_STRING_EQUAL(error.message, "picture scaling.jpg: a name that ends in .png, .svg or .pdf");
    CU_ASSERT_EQUAL(attn_study_plot_scaling(results, "no/such/folder/scaling.png", &error), ATTN_FILE);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "no/such/folder/scaling.png: "));
    CU_ASSERT_EQUAL(attn_study_plot_scaling(nothing, "scaling.png", &error), ATTN_UNSUPPORTED);
    CU_ASSERT_NOT_EQUAL(access("scaling.png", F_OK), 0);
    synthetic_release(nothing);
    synthetic_release(results);
}

/* A picture that is there already stays when the new one cannot be drawn. */
static void test_without_gnuplot(void)
{
    attn_results *results = synthetic_make(scaling, SCALING_COUNT);
    attn_error error = ATTN_ERROR_INIT;
    const char *old = getenv("PATH");
    char *kept = strdup(old != NULL ? old : "");
    char folder[64], path[128];
    FILE *stream;

    make_folder(folder);
    snprintf(path, sizeof path, "%s/scaling.png", folder);
    stream = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    fputs("old", stream);
    fclose(stream);
    setenv("PATH", folder, 1);
    CU_ASSERT_EQUAL(attn_study_plot_scaling(results, path, &error), ATTN_UNSUPPORTED);
    setenv("PATH", kept, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "install gnuplot"));
    CU_ASSERT(begins_with(path, "old", 3));
    CU_ASSERT_EQUAL(count_files(folder), 1);
    unlink(path);
    rmdir(folder);
    free(kept);
    synthetic_release(results);
}

static const attn_test tests[] = {
    {"PNG, SVG and PDF", test_kinds},
    {"names are text, never commands", test_hostile_names},
    {"what cannot be drawn or written is refused", test_refusals},
    {"without gnuplot", test_without_gnuplot},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/plot", tests, sizeof tests / sizeof tests[0]);
}
