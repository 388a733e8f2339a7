/* The bytes and messages that every exchange and combine predicts are those that it sends, and the memory is what it
 * allocates: the MPI calls of a pass and the allocations of a plan are counted by wrapping them. Nominal: what a rank
 * must hand to each other rank, without itself. A call that is not wrapped here counts as nothing, so that an exchange
 * that uses one fails until it is added. */
#include "fixture.h"
#include "harness.h"
#include "pass.h"
#include "plans.h"

#include <attn/comm.h>
#include <attn/dist.h>

#include <mpi.h>
#include <stdlib.h>

static double sent_bytes, sent_messages, largest_message;

/* What a plan allocates for its exchange and combine; the memory of kernels (tasks, scratch) is their own. The linker
 * leads these calls here (tests/CMakeLists.txt). */
static double allocated_bytes;
static int inside_kernel;

void *__real_attn_aligned_alloc(size_t bytes);
void *__wrap_attn_aligned_alloc(size_t bytes);
attn_status __real_attn_forward_create(const attn_kernel *kernel, const attn_forward_setup *setup, attn_forward **out,
                                       attn_error *error);
attn_status __wrap_attn_forward_create(const attn_kernel *kernel, const attn_forward_setup *setup, attn_forward **out,
                                       attn_error *error);
attn_status __real_attn_backward_create(const attn_kernel *kernel, const attn_backward_setup *setup,
                                        attn_backward **out, attn_error *error);
attn_status __wrap_attn_backward_create(const attn_kernel *kernel, const attn_backward_setup *setup,
                                        attn_backward **out, attn_error *error);

void *__wrap_attn_aligned_alloc(size_t bytes)
{
    if (inside_kernel == 0)
        allocated_bytes += (double)bytes;
    return __real_attn_aligned_alloc(bytes);
}

attn_status __wrap_attn_forward_create(const attn_kernel *kernel, const attn_forward_setup *setup, attn_forward **out,
                                       attn_error *error)
{
    attn_status status;

    inside_kernel++;
    status = __real_attn_forward_create(kernel, setup, out, error);
    inside_kernel--;
    return status;
}

attn_status __wrap_attn_backward_create(const attn_kernel *kernel, const attn_backward_setup *setup,
                                        attn_backward **out, attn_error *error)
{
    attn_status status;

    inside_kernel++;
    status = __real_attn_backward_create(kernel, setup, out, error);
    inside_kernel--;
    return status;
}

int MPI_Win_allocate_shared(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm, void *base, MPI_Win *window)
{
    allocated_bytes += (double)(size > 1 ? size : 0); /* a window of nothing has one byte */
    return PMPI_Win_allocate_shared(size, unit, info, comm, base, window);
}

int MPI_Win_allocate(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm, void *base, MPI_Win *window)
{
    allocated_bytes += (double)size;
    return PMPI_Win_allocate(size, unit, info, comm, base, window);
}

static void count_items(int self, int to, int64_t items, MPI_Datatype type)
{
    int size;

    MPI_Type_size(type, &size);
    if (to == self || to == MPI_PROC_NULL || items * size == 0)
        return;
    sent_bytes += (double)items * size;
    sent_messages++;
    largest_message = (double)items * size > largest_message ? (double)items * size : largest_message;
}

static void count_sent(MPI_Comm comm, int to, int64_t items, MPI_Datatype type)
{
    count_items(attn_comm_rank(comm), to, items, type);
}

static void count_sent_to_all(MPI_Comm comm, int64_t items, MPI_Datatype type)
{
    for (int to = 0; to < attn_comm_size(comm); to++)
        count_sent(comm, to, items, type);
}

