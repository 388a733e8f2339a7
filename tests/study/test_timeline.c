/* Timelines: the picture and the trace have every phase of every rank, and what is left out is said. */
#include "study/pictures.h"

#include <cjson/cJSON.h>

static const synthetic cases[] = {
    {.seconds = 0.5, .ranks = 4, .exchange = "ring"},
    {.seconds = 0.4, .ranks = 4},
    {.ranks = 3, .status = ATTN_CASE_SKIPPED, .reason = "does not fit"},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0], WAITS = 3, STEPS = 4, EVENTS = 2 * STEPS + 1 };

/* Each rank computes and waits in turn, then waits for the others; times of a case are `factor` times as long. */
static void add_timeline(attn_result *result, double factor)
{
    result->timeline = calloc((size_t)(result->ranks * EVENTS), sizeof *result->timeline);
    for (int64_t rank = 0; rank < result->ranks; rank++) {
        double at = 0;

        for (int i = 0; i < EVENTS; i++) {
            const double length = factor * (double)(i % 2 == 0 ? 10 + rank : WAITS);
            const attn_phase phase = i % 2 == 1        ? ATTN_PHASE_EXCHANGE_WAIT
                                     : i == EVENTS - 1 ? ATTN_PHASE_IMBALANCE_WAIT
                                                       : ATTN_PHASE_COMPUTE;

            result->timeline[result->events++] =
                (attn_event){.rank = rank, .phase = phase, .begin = at, .end = at + length};
            at += length;
        }
    }
}

static attn_results *make_results(double first, double second)
{
    attn_results *const results = synthetic_make(cases, CASE_COUNT);

    if (first > 0)
        add_timeline(results->cases[0], first);
    if (second > 0)
        add_timeline(results->cases[1], second);
    return results;
}

/* ---- Trace ---- */

static char *write_trace(const attn_results *results)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    TEST_OK(attn_study_write_trace(results, stream, &attn_test_error));
    fclose(stream);
    return text;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const char *const text = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));

    return text != NULL ? text : "";
}

static double number_of(const cJSON *object, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItem(object, name));
}

/* Time of a phase of a rank, in us; -1 where an event is not as it should be. */
static double sum_of(const cJSON *events, int process, int rank, const char *phase)
{
    double sum = 0;

    for (int i = 0; i < cJSON_GetArraySize(events); i++) {
        const cJSON *const event = cJSON_GetArrayItem(events, i);

        if (strcmp(text_of(event, "ph"), "X") != 0 || (int)number_of(event, "pid") != process ||
            (int)number_of(event, "tid") != rank || strcmp(text_of(event, "name"), phase) != 0)
            continue;
        if (!(number_of(event, "ts") >= 0 && number_of(event, "dur") > 0))
            return -1;
        sum += number_of(event, "dur");
    }
    return sum;
}

static const char *name_of(const cJSON *events, const char *kind, int process, int rank)
{
    for (int i = 0; i < cJSON_GetArraySize(events); i++) {
        const cJSON *const event = cJSON_GetArrayItem(events, i);

        if (strcmp(text_of(event, "ph"), "M") == 0 && strcmp(text_of(event, "name"), kind) == 0 &&
            (int)number_of(event, "pid") == process && (int)number_of(event, "tid") == rank)
            return text_of(cJSON_GetObjectItem(event, "args"), "name");
    }
    return "";
}

static void test_trace(void)
{
    attn_results *results = make_results(1e-3, 2e-5);
    char *text = write_trace(results);
    cJSON *root = cJSON_Parse(text);
    const cJSON *events = cJSON_GetObjectItem(root, "traceEvents");
    int complete = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(events);
    for (int i = 0; i < cJSON_GetArraySize(events); i++)
        complete += strcmp(text_of(cJSON_GetArrayItem(events, i), "ph"), "X") == 0;
    CU_ASSERT_EQUAL(complete, 2 * 4 * EVENTS);
    for (int process = 1; process <= 2; process++)
        for (int rank = 0; rank < 4; rank++) {
            const double factor = 1e6 * (process == 1 ? 1e-3 : 2e-5);
            char name[32];

            TEST_CLOSE(sum_of(events, process, rank, "compute"), factor * STEPS * (10 + rank), 1e-9);
            TEST_CLOSE(sum_of(events, process, rank, "exchange-wait"), factor * STEPS * WAITS, 1e-9);
            TEST_CLOSE(sum_of(events, process, rank, "imbalance-wait"), factor * (10 + rank), 1e-9);
            snprintf(name, sizeof name, "rank %d", rank);
            CU_ASSERT_STRING_EQUAL(name_of(events, "thread_name", process, rank), name);
        }
    CU_ASSERT_STRING_EQUAL(name_of(events, "process_name", 1, 0), "ring");
    CU_ASSERT_STRING_EQUAL(name_of(events, "process_name", 2, 0), "allgather");
    TEST_HAS(text_of(cJSON_GetObjectItem(root, "otherData"), "cases"), "S 1024");
    cJSON_Delete(root);
    free(text);
    synthetic_release(results);
}

