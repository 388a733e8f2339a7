/* Bits of results: the same from run to run whenever messages arrive, and of deterministic plans for every number of
 * ranks. Ranks are made late by sleeping at random before MPI calls, which are wrapped. */
#include "harness.h"
#include "pass.h"
#include "plans.h"

#include <attn/comm.h>
#include <attn/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Late ranks ---- */

static struct {
    bool on;
    uint64_t calls;
    long slept;
} late;

static void sleep_for(int64_t microseconds)
{
    const struct timespec time = {.tv_sec = 0, .tv_nsec = (long)microseconds * 1000};

    nanosleep(&time, NULL);
    late.slept++;
}

static void be_late(void)
{
    enum { ONE_IN = 8, MOST = 300 };
    const uint64_t seed = (uint64_t)attn_comm_rank(MPI_COMM_WORLD) + 1;

    if (late.on && attn_random_below(seed, ATTN_STREAM_TEST, late.calls++, ONE_IN) == 0)
        sleep_for(attn_random_below(seed, ATTN_STREAM_TEST, late.calls++, MOST));
}

#define LATE(name, parameters, arguments)                                                                              \
    int name parameters                                                                                                \
    {                                                                                                                  \
        be_late();                                                                                                     \
        return P##name arguments;                                                                                      \
    }

LATE(MPI_Send, (const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm),
     (data, count, type, to, tag, comm))
LATE(MPI_Isend, (const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request),
     (data, count, type, to, tag, comm, request))
LATE(MPI_Irecv, (void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request),
     (data, count, type, from, tag, comm, request))
LATE(MPI_Start, (MPI_Request * request), (request))
LATE(MPI_Waitall, (int count, MPI_Request *requests, MPI_Status *statuses), (count, requests, statuses))
LATE(MPI_Testall, (int count, MPI_Request *requests, int *done, MPI_Status *statuses),
     (count, requests, done, statuses))
LATE(MPI_Test, (MPI_Request * request, int *done, MPI_Status *status), (request, done, status))
LATE(MPI_Barrier, (MPI_Comm comm), (comm))
LATE(MPI_Ibarrier, (MPI_Comm comm, MPI_Request *request), (comm, request))
LATE(MPI_Bcast, (void *data, int count, MPI_Datatype type, int root, MPI_Comm comm), (data, count, type, root, comm))
LATE(MPI_Allgatherv,
     (const void *data, int count, MPI_Datatype type, void *got, const int *counts, const int *places,
      MPI_Datatype got_type, MPI_Comm comm),
     (data, count, type, got, counts, places, got_type, comm))
LATE(MPI_Iallgatherv,
     (const void *data, int count, MPI_Datatype type, void *got, const int *counts, const int *places,
      MPI_Datatype got_type, MPI_Comm comm, MPI_Request *request),
     (data, count, type, got, counts, places, got_type, comm, request))
LATE(MPI_Alltoallv,
     (const void *data, const int *counts, const int *places, MPI_Datatype type, void *got, const int *got_counts,
      const int *got_places, MPI_Datatype got_type, MPI_Comm comm),
     (data, counts, places, type, got, got_counts, got_places, got_type, comm))
LATE(MPI_Ialltoallv,
     (const void *data, const int *counts, const int *places, MPI_Datatype type, void *got, const int *got_counts,
      const int *got_places, MPI_Datatype got_type, MPI_Comm comm, MPI_Request *request),
     (data, counts, places, type, got, got_counts, got_places, got_type, comm, request))

/* ---- From run to run ---- */

static pass run_passes(const fixture *f, const attn_plan *plan)
{
    attn_dist *dist;
    pass run;

    TEST_OK(attn_dist_create(MPI_COMM_WORLD, plan, &dist, &attn_test_error));
    run = pass_make(f, dist);
    for (int n = 0; n < 2; n++) {
        if (late.on && attn_random_below(1, ATTN_STREAM_TEST, late.calls, attn_comm_size(MPI_COMM_WORLD)) ==
                           attn_comm_rank(MPI_COMM_WORLD))
            sleep_for(2000);
        pass_forward(&run);
        if (plan->pass == ATTN_PASS_BACKWARD)
            pass_backward(f, &run);
    }
    return run;
}

static void visit(const attn_plan *plan, void *context)
{
    const fixture *f = context;
    pass punctual = run_passes(f, plan), delayed;

    late.on = true;
    delayed = run_passes(f, plan);
    late.on = false;
    CU_ASSERT(pass_same(f, &punctual, &delayed));
    pass_finish(&punctual);
    pass_finish(&delayed);
}

