/* Random problems through random plans, forward and backward, against the definition in float64, the same on all ranks.
 * What fails is shrunk to a small trial, and printed with the command that repeats it.
 *
 *   ATTN_TEST_PROBLEMS=200   so many problems
 *   ATTN_TEST_SEED=5         from this seed on
 *   ATTN_TEST_PLANS=pairs    each problem through plans that have every pair of choices; all: through all plans
 *   ATTN_TEST_TRIAL="..."    this one alone, as it was printed */
#include "harness.h"
#include "pass.h"
#include "plans.h"
#include "trial.h"

#include <attn/comm.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROBLEMS = 20, PLANS = 3, SHRUNK_MOST = 3 };

/* The trial under way, for the message when the process is ended by it. */
static char current[TRIAL_LINE_MAX + 64];
static bool telling; /* on one rank */

static void tell_trial(int number)
{
    if (telling && current[0] != '\0' && write(STDERR_FILENO, current, strlen(current)) < 0)
        current[0] = '\0';
    signal(number, SIG_DFL);
    raise(number);
}

static void set_current(const trial *t)
{
    char line[TRIAL_LINE_MAX];

    trial_write(t, line);
    telling = attn_comm_rank(MPI_COMM_WORLD) == 0;
    snprintf(current, sizeof current, "ended in ATTN_TEST_TRIAL=\"%s\"\n", line);
}

static double agree(double error)
{
    double most;

    MPI_Allreduce(&error, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
}

static double backward_error(const fixture *f, pass *run)
{
    const attn_plan *plan = attn_dist_plan(run->dist);
    attn_check check = {0};
    attn_row *rows;
    int64_t count;

    pass_backward(f, run);
    TEST_OK(attn_sample_rows(plan, INT64_C(1) << 20, 0, &rows, &count, &attn_test_error));
    TEST_OK(attn_dist_check_backward(run->dist, &run->backward, rows, count, attn_dtype_epsilon(f->problem.dtype),
                                     &check, &attn_test_error));
    free(rows);
    return fmax(pass_gradient_error(f, run), check.max_error / check.tolerance);
}

/* Collective. The largest error of a plan over what is accepted, on all ranks: above 1 is wrong. */
static double plan_error(const fixture *f, const attn_plan *plan)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_dist *dist;
    double most;
    pass run;

    if (attn_dist_create(MPI_COMM_WORLD, plan, &dist, &error) != ATTN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return INFINITY;
    }
    run = pass_make(f, dist);
    pass_forward(&run);
    most = pass_error(f, &run);
    if (plan->pass == ATTN_PASS_BACKWARD)
        most = fmax(most, backward_error(f, &run));
    most = agree(most);
    pass_finish(&run);
    return most;
}

/* Collective. False where it cannot be planned. */
static bool fails(const trial *t, void *context)
{
    double *error = context;
    trial_problem p;
    attn_plan plan;
    fixture f;

    trial_make_problem(t, &p);
    if (!trial_make_plan(t, &p.problem, attn_comm_size(MPI_COMM_WORLD), &plan))
        return false;
    set_current(t);
    f = fixture_make(&p.problem);
    if (plan.pass == ATTN_PASS_BACKWARD)
        fixture_solve_gradients(&f);
    *error = plan_error(&f, &plan);
    fixture_drop(&f);
    return *error > 1;
}

static void report(const char *what, const trial *t, double error)
{
    char line[TRIAL_LINE_MAX];

    trial_write(t, line);
    if (attn_comm_rank(MPI_COMM_WORLD) == 0)
        fprintf(stderr,
                "%s, error %.3g times the tolerance: mpirun -n %d env ATTN_TEST_TRIAL=\"%s\" test_dist_random\n", what,
                error, attn_comm_size(MPI_COMM_WORLD), line);
}

/* A problem that goes through plans. */
typedef struct problem_run {
    trial drawn;
    fixture f;
    int failed, shrunk;
    long plans[ATTN_PASS_COUNT];
    double largest; /* error over tolerance, of what passed */
} problem_run;