int MPI_Send(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    count_sent(comm, to, count, type);
    return PMPI_Send(data, count, type, to, tag, comm);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    count_sent(comm, to, count, type);
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

/* Persistent requests that send: each start of one counts. */
static struct {
    MPI_Request request;
    MPI_Comm comm;
    MPI_Datatype type;
    int to, count;
} persistent[4096];
static int persistent_count;

int MPI_Send_init(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    const int code = PMPI_Send_init(data, count, type, to, tag, comm, request);
    const int n = persistent_count++;

    CU_ASSERT_FATAL(n < (int)(sizeof persistent / sizeof persistent[0]));
    persistent[n].request = *request;
    persistent[n].comm = comm;
    persistent[n].type = type;
    persistent[n].to = to;
    persistent[n].count = count;
    return code;
}

int MPI_Start(MPI_Request *request)
{
    for (int n = 0; n < persistent_count; n++)
        if (persistent[n].request == *request)
            count_sent(persistent[n].comm, persistent[n].to, persistent[n].count, persistent[n].type);
    return PMPI_Start(request);
}

int MPI_Request_free(MPI_Request *request)
{
    for (int n = persistent_count - 1; n >= 0; n--)
        if (persistent[n].request == *request)
            persistent[n] = persistent[--persistent_count];
    return PMPI_Request_free(request);
}

int MPI_Rput(const void *data, int count, MPI_Datatype type, int to, MPI_Aint place, int put_count,
             MPI_Datatype put_type, MPI_Win window, MPI_Request *request)
{
    MPI_Group group;
    int self;

    MPI_Win_get_group(window, &group);
    MPI_Group_rank(group, &self);
    MPI_Group_free(&group);
    count_items(self, to, count, type);
    return PMPI_Rput(data, count, type, to, place, put_count, put_type, window, request);
}

int MPI_Sendrecv(const void *data, int count, MPI_Datatype type, int to, int tag, void *got, int got_count,
                 MPI_Datatype got_type, int from, int got_tag, MPI_Comm comm, MPI_Status *status)
{
    count_sent(comm, to, count, type);
    return PMPI_Sendrecv(data, count, type, to, tag, got, got_count, got_type, from, got_tag, comm, status);
}

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    if (attn_comm_rank(comm) == root)
        count_sent_to_all(comm, count, type);
    return PMPI_Bcast(data, count, type, root, comm);
}

int MPI_Ibcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm, MPI_Request *request)
{
    if (attn_comm_rank(comm) == root)
        count_sent_to_all(comm, count, type);
    return PMPI_Ibcast(data, count, type, root, comm, request);
}

/* In place, what a rank sends is its place in what all receive. */
static void count_gathered(const void *data, int count, MPI_Datatype type, const int *counts, MPI_Datatype got_type,
                           MPI_Comm comm)
{
    if (data == MPI_IN_PLACE)
        count_sent_to_all(comm, counts[attn_comm_rank(comm)], got_type);
    else
        count_sent_to_all(comm, count, type);
}

int MPI_Allgatherv(const void *data, int count, MPI_Datatype type, void *got, const int *counts, const int *places,
                   MPI_Datatype got_type, MPI_Comm comm)
{
    count_gathered(data, count, type, counts, got_type, comm);
    return PMPI_Allgatherv(data, count, type, got, counts, places, got_type, comm);
}

int MPI_Iallgatherv(const void *data, int count, MPI_Datatype type, void *got, const int *counts, const int *places,
                    MPI_Datatype got_type, MPI_Comm comm, MPI_Request *request)
{
    count_gathered(data, count, type, counts, got_type, comm);
    return PMPI_Iallgatherv(data, count, type, got, counts, places, got_type, comm, request);
}

int MPI_Alltoallv(const void *data, const int *counts, const int *places, MPI_Datatype type, void *got,
                  const int *got_counts, const int *got_places, MPI_Datatype got_type, MPI_Comm comm)
{
    for (int to = 0; to < attn_comm_size(comm); to++)
        count_sent(comm, to, counts[to], type);
    return PMPI_Alltoallv(data, counts, places, type, got, got_counts, got_places, got_type, comm);
}

int MPI_Ialltoallv(const void *data, const int *counts, const int *places, MPI_Datatype type, void *got,
                   const int *got_counts, const int *got_places, MPI_Datatype got_type, MPI_Comm comm,
                   MPI_Request *request)
{
    for (int to = 0; to < attn_comm_size(comm); to++)
        count_sent(comm, to, counts[to], type);
    return PMPI_Ialltoallv(data, counts, places, type, got, got_counts, got_places, got_type, comm, request);
}

/* A backward pass; of its results only the bytes on their way count here, so do, o and lse are zeros. */
static void run_backward(const fixture *f, attn_dist *dist, const attn_dist_buffers *forward)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(dist);
    const size_t rows = (size_t)(fixture_elements(s, s->heads, s->seq, s->head_dim + s->v_head_dim)) + 1;
    const size_t kv_rows =
        (size_t)(fixture_elements(s, s->kv_heads, part->kv_rows->rows + 1, s->head_dim + s->v_head_dim));
    double seconds[ATTN_PHASE_COUNT];
    void *d_o = calloc(rows, sizeof(double)), *o = calloc(rows, sizeof(double)), *lse = calloc(rows, sizeof(double));
    const attn_dist_backward_buffers buffers = {.q = forward->q,
                                                .k = forward->k,
                                                .v = forward->v,
                                                .o = o,
                                                .lse = lse,
                                                .d_o = d_o,
                                                .dq = malloc(rows * sizeof(double)),
                                                .dk = malloc(kv_rows * sizeof(double)),
                                                .dv = malloc(kv_rows * sizeof(double))};

    TEST_OK(attn_dist_backward(dist, &buffers, seconds, &attn_test_error));
    free(d_o);
    free(o);
    free(lse);
    free(buffers.dq);
    free(buffers.dk);
    free(buffers.dv);
}

