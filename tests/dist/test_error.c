/* The error against float64 by number of ranks, though with each more partial results are merged: the same rows are
 * checked for every number, each must be within the tolerance, and no number may have twice the error of one rank (but
 * for ring-q, whose partial results travel without what lse loses to rounding). Rank 0 prints the largest errors
 * in units of eps, 2^-23: of the forward pass, and of the backward one:
 *
 *   ATTN_TEST_SEQ=4096 mpirun -n 16 build/tests/tests/test_dist_error */
#include "harness.h"

#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/random.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEQ = 256, HEADS = 2, WIDTH = 64, ROWS = 256 };

/* Standard normal numbers by their global places. */
static float *make_rows(attn_stream stream, int64_t seq, int64_t head_begin, int64_t heads, const attn_segments *rows)
{
    float *to = malloc((size_t)(heads * rows->rows * WIDTH) * sizeof *to + 1);

    for (int64_t h = 0; h < heads; h++)
        for (int64_t r = 0; r < rows->rows; r++)
            attn_random_fill(1, stream, (uint64_t)(((head_begin + h) * seq + attn_segments_global(rows, r)) * WIDTH),
                             WIDTH, ATTN_FLOAT32, to + (h * rows->rows + r) * WIDTH);
    return to;
}

static float *make_room(int64_t rows)
{
    return malloc((size_t)(rows * WIDTH) * sizeof(float) + 1);
}

/* The same rows for every number of ranks; freed by the caller. */
static attn_row *choose_rows(int64_t seq, int64_t *count)
{
    const int64_t all = HEADS * seq;
    attn_row *rows;

    *count = all < ROWS ? all : ROWS;
    rows = malloc((size_t)*count * sizeof *rows);
    for (int64_t n = 0; n < *count; n++) {
        const int64_t at = n * all / *count;

        rows[n] = (attn_row){0, at / seq, at % seq};
    }
    return rows;
}

typedef struct errors {
    double forward, backward; /* NAN: no such plan */
} errors;

/* This rank's arrays. */
typedef struct arrays {
    float *q, *k, *v, *o, *lse, *d_o, *dq, *dk, *dv;
} arrays;

static arrays make_arrays(const attn_dist *dist)
{
    const attn_part *part = attn_dist_part(dist);
    const int64_t seq = attn_dist_plan(dist)->problem.shape.seq, head = part->head_begin, heads = part->head_count;
    const int64_t kv_head = part->kv_head_begin, kv_heads = part->kv_head_count;

    return (arrays){.q = make_rows(ATTN_STREAM_Q, seq, head, heads, part->q_rows),
                    .k = make_rows(ATTN_STREAM_K, seq, kv_head, kv_heads, part->kv_rows),
                    .v = make_rows(ATTN_STREAM_V, seq, kv_head, kv_heads, part->kv_rows),
                    .d_o = make_rows(ATTN_STREAM_DO, seq, head, heads, part->q_rows),
                    .o = make_room(attn_dist_output_heads(dist) * part->q_rows->rows),
                    .lse = make_room(heads * part->q_rows->rows),
                    .dq = make_room(heads * part->q_rows->rows),
                    .dk = make_room(kv_heads * part->kv_rows->rows),
                    .dv = make_room(kv_heads * part->kv_rows->rows)};
}

static void drop_arrays(arrays *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->o);
    free(a->lse);
    free(a->d_o);
    free(a->dq);
    free(a->dk);
    free(a->dv);
}

static double take(const attn_check *check)
{
    CU_ASSERT(check->valid);
    return check->max_error / attn_dtype_epsilon(ATTN_FLOAT32);
}

