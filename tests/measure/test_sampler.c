/* The sampler with synthetic times: each reason to stop, failures, and ranks that see different times. */
#include "harness.h"

#include <attn/random.h>
#include <attn/sampler.h>

#include <math.h>
#include <omp.h>
#include <string.h>

enum { RANKS = 3, MAX_VALUES = 8 };

/* What the ranks of one team share: one thread is one rank. */
typedef struct team {
    double values[RANKS][MAX_VALUES];
} team;

typedef struct rank {
    team *team; /* NULL: this rank is alone */
    int number;
    double spread;        /* of the logarithm of the times */
    int64_t stop_after;   /* runs after which this rank wants to stop; -1: never */
    int64_t fail_run;     /* the run that fails, from 1 on; 0: none */
    int64_t fail_barrier; /* the same for barriers */
    int64_t fail_max;     /* the same for reductions */
    int64_t runs, barriers, reductions;
    bool in_run; /* the last call was a run: a barrier must follow */
    int64_t out_of_order;
} rank;

static attn_status run(void *context, double *seconds, attn_error *error)
{
    rank *const r = context;

    if (++r->runs == r->fail_run)
        return attn_error_set(error, ATTN_MPI, "run %lld failed", (long long)r->runs);
    r->in_run = true;
    for (int phase = 0; phase < ATTN_PHASE_IMBALANCE_WAIT; phase++)
        seconds[phase] = 100 * phase;
    seconds[ATTN_PHASE_TOTAL] =
        (1 + r->number % 2) *
        exp(r->spread * attn_random_normal(6 + (uint64_t)r->number, ATTN_STREAM_TEST, (uint64_t)r->runs));
    return ATTN_OK;
}

static attn_status barrier(void *context, attn_error *error)
{
    rank *const r = context;

    if (++r->barriers == r->fail_barrier)
        return attn_error_set(error, ATTN_MPI, "barrier %lld failed", (long long)r->barriers);
    r->in_run = false;
    if (r->team != NULL) {
#pragma omp barrier
    }
    return ATTN_OK;
}

static attn_status max(void *context, double *values, int count, attn_error *error)
{
    rank *const r = context;

    if (++r->reductions == r->fail_max)
        return attn_error_set(error, ATTN_MPI, "reduction %lld failed", (long long)r->reductions);
    r->out_of_order += r->runs > 1 && r->in_run;
    if (r->team != NULL) {
        for (int i = 0; i < count && i < MAX_VALUES; i++)
            r->team->values[r->number][i] = values[i];
#pragma omp barrier
        for (int other = 0; other < RANKS; other++)
            for (int i = 0; i < count && i < MAX_VALUES; i++)
                values[i] = fmax(values[i], r->team->values[other][i]);
#pragma omp barrier
    }
    return ATTN_OK;
}

static bool stop(void *context)
{
    const rank *const r = context;

    return r->stop_after >= 0 && r->runs >= r->stop_after;
}

static const rank quiet = {.spread = 0.001, .stop_after = -1};
static const rank noisy = {.spread = 3, .stop_after = -1};

static attn_status sample(const attn_sampler_options *options, rank *r, attn_samples *out, attn_error *error)
{
    const attn_sampler_target target = {.context = r, .run = run, .barrier = barrier, .max = max, .stop = stop};

    return attn_sample(options, &target, out, error);
}

/* What holds of every result. */
static void check_samples(const attn_samples *s, const attn_sampler_options *options)
{
    attn_median again;

    TEST_OK(attn_median_interval(s->slowest, (size_t)s->reps, options->ci, &again, &attn_test_error));
    CU_ASSERT_EQUAL(s->median.count, (size_t)s->reps);
    CU_ASSERT_EQUAL(s->median.median, again.median);
    CU_ASSERT_EQUAL(s->median.lo, again.lo);
    CU_ASSERT_EQUAL(s->median.hi, again.hi);
    CU_ASSERT_EQUAL(s->converged, strcmp(s->stop_reason, "converged") == 0);
    if (s->converged)
        CU_ASSERT(again.reached && (again.hi - again.lo) / 2 <= options->rel_err * again.median);
    for (int64_t i = 0; i < s->reps * ATTN_PHASE_COUNT; i++)
        CU_ASSERT(isfinite(s->seconds[i]) && s->seconds[i] >= 0);
}

