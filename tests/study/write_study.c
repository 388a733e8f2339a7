/* write_study FOLDER: writes result files with known answers into an existing folder, for the tests of the driver. */
#include "study/synthetic.h"

static const char *folder;

/* Writes a file of one launch; the cases' own launch is replaced. */
static void write_file(const char *name, const synthetic *cases, size_t count, const char *cpu)
{
    attn_results *results = synthetic_make(cases, count);
    attn_attributes *environment = NULL;
    attn_result_writer *writer = NULL;
    char path[4096];

    snprintf(path, sizeof path, "%s/%s.h5", folder, name);
    TEST_OK(attn_attributes_create(&environment, &attn_test_error));
    attn_attributes_set_text(environment, "cpu_model", cpu);
    attn_attributes_set_text(environment, "commit", name);
    TEST_OK(attn_result_writer_open(path, false, name, environment, &writer, &attn_test_error));
    for (size_t c = 0; c < count; c++) {
        snprintf(results->cases[c]->launch_id, sizeof results->cases[c]->launch_id, "%s", name);
        TEST_OK(attn_result_writer_put(writer, results->cases[c], NULL, 0, &attn_test_error));
    }
    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    attn_attributes_destroy(environment);
    synthetic_release(results);
}

/* Two cases, in `slower` one of them by 5 %, in `faster` by as much less, in `other` on another processor and with
 * other cases too. */
static void write_comparisons(void)
{
    synthetic cases[3] = {{.seconds = 0.01, .noise = 0.01, .draw = 1},
                          {.seconds = 0.006, .noise = 0.01, .draw = 2, .ranks = 2},
                          {.seq = 2048, .status = ATTN_CASE_SKIPPED, .reason = "does not fit in memory"}};

    write_file("base", cases, 3, "one");
    cases[0].draw = 11;
    cases[1].draw = 12;
    write_file("same", cases, 3, "one");
    cases[1].seconds = 0.006 * 1.05;
    write_file("slower", cases, 3, "one");
    cases[1].seconds = 0.006 * 0.95;
    write_file("faster", cases, 3, "one");
    cases[1].ranks = 4;
    write_file("other", cases, 2, "another");
}

/* A serial part of 5 %. */
static void write_scaling(void)
{
    synthetic cases[5];

    for (size_t i = 0; i < 5; i++) {
        const double ranks = (double)(1 << i);

        cases[i] =
            (synthetic){.ranks = 1 << i, .seconds = 0.05 + 0.95 / ranks, .noise = 0.002, .draw = 100 + i, .reps = 20};
    }
    write_file("scaling", cases, 5, "one");
    write_file("short", cases, 3, "one");
}

static const attn_test tests[] = {
    {"files to compare", write_comparisons},
    {"files of a scaling series", write_scaling},
};

int main(int argc, char **argv)
{
    if (argc != 2)
        return 1;
    folder = argv[1];
    return attn_test_main(argc, argv, "study/write_study", tests, sizeof tests / sizeof tests[0]);
}