/* Collective over comm. */
static errors run_plan(MPI_Comm comm, const attn_plan *plan)
{
    const double eps = attn_dtype_epsilon(ATTN_FLOAT32);
    double seconds[ATTN_PHASE_COUNT];
    errors out = {NAN, NAN};
    attn_dist_buffers forward;
    attn_dist_backward_buffers backward;
    attn_dist *dist;
    attn_check check;
    arrays a;
    int64_t count;
    attn_row *rows = choose_rows(plan->problem.shape.seq, &count);

    TEST_OK(attn_dist_create(comm, plan, &dist, &attn_test_error));
    a = make_arrays(dist);
    forward = (attn_dist_buffers){a.q, a.k, a.v, a.o, a.lse};
    backward = (attn_dist_backward_buffers){a.q, a.k, a.v, a.o, a.lse, a.d_o, a.dq, a.dk, a.dv};
    TEST_OK(attn_dist_forward(dist, &forward, seconds, &attn_test_error));
    TEST_OK(attn_dist_check(dist, &forward, rows, count, eps, &check, &attn_test_error));
    out.forward = take(&check);
    if (plan->pass == ATTN_PASS_BACKWARD) {
        TEST_OK(attn_dist_backward(dist, &backward, seconds, &attn_test_error));
        TEST_OK(attn_dist_check_backward(dist, &backward, rows, count, eps, &check, &attn_test_error));
        out.backward = take(&check);
    }
    drop_arrays(&a);
    free(rows);
    attn_dist_destroy(dist);
    return out;
}

/* Collective over all ranks, of which the first `ranks` work. */
static errors run_exchange(const attn_problem *problem, const attn_exchange *exchange, int ranks)
{
    attn_plan_options options = {.grid = {ranks, 1}, .exchange = exchange, .pass = ATTN_PASS_BACKWARD};
    attn_error error = ATTN_ERROR_INIT;
    errors out = {NAN, NAN};
    attn_plan plan;
    MPI_Comm comm;

    if (attn_plan_make(problem, ranks, &options, &plan, &error) != ATTN_OK) {
        options.pass = ATTN_PASS_FORWARD;
        if (attn_plan_make(problem, ranks, &options, &plan, &error) != ATTN_OK)
            return out;
    }
    MPI_Comm_split(MPI_COMM_WORLD, attn_comm_rank(MPI_COMM_WORLD) < ranks ? 0 : MPI_UNDEFINED, 0, &comm);
    if (comm != MPI_COMM_NULL) {
        out = run_plan(comm, &plan);
        MPI_Comm_free(&comm);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return out;
}

static void print_errors(const errors *of)
{
    if (isnan(of->forward))
        printf(" - |");
    else if (isnan(of->backward))
        printf(" %.2f |", of->forward);
    else
        printf(" %.2f, %.2f |", of->forward, of->backward);
}

static void print_table(const attn_problem *problem)
{
    static const int numbers[] = {1, 2, 3, 4, 6, 8, 12, 16};
    const int size = attn_comm_size(MPI_COMM_WORLD);
    const bool tells = attn_comm_rank(MPI_COMM_WORLD) == 0;

    for (size_t e = 0; e < attn_exchange_count(); e++) {
        const attn_exchange *exchange = attn_exchange_at(e);
        errors one = {NAN, NAN};

        if (exchange == attn_exchange_find("none"))
            continue;
        if (tells)
            printf("| %s, %s |", attn_exchange_name(exchange), problem->mask.causal ? "causal" : "full");
        for (size_t n = 0; n < sizeof numbers / sizeof numbers[0] && numbers[n] <= size; n++) {
            const errors of = run_exchange(problem, exchange, numbers[n]);

            if (n == 0)
                one = of;
            if (tells && !isnan(of.forward) && exchange != attn_exchange_find("ring-q"))
                CU_ASSERT(of.forward <= 2 * one.forward);
            if (tells && !isnan(of.backward))
                CU_ASSERT(of.backward <= 2 * one.backward);
            if (tells)
                print_errors(&of);
        }
        if (tells)
            printf("\n");
    }
}

static void test_error(void)
{
    const char *wish = getenv("ATTN_TEST_SEQ");
    const int64_t seq = wish != NULL ? strtoll(wish, NULL, 10) : SEQ;
    attn_problem problem = attn_problem_init((attn_shape){1, HEADS, HEADS, seq, seq, WIDTH, WIDTH}, ATTN_FLOAT32);

    print_table(&problem);
    problem.mask.causal = true;
    print_table(&problem);
}

static const attn_test tests[] = {
    {"every number of ranks", test_error},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/error", tests, sizeof tests / sizeof tests[0]);
}