static void test_runs(void)
{
    static const int64_t kv_len[] = {40, 13};
    attn_problem causal = PROBLEM(2, 6, 3, 37, 45, 9, 6, ATTN_FLOAT32);
    attn_problem padded = PROBLEM(2, 4, 2, 29, 40, 8, 8, ATTN_BFLOAT16);
    attn_problem *const problems[] = {&causal, &padded};

    causal.mask.causal = true;
    causal.dropout = 0.2;
    padded.mask.kv_len = kv_len;
    for (int n = 0; n < 2; n++) {
        fixture f = fixture_make(problems[n]);

        fixture_solve_gradients(&f);
        test_plans(problems[n], ATTN_PASS_FORWARD, visit, &f);
        test_plans(problems[n], ATTN_PASS_BACKWARD, visit, &f);
        fixture_drop(&f);
    }
    CU_ASSERT(late.slept > 0);
}

/* ---- For every number of ranks ---- */

/* A sum over all elements of what each has at its place in the whole array: whoever holds it. */
static uint64_t digest(const attn_shape *s, const void *array, size_t element, int64_t heads, int64_t width,
                       int64_t head_begin, int64_t skipped, int64_t count, int64_t all_heads, int64_t seq,
                       const attn_segments *rows)
{
    uint64_t sum = 0;

    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < count; h++)
            for (int64_t r = 0; r < rows->rows; r++)
                for (int64_t d = 0; d < width; d++) {
                    const int64_t here = ((b * heads + skipped + h) * rows->rows + r) * width + d;
                    const int64_t place =
                        ((b * all_heads + head_begin + h) * seq + attn_segments_global(rows, r)) * width + d;
                    uint64_t bits = 0;

                    memcpy(&bits, (const char *)array + (size_t)here * element, element);
                    sum += attn_random_bits(bits, ATTN_STREAM_TEST, (uint64_t)place);
                }
    return sum;
}

/* Digests of o, lse, dq, dk and dv of all ranks. */
typedef struct digests {
    uint64_t of[5];
} digests;

static digests digest_pass(const fixture *f, const pass *run, MPI_Comm comm)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(run->dist);
    const size_t element = attn_dtype_size(f->problem.dtype);
    const size_t sum_element = attn_dtype_size(attn_dtype_accumulator(f->problem.dtype));
    const int64_t heads = part->head_count, kv_heads = part->kv_head_count;
    digests mine = {{0}}, all;

    mine.of[0] =
        digest(s, run->buffers.o, element, attn_dist_output_heads(run->dist), s->v_head_dim, part->head_begin,
               part->head_begin - attn_dist_output_head_begin(run->dist), heads, s->heads, s->seq, part->q_rows);
    mine.of[1] =
        digest(s, run->buffers.lse, sum_element, heads, 1, part->head_begin, 0, heads, s->heads, s->seq, part->q_rows);
    if (run->d_o != NULL) { /* no key-value head is on two ranks */
        mine.of[2] = digest(s, run->backward.dq, element, heads, s->head_dim, part->head_begin, 0, heads, s->heads,
                            s->seq, part->q_rows);
        mine.of[3] = digest(s, run->backward.dk, element, kv_heads, s->head_dim, part->kv_head_begin, 0, kv_heads,
                            s->kv_heads, s->kv_seq, part->kv_rows);
        mine.of[4] = digest(s, run->backward.dv, element, kv_heads, s->v_head_dim, part->kv_head_begin, 0, kv_heads,
                            s->kv_heads, s->kv_seq, part->kv_rows);
    }
    MPI_Allreduce(mine.of, all.of, 5, MPI_UINT64_T, MPI_SUM, comm);
    return all;
}

/* What is compared: the digests of one rank, and how many plans had the same. */
typedef struct comparison {
    const fixture *f;
    const attn_kernel *kernel;
    attn_pass pass;
    digests alone;
    int plans, split;
} comparison;