static void try_plan(const attn_plan *plan, void *context)
{
    problem_run *run = context;
    trial t = run->drawn;
    double error;

    trial_set_plan(&t, plan);
    set_current(&t);
    run->plans[plan->pass]++;
    error = plan_error(&run->f, plan);
    if (!(error > 1)) {
        run->largest = fmax(run->largest, error);
        return;
    }
    run->failed++;
    report("failed", &t, error);
    if (run->shrunk++ < SHRUNK_MOST) {
        double at_end = error;

        t = trial_shrink(&t, plan->ranks, fails, &at_end);
        fails(&t, &at_end);
        report("  shrunk", &t, at_end);
    }
}

static void try_problem(problem_run *run, uint64_t seed)
{
    const char *plans = getenv("ATTN_TEST_PLANS");
    trial_problem p;

    run->drawn = trial_draw(seed);
    trial_make_problem(&run->drawn, &p);
    run->f = fixture_make(&p.problem);
    fixture_solve_gradients(&run->f);
    for (int way = ATTN_PASS_FORWARD; way <= ATTN_PASS_BACKWARD; way++)
        if (plans != NULL && strcmp(plans, "each") != 0) { /* that is for short stages: random ones are fewer still */
            test_plans(&p.problem, (attn_pass)way, try_plan, run);
        } else {
            for (uint64_t n = 0; n < PLANS; n++) {
                const attn_plan plan =
                    test_plan_draw(&p.problem, (attn_pass)way, (seed * ATTN_PASS_COUNT + (uint64_t)way) * PLANS + n);

                try_plan(&plan, run);
            }
        }
    fixture_drop(&run->f);
    current[0] = '\0';
}

static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtol(text, NULL, 10) : otherwise;
}

static void test_random(void)
{
    const long problems = getenv("ATTN_TEST_TRIAL") != NULL ? 0 : number("ATTN_TEST_PROBLEMS", PROBLEMS);
    const long first = number("ATTN_TEST_SEED", 1);
    problem_run run = {.failed = 0};

    for (long n = 0; n < problems; n++)
        try_problem(&run, (uint64_t)(first + n));
    if (attn_comm_rank(MPI_COMM_WORLD) == 0)
        printf("%ld problems from seed %ld on, %ld plans forward, %ld backward: %d failed; largest error of the others "
               "%.3g of the tolerance\n",
               problems, first, run.plans[ATTN_PASS_FORWARD], run.plans[ATTN_PASS_BACKWARD], run.failed, run.largest);
    CU_ASSERT_EQUAL(run.failed, 0);
}

static void test_named(void)
{
    const char *line = getenv("ATTN_TEST_TRIAL");
    double error = 0;
    trial t;

    if (line == NULL)
        return;
    CU_ASSERT_FATAL(trial_read(line, &t));
    CU_ASSERT_FALSE(fails(&t, &error));
    report("tried", &t, error);
    current[0] = '\0';
}

/* What is printed is what is read, and a failure that one number decides is shrunk to it. */
static bool many_keys(const trial *t, void *context)
{
    (void)context;
    return t->at[TRIAL_kv_seq] >= 3 && t->at[TRIAL_causal];
}

static void test_shrinking(void)
{
    int found = 0;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        const trial t = trial_draw(seed);
        char line[TRIAL_LINE_MAX];
        trial read, least;

        trial_write(&t, line);
        CU_ASSERT(trial_read(line, &read) && memcmp(&t, &read, sizeof t) == 0);
        if (!many_keys(&t, NULL))
            continue;
        found++;
        least = trial_shrink(&t, 1, many_keys, NULL);
        trial_write(&least, line);
        CU_ASSERT_STRING_EQUAL(line, "kv_seq=3 causal=1");
    }
    CU_ASSERT(found > 20);
}

static const attn_test tests[] = {
    {"drawing and shrinking", test_shrinking},
    {"random problems", test_random},
    {"one that was printed", test_named},
};

int main(int argc, char **argv)
{
    static const int ends[] = {SIGSEGV, SIGABRT, SIGFPE, SIGTERM, SIGINT};

    for (size_t n = 0; n < sizeof ends / sizeof ends[0]; n++)
        signal(ends[n], tell_trial);
    return attn_test_main(argc, argv, "dist/random", tests, sizeof tests / sizeof tests[0]);
}