/* A case alone is named in full; what was not recorded is said; a second launch of a case is not taken. */
static void test_trace_of_one(void)
{
    attn_results *results = make_results(1e-3, 0);
    char *text;

    results->cases[0]->events_lost = 12;
    strcpy(results->cases[1]->id, results->cases[0]->id);
    add_timeline(results->cases[1], 1);
    text = write_trace(results);
    TEST_HAS(text, "ring");
    TEST_HAS(text, "(12 events not recorded)");
    TEST_HAS_NOT(text, "\"pid\":2");
    free(text);
    synthetic_release(results);
}

/* ---- Picture ---- */

static char *draw(const attn_results *results, const char *folder)
{
    char path[128], *text = calloc(1, 1 << 22);
    FILE *file;

    snprintf(path, sizeof path, "%s/timeline.svg", folder);
    TEST_OK(attn_study_plot_timeline(results, path, &attn_test_error));
    CU_ASSERT_EQUAL(count_files(folder), 1);
    file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT(fread(text, 1, (1 << 22) - 1, file) > 0);
    fclose(file);
    unlink(path);
    return text;
}

static void test_picture(void)
{
    attn_results *results = make_results(1e-3, 2e-3);
    char folder[64], *text;

    if (!gnuplot_missing()) {
        make_folder(folder);
        text = draw(results, folder);
        TEST_HAS(text, "time since the rank started, ms");
        TEST_HAS(text, ">ring<");
        TEST_HAS(text, ">allgather<");
        TEST_HAS(text, ">exchange-wait<");
        TEST_HAS(text, ">imbalance-wait<");
        TEST_HAS_NOT(text, ">merge<"); /* of which there is none */
        TEST_HAS_NOT(text, "Time axes differ");
        TEST_HAS_NOT(text, "Not drawn");
        free(text);
        rmdir(folder);
    }
    synthetic_release(results);
}

static void test_picture_says_what_is_missing(void)
{
    synthetic many[9];
    attn_results *results;
    char folder[64], *text;

    for (int i = 0; i < 9; i++)
        many[i] = (synthetic){.seconds = 2e-5, .seq = 100 * (i + 1), .ranks = i == 5 ? 70 : 2};
    results = synthetic_make(many, 9);
    for (int i = 0; i < 9; i++)
        add_timeline(results->cases[i], i == 0 ? 1e-7 : 1e-6);
    results->cases[3]->events_lost = 5;
    if (!gnuplot_missing()) {
        make_folder(folder);
        text = draw(results, folder);
        TEST_HAS(text, "time since the rank started, µs");
        TEST_HAS(text,
                 "Time axes differ. Not drawn: 3 further cases. Not drawn: ranks from 64 on. Not recorded: 5 events");
        TEST_HAS(text, ">S 600");
        TEST_HAS_NOT(text, ">S 700");
        free(text);
        rmdir(folder);
    }
    synthetic_release(results);
}

static void test_refusals(void)
{
    attn_results *without = make_results(0, 0), *with = make_results(1, 0);
    attn_error error = ATTN_ERROR_INIT;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    TEST_OK(attn_study_check_timelines(with, &attn_test_error));
    CU_ASSERT_EQUAL(attn_study_check_timelines(without, &error), ATTN_UNSUPPORTED);
    TEST_HAS(error.message, "none of the cases has a timeline; run stores one");
    CU_ASSERT_EQUAL(attn_study_plot_timeline(without, "timeline.png", &error), ATTN_UNSUPPORTED);
    CU_ASSERT_NOT_EQUAL(access("timeline.png", F_OK), 0);
    CU_ASSERT_EQUAL(attn_study_write_trace(without, stream, &error), ATTN_UNSUPPORTED);
    fclose(stream);
    CU_ASSERT_EQUAL(size, 0);
    CU_ASSERT_EQUAL(attn_study_plot_timeline(with, "timeline.gif", &error), ATTN_ARGUMENT);
    free(text);
    synthetic_release(without);
    synthetic_release(with);
}

static const attn_test tests[] = {
    {"a trace has all times", test_trace},
    {"a trace of one case", test_trace_of_one},
    {"the picture names cases and phases", test_picture},
    {"the picture says what it lacks", test_picture_says_what_is_missing},
    {"without a timeline nothing is written", test_refusals},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "study/timeline", tests, sizeof tests / sizeof tests[0]);
}
