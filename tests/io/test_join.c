/* Many samples: the parts of a long sweep are joined in the memory of one case; the slowest rank of each repetition. */
#include "folder.h"

#include <attn/result.h>

enum { CASES = 12, REPS = 16000, RANKS = 4 };

#if defined(__SANITIZE_ADDRESS__)
#define KEEPS_FREED_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS_FREED_MEMORY 1
#endif
#endif
#ifndef KEEPS_FREED_MEMORY
#define KEEPS_FREED_MEMORY 0
#endif

static const size_t sample_bytes = sizeof(double) * REPS * RANKS * ATTN_PHASE_COUNT;

static attn_result *make_case(int64_t seq)
{
    attn_result *result = NULL;

    TEST_OK(attn_result_create(&result, &attn_test_error));
    attn_attributes_set_integer(result->factors, "seq", seq);
    attn_attributes_id(result->factors, result->id);
    snprintf(result->launch_id, sizeof result->launch_id, "one");
    result->status = ATTN_CASE_VALID;
    result->reps = REPS;
    result->ranks = RANKS;
    result->phases = ATTN_PHASE_COUNT;
    result->samples = malloc(sample_bytes);
    for (int64_t i = 0; i < REPS * RANKS * ATTN_PHASE_COUNT; i++)
        result->samples[i] = (double)(seq * 7 + i);
    return result;
}

static attn_result_writer *open_writer(const char *path)
{
    attn_attributes *environment = NULL;
    attn_result_writer *writer = NULL;

    TEST_OK(attn_attributes_create(&environment, &attn_test_error));
    TEST_OK(attn_result_writer_open(path, true, "one", environment, &writer, &attn_test_error));
    attn_attributes_destroy(environment);
    return writer;
}

static void put(attn_result_writer *writer, int64_t seq)
{
    attn_result *const result = make_case(seq);

    TEST_OK(attn_result_writer_put(writer, result, NULL, 0, &attn_test_error));
    attn_result_destroy(result);
}

/* Most memory that this process has had, in KiB; -1 where the system does not tell. */
static long peak_kib(void)
{
    FILE *const stream = fopen("/proc/self/status", "r");
    char line[256];
    long peak = -1;

    while (stream != NULL && peak < 0 && fgets(line, sizeof line, stream) != NULL)
        sscanf(line, "VmHWM: %ld", &peak);
    if (stream != NULL)
        fclose(stream);
    return peak;
}

/* Forgets the peak before now. */
static int reset_peak(void)
{
    FILE *const stream = fopen("/proc/self/clear_refs", "w");

    return stream != NULL && fputs("5", stream) >= 0 && fclose(stream) == 0;
}

static void expect_all(const char *path, int64_t cases)
{
    attn_results *results = NULL;

    TEST_OK(attn_results_read(&path, 1, &results, &attn_test_error));
    CU_ASSERT_EQUAL_FATAL(results->count, (size_t)cases);
    for (int64_t i = 0; i < cases; i++) {
        attn_result *const want = make_case(i);

        CU_ASSERT_STRING_EQUAL(results->cases[i]->id, want->id);
        CU_ASSERT_EQUAL_FATAL(results->cases[i]->reps, REPS);
        CU_ASSERT_EQUAL(memcmp(results->cases[i]->samples, want->samples, sample_bytes), 0);
        attn_result_destroy(want);
    }
    attn_results_destroy(results);
}

/* Joins; the memory that it took stays far below what the parts have. */
static void join(attn_result_writer *writer)
{
    const int measured = reset_peak() && !KEEPS_FREED_MEMORY;
    const long before = peak_kib();

    TEST_OK(attn_result_writer_close(writer, true, &attn_test_error));
    if (!measured || before < 0)
        attn_test_skip("memory cannot be measured here");
    else
        CU_ASSERT(peak_kib() - before < (long)(CASES * sample_bytes / 3 / 1024));
}

static void grow(void)
{
    char path[PATH_SIZE];
    attn_result_writer *writer = open_writer(folder_path("r.h5", path));

    for (int64_t i = 0; i < CASES; i++)
        put(writer, i);
    join(writer);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    expect_all(path, CASES);
    /* One more: the file, which has most by now, is copied in the same way. */
    writer = open_writer(path);
    put(writer, CASES);
    join(writer);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    expect_all(path, CASES + 1);
}

static void test_memory(void)
{
    folder_make();
    if (test_rank() == 0)
        grow();
    folder_remove();
}

static void test_slowest(void)
{
    double samples[2 * 3 * ATTN_PHASE_COUNT], out[2];
    const attn_result result = {.reps = 2, .ranks = 3, .phases = ATTN_PHASE_COUNT, .samples = samples};

    for (int i = 0; i < 2 * 3 * ATTN_PHASE_COUNT; i++)
        samples[i] = 100; /* other phases do not count */
    for (int rep = 0; rep < 2; rep++)
        for (int rank = 0; rank < 3; rank++)
            samples[(rep * 3 + rank) * ATTN_PHASE_COUNT] = rep == 0 ? rank : 3 - rank;
    attn_result_slowest(&result, out);
    CU_ASSERT_EQUAL(out[0], 2);
    CU_ASSERT_EQUAL(out[1], 3);
    CU_ASSERT_STRING_EQUAL(attn_case_status_name(ATTN_CASE_INTERRUPTED), "interrupted");
}

static const attn_test tests[] = {
    {"joining takes the memory of one case", test_memory},
    {"slowest rank of each repetition", test_slowest},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/join", tests, sizeof tests / sizeof tests[0]);
}