/* Collective over the first `ranks` ranks. */
static digests run_on(const fixture *f, const attn_plan *plan)
{
    MPI_Comm comm;
    attn_dist *dist;
    digests of = {{0}};

    MPI_Comm_split(MPI_COMM_WORLD, attn_comm_rank(MPI_COMM_WORLD) < plan->ranks ? 0 : MPI_UNDEFINED, 0, &comm);
    if (comm != MPI_COMM_NULL) {
        pass run;

        TEST_OK(attn_dist_create(comm, plan, &dist, &attn_test_error));
        run = pass_make(f, dist);
        pass_forward(&run);
        if (plan->pass == ATTN_PASS_BACKWARD)
            pass_backward(f, &run);
        of = digest_pass(f, &run, comm);
        pass_finish(&run);
        MPI_Comm_free(&comm);
    }
    MPI_Bcast(of.of, 5, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    return of;
}

static void compare_ranks(comparison *c, const attn_plan_options *options, int ranks)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_plan plan;
    digests of;

    if (attn_plan_make(&c->f->problem, ranks, options, &plan, &error) != ATTN_OK) {
        CU_ASSERT(error.status == ATTN_UNSUPPORTED && error.message[0] != '\0');
        return;
    }
    of = run_on(c->f, &plan);
    c->plans++;
    c->split += plan.grid.seq > 1;
    if (memcmp(&of, &c->alone, sizeof of) != 0 && attn_comm_rank(MPI_COMM_WORLD) == 0)
        fprintf(stderr, "other bits: %d ranks, grid %dx%d, %s, %s, %s, %d threads\n", ranks, plan.grid.seq,
                plan.grid.head, attn_exchange_name(plan.exchange), attn_kernel_name(plan.kernel),
                attn_dtype_name(c->f->problem.dtype), plan.threads);
    CU_ASSERT_EQUAL(memcmp(&of, &c->alone, sizeof of), 0);
}

/* One rank beside all of them: the launches with 2, 3, 4 and 6 ranks have the same one. */
static void compare_kernel(comparison *c)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    attn_plan_options options = {.kernel = c->kernel, .pass = c->pass, .deterministic = true};
    attn_plan plan;

    TEST_OK(attn_plan_make(&c->f->problem, 1, &options, &plan, &attn_test_error));
    c->alone = run_on(c->f, &plan);
    for (options.threads = 1; options.threads <= 2; options.threads++) {
        options.exchange = NULL;
        options.grid = (attn_grid){0, 0};
        compare_ranks(c, &options, ranks);
        for (size_t e = 0; e < attn_exchange_count(); e++)
            for (options.grid.head = 1; options.grid.head <= ranks; options.grid.head++) {
                options.exchange = attn_exchange_at(e);
                options.grid.seq = ranks / options.grid.head;
                if (options.grid.seq * options.grid.head == ranks)
                    compare_ranks(c, &options, ranks);
            }
    }
}

/* Returns how many plans of a split sequence there were. */
static int compare_problem(const attn_problem *problem, attn_pass way)
{
    fixture f = fixture_make(problem);
    int split = 0;

    if (way == ATTN_PASS_BACKWARD)
        fixture_solve_gradients(&f);
    for (size_t k = 0; k < attn_kernel_count(); k++) {
        comparison c = {.f = &f, .kernel = attn_kernel_at(k), .pass = way};

        if (!attn_kernel_computes(c.kernel, way, problem, NULL, 0))
            continue;
        compare_kernel(&c);
        CU_ASSERT(way == ATTN_PASS_BACKWARD || c.plans >= 2);
        split += c.split;
    }
    fixture_drop(&f);
    return split;
}

/* Key blocks of 128 and 256 in parts for 2, 3 and 6 ranks, rows that are no multiple of anything. */
static void test_ranks(void)
{
    static const int64_t kv_len[] = {700};
    double slopes[6], sinks[] = {1, -2, 0.5, 3, 0, 0};
    const bool several = attn_comm_size(MPI_COMM_WORLD) > 1;

    attn_alibi_slopes(6, slopes);
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem causal = PROBLEM(1, 6, 3, 53, 1536, 9, 6, (attn_dtype)dtype);
        attn_problem scores = PROBLEM(1, 6, 2, 13, 768, 8, 8, (attn_dtype)dtype);
        attn_problem long_causal = PROBLEM(1, 1, 1, 400, 768, 16, 16, (attn_dtype)dtype);

        causal.mask.causal = long_causal.mask.causal = true;
        scores.mask.kv_len = kv_len;
        scores.score.alibi_slopes = slopes;
        scores.score.sinks = sinks;
        scores.dropout = dtype == ATTN_FLOAT32 ? 0.1 : 0;
        CU_ASSERT(compare_problem(&causal, ATTN_PASS_FORWARD) > 0 || !several);
        CU_ASSERT(compare_problem(&scores, ATTN_PASS_FORWARD) > 0 || !several);
        if (dtype == ATTN_FLOAT32 || dtype == ATTN_BFLOAT16)
            CU_ASSERT(compare_problem(&long_causal, ATTN_PASS_FORWARD) > 0 || !several);
        causal.shape.kv_seq = 150;
        compare_problem(&causal, ATTN_PASS_BACKWARD);
    }
}

static const attn_test tests[] = {
    {"from run to run", test_runs},
    {"for every number of ranks", test_ranks},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/bits", tests, sizeof tests / sizeof tests[0]);
}