static void check_plan(const fixture *f, const attn_plan *plan)
{
    attn_prediction predicted;
    attn_dist *dist;
    pass run;

    TEST_OK(attn_plan_predict(plan, attn_comm_rank(MPI_COMM_WORLD), &predicted, &attn_test_error));
    allocated_bytes = 0;
    TEST_OK(attn_dist_create(MPI_COMM_WORLD, plan, &dist, &attn_test_error));
    TEST_CLOSE(allocated_bytes, predicted.extra_bytes, 0);
    run = pass_make(f, dist);
    sent_bytes = sent_messages = 0;
    if (plan->pass == ATTN_PASS_BACKWARD)
        run_backward(f, dist, &run.buffers);
    else
        pass_forward(&run);
    TEST_CLOSE(sent_bytes, predicted.exchange_bytes + predicted.combine_bytes, 0);
    TEST_CLOSE(sent_messages, predicted.messages, 0);
    pass_finish(&run);
}

static void visit(const attn_plan *plan, void *f)
{
    check_plan(f, plan);
}

/* All exchanges, combines, layouts and grids; remainders, ranks without rows or heads, shared heads. */
static void test_volumes(void)
{
    static const int64_t shapes[][7] = {
        {2, 6, 3, 12, 12, 8, 4}, {2, 5, 5, 37, 41, 9, 6}, {1, 7, 1, 1, 64, 8, 8}, {3, 2, 2, 2, 3, 5, 7}};

    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
            const int64_t *s = shapes[n];
            attn_problem problem = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], (attn_dtype)dtype);
            fixture f;

            problem.mask.causal = dtype % 2 == 1; /* what nobody sees is not sent */
            problem.mask.window_left = dtype == ATTN_FLOAT32 ? 3 : -1;
            f = fixture_make(&problem);

            test_plans(&problem, ATTN_PASS_FORWARD, visit, &f);
            test_plans(&problem, ATTN_PASS_BACKWARD, visit, &f);
            fixture_drop(&f);
        }
}

/* Decoding: T rows of one owner go to all ranks in ceil(log2 p) rounds, and come back as B T hq 4 (Dv + 1) bytes a
 * message, one from each other rank. */
static void test_tree(void)
{
    enum { BATCH = 3, HEADS = 4, D = 8, DV = 12 };
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const double q = BATCH * HEADS * D * 4, packed = BATCH * HEADS * 4 * (DV + 1);
    int rounds = 0;

    while (1 << rounds < ranks)
        rounds++;
    for (int owned = 1; owned <= 3; owned += 2) { /* one row in all; T = 3 rows of every owner */
        const int64_t rows = owned == 1 ? 1 : (int64_t)owned * ranks;
        attn_problem problem = PROBLEM(BATCH, HEADS, 2, rows, 50, D, DV, ATTN_FLOAT32);
        const attn_plan_options options = {.grid = {ranks, 1}, .exchange = attn_exchange_find("tree")};
        fixture f = fixture_make(&problem);
        attn_plan plan;
        attn_dist *dist;
        int owner;
        pass run;

        TEST_OK(attn_plan_make(&problem, ranks, &options, &plan, &attn_test_error));
        TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
        run = pass_make(&f, dist);
        sent_bytes = sent_messages = largest_message = 0;
        owner = attn_dist_part(dist)->q_rows->rows > 0;
        pass_forward(&run);
        if (ranks > 1 && (owned > 1 || !owner))
            TEST_CLOSE(largest_message, owned * packed, 0);
        if (owned == 1 && owner) /* q to a child in each round */
            TEST_CLOSE(sent_bytes, rounds * q, 0);
        if (owned == 1)
            CU_ASSERT(sent_messages <= rounds + !owner);
        if (owned > 1) {
            double sums[2] = {sent_bytes, sent_messages};

            TEST_OK(attn_comm_sum(MPI_COMM_WORLD, sums, 2, &attn_test_error));
            TEST_CLOSE(sums[0], ranks * (ranks - 1.0) * owned * (q + packed), 0);
            TEST_CLOSE(sums[1], 2.0 * ranks * (ranks - 1.0), 0);
        }
        pass_finish(&run);
        fixture_drop(&f);
    }
}

static const attn_test tests[] = {
    {"what is predicted is what is sent and allocated", test_volumes},
    {"decoding in a tree sends one packed result", test_tree},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/volumes", tests, sizeof tests / sizeof tests[0]);
}
