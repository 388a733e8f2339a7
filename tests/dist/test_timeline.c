/* The timeline of a pass: without gaps or overlaps from its start to its end, the same times as its phases, within its
 * room, of the one pass that was asked for. */
#include "fixture.h"
#include "harness.h"
#include "pass.h"
#include "plans.h"

#include <attn/dist.h>
#include <attn/partition.h>

#include <stdlib.h>
#include <string.h>

enum { ROOM = 1000 };

typedef attn_status one_pass(pass *run, double *seconds);

static attn_status forward(pass *run, double *seconds)
{
    return attn_dist_forward(run->dist, &run->buffers, seconds, &attn_test_error);
}

/* Gradients of a random do, which nobody looks at. */
static attn_status backward(pass *run, double *seconds)
{
    const attn_plan *const plan = attn_dist_plan(run->dist);
    const attn_part *const part = attn_dist_part(run->dist);
    const attn_shape *const s = &plan->problem.shape;
    const size_t size = attn_dtype_size(plan->problem.dtype);
    const int64_t rows = part->q_rows->rows, keys = part->kv_rows->rows;
    void *const d_o = calloc((size_t)fixture_elements(s, part->head_count, rows, s->v_head_dim) + 1, size);
    void *const dq = calloc((size_t)fixture_elements(s, part->head_count, rows, s->head_dim) + 1, size);
    void *const dk = calloc((size_t)fixture_elements(s, part->kv_head_count, keys, s->head_dim) + 1, size);
    void *const dv = calloc((size_t)fixture_elements(s, part->kv_head_count, keys, s->v_head_dim) + 1, size);
    const attn_dist_backward_buffers buffers = {.q = run->q,
                                                .k = run->k,
                                                .v = run->v,
                                                .o = run->buffers.o,
                                                .lse = run->buffers.lse,
                                                .d_o = d_o,
                                                .dq = dq,
                                                .dk = dk,
                                                .dv = dv};
    const attn_status status = attn_dist_backward(run->dist, &buffers, seconds, &attn_test_error);

    free(d_o);
    free(dq);
    free(dk);
    free(dv);
    return status;
}

/* The events of a whole pass. */
static void check_events(const attn_timeline *line, const double *seconds, int64_t rank)
{
    double sums[ATTN_PHASE_COUNT] = {0}, at = 0;
    int wrong = 0;

    CU_ASSERT_EQUAL(line->lost, 0);
    CU_ASSERT_FATAL(line->count > 0);
    for (int64_t i = 0; i < line->count; i++) {
        const attn_event *const event = &line->events[i];

        wrong += event->rank != rank || event->begin != at || event->end < event->begin;
        wrong += event->phase == ATTN_PHASE_TOTAL || (i > 0 && event->phase == event[-1].phase);
        sums[event->phase] += event->end - event->begin;
        at = event->end;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(at, seconds[ATTN_PHASE_TOTAL]);
    for (int phase = ATTN_PHASE_TOTAL + 1; phase < ATTN_PHASE_COUNT; phase++)
        TEST_CLOSE(sums[phase], seconds[phase], 1e-9);
}

/* With less room than events the first of them are there, and the rest is counted. */
static void check_small_room(pass *run, one_pass *make, attn_timeline *line)
{
    double seconds[ATTN_PHASE_COUNT];

    for (line->capacity = 0; line->capacity < 3; line->capacity++) {
        attn_dist_record(run->dist, line);
        line->events[line->capacity].rank = -7;
        TEST_OK(make(run, seconds));
        CU_ASSERT(line->count <= line->capacity);
        CU_ASSERT_EQUAL(line->events[line->capacity].rank, -7);
        CU_ASSERT(line->lost > 0 || line->events[line->count - 1].end == seconds[ATTN_PHASE_TOTAL]);
        CU_ASSERT(line->lost == 0 || line->count == line->capacity);
    }
}

static void check(pass *run, one_pass *make)
{
    const int64_t rank = attn_dist_part(run->dist)->rank;
    attn_timeline line = {.events = calloc(ROOM, sizeof *line.events), .capacity = ROOM, .count = 5, .lost = 5};
    double seconds[ATTN_PHASE_COUNT];
    int64_t count;

    attn_dist_record(run->dist, &line);
    TEST_OK(make(run, seconds));
    check_events(&line, seconds, rank);
    /* The next pass leaves it alone, as does one for which the wish was taken back. */
    count = line.count;
    line.events[0].rank = -7;
    TEST_OK(make(run, seconds));
    attn_dist_record(run->dist, &line);
    attn_dist_record(run->dist, NULL);
    TEST_OK(make(run, seconds));
    CU_ASSERT_EQUAL(line.count, count);
    CU_ASSERT_EQUAL(line.events[0].rank, -7);
    attn_dist_record(run->dist, &line);
    TEST_OK(make(run, seconds));
    check_events(&line, seconds, rank);
    check_small_room(run, make, &line);
    free(line.events);
}

static void visit(const attn_plan *plan, void *context)
{
    attn_dist *dist;
    pass run;

    TEST_OK(attn_dist_create(MPI_COMM_WORLD, plan, &dist, &attn_test_error));
    run = pass_make(context, dist);
    check(&run, forward);
    if (plan->pass == ATTN_PASS_BACKWARD)
        check(&run, backward);
    pass_finish(&run);
}

static void check_plans(attn_pass of)
{
    attn_problem problem = PROBLEM(1, 4, 2, 26, 26, 8, 8, ATTN_FLOAT32);
    fixture f;

    problem.mask.causal = true;
    f = fixture_make(&problem);
    test_plans(&problem, of, visit, &f);
    fixture_drop(&f);
}

static void test_forward(void)
{
    check_plans(ATTN_PASS_FORWARD);
}

static void test_backward(void)
{
    check_plans(ATTN_PASS_BACKWARD);
}

static const attn_test tests[] = {
    {"forward", test_forward},
    {"backward", test_backward},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/timeline", tests, sizeof tests / sizeof tests[0]);
}
