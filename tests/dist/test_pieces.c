/* Large amounts in pieces: with limits far below the real one small data take the same way. The calls are counted. */
#include "fixture.h"
#include "harness.h"
#include "pass.h"

#include "dist/dist.h"
#include "dist/exchange.h"
#include "dist/pieces.h"

#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/partition.h>

#include <stdlib.h>
#include <string.h>

/* ---- Counted calls ---- */

static struct {
    int64_t calls, largest; /* bytes that this rank handed over in one call */
} counted;

static void count_call(int count, MPI_Datatype type)
{
    int size = 0;

    MPI_Type_size(type, &size);
    counted.calls++;
    if ((int64_t)count * size > counted.largest)
        counted.largest = (int64_t)count * size;
}

int MPI_Allgatherv(const void *from, int count, MPI_Datatype type, void *to, const int *counts, const int *places,
                   MPI_Datatype types, MPI_Comm comm)
{
    if (from == MPI_IN_PLACE)
        count_call(counts[attn_comm_rank(comm)], types);
    else
        count_call(count, type);
    return PMPI_Allgatherv(from, count, type, to, counts, places, types, comm);
}

/* What goes to all others together. */
int MPI_Alltoallv(const void *from, const int *counts, const int *places, MPI_Datatype type, void *to,
                  const int *got_counts, const int *got_places, MPI_Datatype types, MPI_Comm comm)
{
    int sent = 0;

    for (int r = 0; r < attn_comm_size(comm); r++)
        sent += r == attn_comm_rank(comm) ? 0 : counts[r];
    count_call(sent, type);
    return PMPI_Alltoallv(from, counts, places, type, to, got_counts, got_places, types, comm);
}

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    count_call(count, type);
    return PMPI_Bcast(data, count, type, root, comm);
}

