/* Every row of the table of probes runs, and tells plausible numbers. How large they are is not asserted. */
#include "harness.h"

#include "measure/probe.h"

#include <math.h>
#include <omp.h>
#include <string.h>
#include <time.h>

static attn_probe_setup quick(int threads)
{
    return (attn_probe_setup){.threads = threads, .seconds = 0.005, .processes = 2, .memory = 1 << 22};
}

static void test_every_probe_runs(void)
{
    for (size_t i = 0; i < attn_probe_count(); i++) {
        const attn_probe *probe = attn_probe_at(i);
        char reason[128] = "";

        if (!attn_probe_available(probe, reason, sizeof reason)) {
            attn_probe_result made;

            printf("%s: %s\n", attn_probe_name(probe), reason);
            CU_ASSERT_PTR_NOT_NULL(strstr(reason, attn_probe_needs(probe)));
            CU_ASSERT_EQUAL(attn_probe_run(probe, &(attn_probe_setup){1, 0.01, 1, 1e6}, &made, NULL), ATTN_UNSUPPORTED);
            continue;
        }
        for (int threads = 1; threads <= 3; threads++) {
            const attn_probe_setup setup = quick(threads);
            attn_probe_result made = {.rounds = 0};

            TEST_OK(attn_probe_run(probe, &setup, &made, &attn_test_error));
            CU_ASSERT(isfinite(made.best) && made.best > 0);
            CU_ASSERT(made.median > 0 && made.median <= made.best);
            CU_ASSERT(made.mean > 0 && made.mean <= made.best * (1 + 1e-12));
            CU_ASSERT(made.rounds >= 3);
        }
    }
}

static void test_words(void)
{
    for (size_t i = 0; i < attn_probe_count(); i++) {
        const attn_probe *probe = attn_probe_at(i);

        CU_ASSERT_PTR_EQUAL(attn_probe_find(attn_probe_name(probe)), probe); /* so names differ */
        CU_ASSERT_EQUAL(strcspn(attn_probe_name(probe), "|<, "), strlen(attn_probe_name(probe)));
        CU_ASSERT(strlen(attn_probe_summary(probe)) > 0 && strlen(attn_probe_unit(probe)) > 0);
    }
    CU_ASSERT_PTR_NULL(attn_probe_find("nosuchprobe"));
}

/* There is a peak for each type, in the type of its sums. */
static void test_peaks(void)
{
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        const attn_probe *peak = attn_probe_peak((attn_dtype)dtype);

        CU_ASSERT_PTR_EQUAL(peak, attn_probe_peak(attn_dtype_accumulator((attn_dtype)dtype)));
        CU_ASSERT(attn_probe_available(peak, NULL, 0));
        CU_ASSERT_STRING_EQUAL(attn_probe_unit(peak), "FLOP/s");
        CU_ASSERT_PTR_NOT_NULL(strstr(attn_probe_name(peak), dtype == ATTN_FLOAT64 ? "float64" : "float32"));
    }
}

/* Threads that OpenMP does not grant are an answer, not a wrong number. */
static void test_threads_that_are_not_granted(void)
{
    const attn_probe_setup setup = quick(omp_get_thread_limit() < 1 << 20 ? omp_get_thread_limit() + 1 : 2);
    attn_probe_result made = {.best = -1};
    attn_error error = ATTN_ERROR_INIT;
    attn_status status = ATTN_OK;

    omp_set_max_active_levels(1);
#pragma omp parallel num_threads(2) /* inside a team no other one is granted */
    {
#pragma omp master
        status = attn_probe_run(attn_probe_peak(ATTN_FLOAT32), &setup, &made, &error);
    }
    CU_ASSERT_EQUAL(status, ATTN_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "OpenMP grants 1 here"));
    CU_ASSERT_EQUAL(made.best, -1);
}

typedef struct disturbance {
    int64_t passes; /* of the longest round so far */
    volatile double sum;
} disturbance;

/* A little work behind a long wait, as where others use the processor. */
static void wait_and_work(void *context, int thread, int64_t passes)
{
    const struct timespec wait = {0, 1000000};
    disturbance *seen = context;

    (void)thread;
    nanosleep(&wait, NULL);
    for (int64_t n = 0; n < 10 * passes; n++)
        seen->sum += 1;
    seen->passes = passes > seen->passes ? passes : seen->passes;
}

/* A round that is long because it was disturbed is not taken for a long one. */
static void test_disturbed_rounds(void)
{
    disturbance seen = {0, 0};
    const attn_probe_work work = {&seen, wait_and_work, 1};
    const attn_probe_setup setup = quick(1);
    attn_probe_result made;

    TEST_OK(attn_probe_time(&work, &setup, &made, &attn_test_error));
    CU_ASSERT(seen.passes >= 1000);
}

/* Buffers keep to the memory that they are given, and say how they stand to the caches. */
static void test_read_keeps_to_its_memory(void)
{
    const attn_probe_setup setup = quick(2);
    attn_probe_result made = {.rounds = 0};

    TEST_OK(attn_probe_run(attn_probe_find("read-bandwidth"), &setup, &made, &attn_test_error));
    CU_ASSERT_PTR_NOT_NULL(strstr(made.remark, "buffers 0.00781 GiB")); /* two processes of 4 MiB */
}

static const attn_test tests[] = {
    {"every probe runs", test_every_probe_runs},
    {"names and words", test_words},
    {"a peak for every type", test_peaks},
    {"threads that are not granted", test_threads_that_are_not_granted},
    {"rounds that were disturbed", test_disturbed_rounds},
    {"the read probe keeps to its memory", test_read_keeps_to_its_memory},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "measure/probe", tests, sizeof tests / sizeof tests[0]);
}
