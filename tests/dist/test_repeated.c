/* Both passes of every exchange in every way to transfer that it has, in whole messages and in pieces: the result is
 * that of the definition, and the same bits when it is run again, and is made of the arrays that this pass is given. */
#include "fixture.h"
#include "harness.h"
#include "pass.h"
#include "plans.h"

#include "dist/dist.h"
#include "dist/pieces.h"

#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/random.h>

#include <stdlib.h>
#include <string.h>

/* Results of a backward pass, and their bytes. */
typedef struct gradients {
    void *array[3]; /* dq, dk, dv */
    size_t bytes[3];
} gradients;

static gradients run_backward(const fixture *f, const pass *run, const void *d_o, attn_dist_backward_buffers *buffers)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(run->dist);
    const size_t element = attn_dtype_size(f->problem.dtype);
    const size_t q = (size_t)fixture_elements(s, part->head_count, part->q_rows->rows, s->head_dim) * element;
    const size_t k = (size_t)fixture_elements(s, part->kv_head_count, part->kv_rows->rows, s->head_dim) * element;
    const size_t v = (size_t)fixture_elements(s, part->kv_head_count, part->kv_rows->rows, s->v_head_dim) * element;
    gradients out = {.array = {malloc(q + 1), malloc(k + 1), malloc(v + 1)}, .bytes = {q, k, v}};
    double seconds[ATTN_PHASE_COUNT], sum = 0;

    for (int n = 0; n < 3; n++)
        memset(out.array[n], 0xff, out.bytes[n]); /* NaN */
    *buffers = (attn_dist_backward_buffers){.q = run->q,
                                            .k = run->k,
                                            .v = run->v,
                                            .o = run->buffers.o,
                                            .lse = run->buffers.lse,
                                            .d_o = d_o,
                                            .dq = out.array[0],
                                            .dk = out.array[1],
                                            .dv = out.array[2]};
    TEST_OK(attn_dist_backward(run->dist, buffers, seconds, &attn_test_error));
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++)
        sum += phase == ATTN_PHASE_TOTAL ? 0 : seconds[phase];
    TEST_CLOSE(sum, seconds[ATTN_PHASE_TOTAL], 1e-9); /* the phases leave nothing out */
    return out;
}

static void drop(gradients *of)
{
    for (int n = 0; n < 3; n++)
        free(of->array[n]);
}

static void check_backward(const fixture *f, const pass *run)
{
    const attn_plan *plan = attn_dist_plan(run->dist);
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(run->dist);
    const size_t count = (size_t)fixture_elements(s, part->head_count, part->q_rows->rows, s->v_head_dim);
    void *d_o = malloc(count * sizeof(double) + 1);
    attn_dist_backward_buffers buffers;
    gradients first, second;
    attn_check check;
    attn_row *rows;
    int64_t made;

    attn_random_fill(8, ATTN_STREAM_DO, (uint64_t)(part->rank * 100000), count, f->problem.dtype, d_o);
    first = run_backward(f, run, d_o, &buffers);
    second = run_backward(f, run, d_o, &buffers);
    for (int n = 0; n < 3; n++)
        CU_ASSERT_EQUAL(memcmp(first.array[n], second.array[n], first.bytes[n]), 0);
    TEST_OK(attn_sample_rows(plan, 400, 3, &rows, &made, &attn_test_error));
    TEST_OK(attn_dist_check_backward(run->dist, &buffers, rows, made, attn_dtype_epsilon(f->problem.dtype), &check,
                                     &attn_test_error));
    CU_ASSERT(check.valid);
    drop(&first);
    drop(&second);
    free(rows);
    free(d_o);
}

/* The caller's arrays are others now, and those of the passes before hold NaN. */
static void check_moved(const fixture *f, pass *run)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(run->dist);
    const size_t element = attn_dtype_size(f->problem.dtype);
    pass moved = pass_make(f, run->dist);

    memset(run->q, 0xff, (size_t)fixture_elements(s, part->head_count, part->q_rows->rows, s->head_dim) * element);
    memset(run->k, 0xff, (size_t)fixture_elements(s, part->kv_head_count, part->kv_rows->rows, s->head_dim) * element);
    pass_forward(&moved);
    pass_compare(f, &moved);
    moved.dist = NULL; /* the other one destroys it */
    pass_finish(&moved);
}

static void check_plan(const fixture *f, const attn_plan *plan, int64_t limit)
{
    attn_dist *dist;
    pass run;

    TEST_OK(attn_dist_create_limited(MPI_COMM_WORLD, plan, limit, &dist, &attn_test_error));
    run = pass_make(f, dist);
    pass_forward(&run);
    pass_forward(&run);
    pass_compare(f, &run);
    if (plan->pass == ATTN_PASS_BACKWARD)
        check_backward(f, &run);
    check_moved(f, &run);
    pass_finish(&run);
}

/* The messages of each plan are cut at another length. */
typedef struct visit_context {
    const fixture *f;
    int plans;
} visit_context;

static void visit(const attn_plan *plan, void *context)
{
    static const int64_t limits[] = {ATTN_MESSAGE_BYTES, 100, 2000};
    visit_context *visits = context;

    check_plan(visits->f, plan, limits[visits->plans++ % 3]);
}

static void check_problem(const attn_problem *problem)
{
    fixture f = fixture_make(problem);
    visit_context context = {&f, 0};

    test_plans(problem, ATTN_PASS_FORWARD, visit, &context);
    test_plans(problem, ATTN_PASS_BACKWARD, visit, &context);
    fixture_drop(&f);
}

/* Every exchange on every layout, with one sequence group of all ranks. */
static void check_layouts(const attn_problem *problem)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    fixture f = fixture_make(problem);

    for (size_t e = 0; e < attn_exchange_count(); e++)
        for (size_t l = 0; l < attn_layout_count(); l++) {
            const attn_plan_options options = {.grid = {ranks, 1},
                                               .exchange = attn_exchange_at(e),
                                               .layout = attn_layout_at(l),
                                               .pass = ATTN_PASS_BACKWARD};
            attn_plan plan;

            if (attn_plan_make(problem, ranks, &options, &plan, NULL) == ATTN_OK)
                check_plan(&f, &plan, ATTN_MESSAGE_BYTES);
        }
    fixture_drop(&f);
}

static void test_types(void)
{
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem problem = PROBLEM(2, 6, 3, 37, 41, 9, 6, (attn_dtype)dtype);

        problem.mask.causal = dtype % 2 == 0;
        check_problem(&problem);
    }
}

/* Parts and chunks that some ranks do not see, fewer rows than ranks. */
static void test_masks(void)
{
    static const int64_t kv_len[] = {30, 0, 11};
    attn_problem window = PROBLEM(1, 4, 2, 64, 64, 8, 8, ATTN_FLOAT32);
    attn_problem padding = PROBLEM(3, 4, 2, 17, 30, 8, 8, ATTN_BFLOAT16);
    attn_problem few = PROBLEM(1, 2, 2, 2, 3, 8, 4, ATTN_FLOAT64);

    window.mask.causal = true;
    window.mask.window_left = 5;
    check_problem(&window);
    window.mask.causal = false; /* zigzag: two runs of rows from one neighbour */
    window.mask.window_right = 3;
    check_layouts(&window);
    padding.mask.kv_len = kv_len;
    check_problem(&padding);
    check_problem(&few);
}

static const attn_test tests[] = {
    {"every type", test_types},
    {"masks, few rows", test_masks},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/repeated", tests, sizeof tests / sizeof tests[0]);
}