int MPI_Send(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    count_call(count, type);
    return PMPI_Send(data, count, type, to, tag, comm);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    count_call(count, type);
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

int MPI_Send_init(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    count_call(count, type);
    return PMPI_Send_init(data, count, type, to, tag, comm, request);
}

int MPI_Rput(const void *data, int count, MPI_Datatype type, int to, MPI_Aint place, int put_count,
             MPI_Datatype put_type, MPI_Win window, MPI_Request *request)
{
    count_call(count, type);
    return PMPI_Rput(data, count, type, to, place, put_count, put_type, window, request);
}

int MPI_Allreduce(const void *from, void *to, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    count_call(count, type);
    return PMPI_Allreduce(from, to, count, type, op, comm);
}

static void count_from_here(void)
{
    memset(&counted, 0, sizeof counted);
}

/* ---- Reductions, broadcasts, gathers ---- */

static void test_collectives(void)
{
    enum { COUNT = 100 };
    static const int64_t limits[] = {8, 24, 56, 792, 800, 808};
    const int rank = attn_comm_rank(MPI_COMM_WORLD), size = attn_comm_size(MPI_COMM_WORLD);
    double *const all = malloc(sizeof(double) * COUNT * (size_t)size);

    for (size_t l = 0; l < sizeof limits / sizeof limits[0]; l++) {
        const int64_t pieces = (COUNT * 8 - 1) / limits[l] + 1;
        double values[COUNT], sums[COUNT];

        for (int i = 0; i < COUNT; i++)
            values[i] = sums[i] = 1000 * rank + i;
        count_from_here();
        TEST_OK(attn_comm_sum_limited(MPI_COMM_WORLD, sums, COUNT, limits[l], &attn_test_error));
        CU_ASSERT_EQUAL(counted.calls, pieces);
        CU_ASSERT(counted.largest <= limits[l]);
        for (int i = 0; i < COUNT; i++)
            CU_ASSERT_EQUAL(sums[i], 500 * size * (size - 1) + size * i);
        count_from_here();
        TEST_OK(attn_comm_gather_limited(MPI_COMM_WORLD, values, COUNT, all, limits[l], &attn_test_error));
        CU_ASSERT_EQUAL(counted.calls, rank > 0 ? pieces : 0);
        for (int n = 0; rank == 0 && n < COUNT * size; n++)
            CU_ASSERT_EQUAL(all[n], 1000 * (n / COUNT) + n % COUNT);
        count_from_here();
        TEST_OK(
            attn_comm_broadcast_limited(MPI_COMM_WORLD, size - 1, values, sizeof values, limits[l], &attn_test_error));
        CU_ASSERT_EQUAL(counted.calls, pieces);
        for (int i = 0; i < COUNT; i++)
            CU_ASSERT_EQUAL(values[i], 1000 * (size - 1) + i);
    }
    count_from_here();
    TEST_OK(attn_comm_sum_limited(MPI_COMM_WORLD, NULL, 0, 8, &attn_test_error));
    TEST_OK(attn_comm_broadcast_limited(MPI_COMM_WORLD, 0, NULL, 0, 8, &attn_test_error));
    TEST_OK(attn_comm_gather_limited(MPI_COMM_WORLD, NULL, 0, NULL, 8, &attn_test_error));
    CU_ASSERT_EQUAL(counted.calls, 0);
    free(all);
}

/* ---- Exchange and combine ---- */

/* An array [B,heads,seq,width] whose elements are their own numbers. */
static float *numbered(int64_t batch, int64_t heads, int64_t seq, int64_t width)
{
    const int64_t count = batch * heads * seq * width;
    float *const array = malloc((size_t)count * sizeof *array);

    for (int64_t i = 0; i < count; i++)
        array[i] = (float)i;
    return array;
}

/* What this rank has, and its communicators. */
typedef struct place {
    attn_plan plan;
    attn_part *part;
    MPI_Comm seq_comm, head_comm;
} place;

static place place_make(const attn_problem *problem, int heads, const attn_layout *layout)
{
    const int rank = attn_comm_rank(MPI_COMM_WORLD), ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_plan_options options = {.grid = {.seq = ranks / heads, .head = heads},
                                       .exchange = attn_exchange_find("allgather"),
                                       .combine = attn_combine_find("allgather"),
                                       .layout = layout};
    place here = {.part = NULL};

    TEST_OK(attn_plan_make(problem, ranks, &options, &here.plan, &attn_test_error));
    TEST_OK(attn_part_create(problem, here.plan.grid, layout, rank, &here.part, &attn_test_error));
    MPI_Comm_split(MPI_COMM_WORLD, rank % heads, rank / heads, &here.seq_comm);
    MPI_Comm_split(MPI_COMM_WORLD, rank / heads, rank % heads, &here.head_comm);
    return here;
}

static void place_drop(place *here)
{
    MPI_Comm_free(&here->seq_comm);
    MPI_Comm_free(&here->head_comm);
    attn_part_destroy(here->part);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void check_combine(const place *here, const float *o, int64_t limit)
{
    const attn_shape *s = &here->plan.problem.shape;
    const attn_part *part = here->part;
    const attn_group group = {.comm = here->head_comm, .plan = &here->plan, .part = part, .message_bytes = limit};
    const attn_combine_ops *ops = here->plan.combine->ops;
    const int64_t rows = part->q_rows->rows;
    const size_t head_bytes = (size_t)(rows * s->v_head_dim) * sizeof(float);
    const size_t bytes = (size_t)(s->batch * s->heads) * head_bytes;
    void *const want = fixture_cut(s, ATTN_FLOAT32, o, s->heads, s->seq, s->v_head_dim, 0, s->heads, part->q_rows);
    char *const got = malloc(bytes + 1);
    attn_combine_state *state = NULL;

    /* Its own heads alone; the others are NaN. */
    memset(got, 0xff, bytes);
    for (int64_t b = 0; b < s->batch; b++) {
        const size_t first = (size_t)(b * s->heads + part->head_begin) * head_bytes;

        memcpy(got + first, (char *)want + first, (size_t)part->head_count * head_bytes);
    }
    TEST_OK(ops->create(&group, &state, &attn_test_error));
    count_from_here();
    TEST_OK(ops->run(state, got, &attn_test_error));
    CU_ASSERT(counted.largest <= larger(limit, s->batch * part->head_count * s->v_head_dim * (int64_t)sizeof(float)));
    if (limit == 1 && here->plan.grid.head > 1)
        CU_ASSERT_EQUAL(counted.calls, rows);
    CU_ASSERT_EQUAL(memcmp(got, want, bytes), 0);
    ops->destroy(state);
    free(got);
    free(want);
}

static void check_shape(const attn_problem *problem)
{
    static const int64_t limits[] = {1, 100, 333, 2000, ATTN_MESSAGE_BYTES};
    const attn_shape *s = &problem->shape;
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    float *const o = numbered(s->batch, s->heads, s->seq, s->v_head_dim);

    for (int heads = 1; heads <= ranks; heads++)
        for (size_t n = 0; ranks % heads == 0 && n < attn_layout_count(); n++) {
            place here = place_make(problem, heads, attn_layout_at(n));

            for (size_t l = 0; l < sizeof limits / sizeof limits[0]; l++)
                check_combine(&here, o, limits[l]);
            place_drop(&here);
        }
    free(o);
}

/* An exchange whose messages are cut: none is longer than the limit or than a row of all heads, and the result is that
 * of the definition. */
static void check_exchange(const fixture *f, const attn_plan *plan, int64_t limit)
{
    const attn_shape *s = &f->problem.shape;
    attn_dist *dist;
    pass run;

    TEST_OK(attn_dist_create_limited(MPI_COMM_WORLD, plan, limit, &dist, &attn_test_error));
    run = pass_make(f, dist);
    count_from_here();
    pass_forward(&run);
    CU_ASSERT(counted.largest <= larger(limit, s->batch * attn_dist_part(dist)->kv_head_count *
                                                   larger(s->head_dim, s->v_head_dim) * (int64_t)sizeof(float)));
    pass_compare(f, &run);
    pass_finish(&run);
}

static void test_exchanges(void)
{
    static const int64_t limits[] = {8, 100, 333, 2000};
    attn_problem problems[] = {PROBLEM(2, 6, 3, 37, 41, 5, 3, ATTN_FLOAT32),
                               PROBLEM(1, 2, 2, 4, 3, 7, 2, ATTN_FLOAT32)};
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    for (size_t n = 0; n < sizeof problems / sizeof problems[0]; n++) {
        fixture f = fixture_make(&problems[n]);

        for (size_t e = 0; e < attn_exchange_count(); e++)
            for (int t = 0; t < ATTN_TRANSFER_COUNT; t++)
                for (size_t l = 0; l < sizeof limits / sizeof limits[0]; l++) {
                    const attn_plan_options options = {.grid = {ranks, 1},
                                                       .exchange = attn_exchange_at(e),
                                                       .transfer = (attn_transfer)t,
                                                       .layout = attn_layout_at(l % attn_layout_count()),
                                                       .combine = attn_combine_find("none")};
                    attn_plan plan;

                    if (attn_plan_make(&problems[n], ranks, &options, &plan, NULL) == ATTN_OK)
                        check_exchange(&f, &plan, limits[l]);
                }
        fixture_drop(&f);
    }
}

static void test_combine(void)
{
    /* Remainders; more ranks than heads and than rows. */
    const attn_problem problems[] = {PROBLEM(2, 6, 3, 37, 41, 5, 3, ATTN_FLOAT32),
                                     PROBLEM(1, 2, 2, 4, 3, 7, 2, ATTN_FLOAT32)};

    for (size_t n = 0; n < sizeof problems / sizeof problems[0]; n++)
        check_shape(&problems[n]);
}

/* MPI counts rows in int: beyond them the exchange is refused, and before it asks for memory. */
static void test_rows_beyond_int(void)
{
    const attn_problem problem = PROBLEM(1, 1, 1, 64, INT64_C(3) << 30, 1, 1, ATTN_FLOAT32);
    const int size = attn_comm_size(MPI_COMM_WORLD);
    const attn_plan_options options = {.grid = {size, 1}, .exchange = attn_exchange_find("allgather")};
    attn_error error = ATTN_ERROR_INIT;
    attn_dist *dist;
    attn_plan plan;

    if (size == 1) /* nothing is exchanged */
        return;
    TEST_OK(attn_plan_make(&problem, size, &options, &plan, &attn_test_error));
    CU_ASSERT_EQUAL(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &error), ATTN_UNSUPPORTED);
    CU_ASSERT_PTR_NULL(dist);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "kv-seq 3221225472: MPI counts rows up to 2147483647"));
}

static const attn_test tests[] = {
    {"sums, broadcasts and gathers", test_collectives},
    {"gathered outputs", test_combine},
    {"exchanges in pieces", test_exchanges},
    {"more rows than MPI counts", test_rows_beyond_int},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/pieces", tests, sizeof tests / sizeof tests[0]);
}