static void test_converged(void)
{
    const attn_sampler_options options = attn_sampler_defaults();
    rank r = quiet;
    attn_samples s;

    TEST_OK(sample(&options, &r, &s, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(s.stop_reason, "converged");
    CU_ASSERT_EQUAL(s.reps, 6); /* five values cannot reach 0.95 */
    CU_ASSERT_EQUAL(r.runs, 7); /* with the warm-up */
    CU_ASSERT_EQUAL(r.out_of_order, 0);
    check_samples(&s, &options);
    for (int64_t i = 0; i < s.reps; i++) {
        CU_ASSERT_EQUAL(s.seconds[i * ATTN_PHASE_COUNT + ATTN_PHASE_TOTAL], s.slowest[i]);
        CU_ASSERT_EQUAL(s.seconds[i * ATTN_PHASE_COUNT + ATTN_PHASE_COMBINE], 100 * ATTN_PHASE_COMBINE);
        CU_ASSERT(s.seconds[i * ATTN_PHASE_COUNT + ATTN_PHASE_IMBALANCE_WAIT] < 100);
    }
    attn_samples_release(&s);
    CU_ASSERT_PTR_NULL(s.seconds);
    attn_samples_release(&s);
    attn_samples_release(NULL);
}

/* A wide spread converges too, after many repetitions, and the interval it stops at is the one it reports. */
static void test_converged_late(void)
{
    attn_sampler_options options = attn_sampler_defaults();
    rank r = quiet;
    attn_samples s;

    r.spread = 0.3;
    options.max_reps = 100000;
    options.rel_err = 0.01;
    TEST_OK(sample(&options, &r, &s, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(s.stop_reason, "converged");
    CU_ASSERT(s.reps > 500 && s.reps < 20000);
    check_samples(&s, &options);
    TEST_CLOSE(s.median.median, 1, 0.05);
    attn_samples_release(&s);
}

static void test_max_reps(void)
{
    attn_sampler_options options = attn_sampler_defaults();
    attn_samples s;

    for (int64_t reps = 1; reps <= 40; reps += 13) {
        rank r = noisy;

        options.warmup = reps % 2;
        options.min_reps = 1;
        options.max_reps = reps;
        TEST_OK(sample(&options, &r, &s, &attn_test_error));
        CU_ASSERT_STRING_EQUAL(s.stop_reason, "max-reps");
        CU_ASSERT_EQUAL(s.reps, reps);
        CU_ASSERT_EQUAL(r.runs, reps + options.warmup);
        check_samples(&s, &options);
        attn_samples_release(&s);
    }
}

static void test_max_time(void)
{
    attn_sampler_options options = attn_sampler_defaults();
    rank r = noisy;
    attn_samples s;

    options.max_time = 0;
    options.min_reps = 9;
    TEST_OK(sample(&options, &r, &s, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(s.stop_reason, "max-time");
    CU_ASSERT_EQUAL(s.reps, 9); /* the fewest are made however long they take */
    check_samples(&s, &options);
    attn_samples_release(&s);
}

static void test_interrupted(void)
{
    const attn_sampler_options options = attn_sampler_defaults();
    rank r = noisy;
    attn_samples s;

    r.stop_after = 4;
    TEST_OK(sample(&options, &r, &s, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(s.stop_reason, "interrupted");
    CU_ASSERT_EQUAL(s.reps, 3); /* one of the four runs was the warm-up */
    check_samples(&s, &options);
    attn_samples_release(&s);
}

/* Before any repetition that counts there is nothing to keep. */
static void test_interrupted_early(void)
{
    const attn_sampler_options options = attn_sampler_defaults();

    for (int64_t after = 0; after < 2; after++) {
        attn_error error = ATTN_ERROR_INIT;
        rank r = noisy;
        attn_samples s;

        r.stop_after = after;
        CU_ASSERT_EQUAL(sample(&options, &r, &s, &error), ATTN_INTERRUPTED);
        CU_ASSERT_EQUAL(r.runs, after);
        CU_ASSERT_PTR_NULL(s.seconds);
        CU_ASSERT_STRING_EQUAL(error.message, "interrupted before the first repetition");
    }
}

/* When several reasons hold at once: converged, max-reps, max-time, interrupted. */
static void test_order_of_reasons(void)
{
    attn_sampler_options options = attn_sampler_defaults();
    const char *const want[] = {"converged", "max-reps", "max-time", "interrupted"};

    for (int first = 0; first < 4; first++) {
        rank r = first == 0 ? quiet : noisy;
        attn_samples s;

        r.stop_after = 7;
        options.min_reps = 6;
        options.max_reps = first <= 1 ? 6 : 1000;
        options.max_time = first <= 2 ? 0 : 1000;
        TEST_OK(sample(&options, &r, &s, &attn_test_error));
        CU_ASSERT_STRING_EQUAL(s.stop_reason, want[first]);
        CU_ASSERT_EQUAL(s.reps, 6);
        attn_samples_release(&s);
    }
}

static void test_equal_times(void)
{
    const attn_sampler_options options = attn_sampler_defaults();
    rank r = quiet;
    attn_samples s;

    r.spread = 0;
    TEST_OK(sample(&options, &r, &s, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(s.stop_reason, "converged");
    CU_ASSERT_EQUAL(s.median.lo, s.median.hi);
    attn_samples_release(&s);
}

static void test_no_stop_callback(void)
{
    const attn_sampler_options options = attn_sampler_defaults();
    rank r = quiet;
    const attn_sampler_target target = {.context = &r, .run = run, .barrier = barrier, .max = max};
    attn_samples s;

    TEST_OK(attn_sample(&options, &target, &s, &attn_test_error));
    CU_ASSERT_TRUE(s.converged);
    attn_samples_release(&s);
}

/* Every call that can fail, failing: the status and message come through and nothing is kept. */
static void test_failures(void)
{
    const attn_sampler_options options = attn_sampler_defaults();
    rank clean = quiet;
    attn_samples s;

    TEST_OK(sample(&options, &clean, &s, &attn_test_error));
    attn_samples_release(&s);
    for (int kind = 0; kind < 3; kind++) {
        const int64_t calls = kind == 0 ? clean.runs : kind == 1 ? clean.barriers : clean.reductions;
        const char *const words[] = {"run", "barrier", "reduction"};

        for (int64_t call = 1; call <= calls; call++) {
            attn_error error = ATTN_ERROR_INIT;
            rank r = quiet;

            *(kind == 0 ? &r.fail_run : kind == 1 ? &r.fail_barrier : &r.fail_max) = call;
            CU_ASSERT_EQUAL(sample(&options, &r, &s, &error), ATTN_MPI);
            CU_ASSERT_EQUAL(strncmp(error.message, words[kind], strlen(words[kind])), 0);
            CU_ASSERT(s.seconds == NULL && s.slowest == NULL && s.reps == 0 && s.stop_reason == NULL);
        }
    }
}

static void test_no_memory(void)
{
    attn_sampler_options options = attn_sampler_defaults();
    rank r = quiet;
    attn_samples s;

    options.min_reps = options.max_reps = INT64_MAX / 8;
    CU_ASSERT_EQUAL(sample(&options, &r, &s, NULL), ATTN_MEMORY);
    CU_ASSERT_EQUAL(r.runs, 0);
    CU_ASSERT_PTR_NULL(s.slowest);
}

static void expect(attn_sampler_options options, const char *message)
{
    attn_error error = ATTN_ERROR_INIT;
    rank r = quiet;
    attn_samples s;

    CU_ASSERT_EQUAL(sample(&options, &r, &s, &error), ATTN_ARGUMENT);
    CU_ASSERT_STRING_EQUAL(error.message, message);
    CU_ASSERT_EQUAL(r.barriers + r.runs + r.reductions, 0);
}

static void test_options(void)
{
    const attn_sampler_options good = attn_sampler_defaults();
    attn_sampler_options o = good;

    CU_ASSERT(o.warmup == 1 && o.min_reps == 5 && o.max_reps == 1000 && o.max_time == 10 && o.ci == 0.95 &&
              o.rel_err == 0.02);
    o.warmup = -1;
    expect(o, "warmup -1: must be 0 or more");
    o = good;
    o.min_reps = 0;
    expect(o, "min-reps 0: must be 1 or more");
    o = good;
    o.max_reps = 4;
    expect(o, "max-reps 4: must be 5 (min-reps) or more");
    o = good;
    o.max_time = -1;
    expect(o, "max-time -1: must be 0 seconds or more");
    o = good;
    o.ci = 1;
    expect(o, "ci 1: must be between 0 and 1");
    o = good;
    o.rel_err = 0;
    expect(o, "rel-err 0: must be a positive number");
    o.rel_err = (double)NAN;
    expect(o, "rel-err nan: must be a positive number");
}

/* Ranks with different times and clocks: all end with the same number of repetitions, for the same reason. */
static void sample_as_team(const attn_sampler_options *options, const rank *like, int64_t stop_of_last)
{
    static team shared;
    rank ranks[RANKS];
    attn_samples s[RANKS];
    attn_status status[RANKS];

    for (int i = 0; i < RANKS; i++) {
        ranks[i] = *like;
        ranks[i].team = &shared;
        ranks[i].number = i;
    }
    ranks[RANKS - 1].stop_after = stop_of_last;
    omp_set_dynamic(0);
#pragma omp parallel num_threads(RANKS)
    {
        const int i = omp_get_thread_num();

        status[i] = sample(options, &ranks[i], &s[i], NULL);
    }
    for (int i = 0; i < RANKS; i++) {
        CU_ASSERT_EQUAL_FATAL(status[i], ATTN_OK);
        CU_ASSERT_EQUAL_FATAL(s[i].reps, s[0].reps);
        CU_ASSERT_STRING_EQUAL(s[i].stop_reason, s[0].stop_reason);
        CU_ASSERT_EQUAL(memcmp(s[i].slowest, s[0].slowest, (size_t)s[0].reps * sizeof *s[0].slowest), 0);
        CU_ASSERT_EQUAL(s[i].median.median, s[0].median.median);
        check_samples(&s[i], options);
    }
    for (int64_t rep = 0; rep < s[0].reps; rep++) {
        double slowest = 0;

        for (int i = 0; i < RANKS; i++)
            slowest = fmax(slowest, s[i].seconds[rep * ATTN_PHASE_COUNT]);
        CU_ASSERT_EQUAL(s[0].slowest[rep], slowest);
    }
    CU_ASSERT_NOT_EQUAL(s[0].seconds[0], s[1].seconds[0]);
    for (int i = 0; i < RANKS; i++)
        attn_samples_release(&s[i]);
}

static void test_ranks_agree(void)
{
    attn_sampler_options options = attn_sampler_defaults();
    rank between = quiet;

    sample_as_team(&options, &quiet, -1);
    sample_as_team(&options, &noisy, 30); /* one rank alone is asked to stop */
    between.spread = 0.2;
    options.max_reps = 3000;
    sample_as_team(&options, &between, -1);
    options.max_time = 0.002; /* reached at different moments by the clocks of the ranks */
    options.max_reps = INT64_C(1) << 40;
    sample_as_team(&options, &noisy, -1);
}

static const attn_test tests[] = {
    {"stops when the interval is narrow", test_converged},
    {"stops late when times are spread", test_converged_late},
    {"stops at max-reps", test_max_reps},
    {"stops at max-time, after min-reps", test_max_time},
    {"stops when asked to", test_interrupted},
    {"an interruption before the first repetition", test_interrupted_early},
    {"the order of the reasons", test_order_of_reasons},
    {"equal times", test_equal_times},
    {"no stop callback", test_no_stop_callback},
    {"failing callbacks", test_failures},
    {"no memory", test_no_memory},
    {"options out of range", test_options},
    {"ranks agree", test_ranks_agree},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "measure/sampler", tests, sizeof tests / sizeof tests[0]);
}
