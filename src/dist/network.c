/* The network probe: what it takes to hand messages on while all ranks do the same, and how much of that passes beside
 * computing. Every rank sends to the next one of a ring and receives from the one before, as the exchanges do, rather
 * than in pairs that take turns: cores that copy, and links, are then as busy as they will be. */
#include <attn/comm.h>
#include <attn/memory.h>
#include <attn/phase.h>
#include <attn/random.h>
#include <attn/tuning.h>

#include "dist/median.h"
#include "dist/transfers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_COUNT = 5, REPEATS = 7, TAG = 1 };

static const double sizes[SIZE_COUNT] = {16, 4096, 65536, 1048576, 4194304};
static const double LONGEST = 0.01; /* s, of a message: longer ones are not tried */

/* A rank's place in a ring of those that it measures with. */
typedef struct place {
    int next, before;
    bool alone;
} place;

typedef struct probing {
    MPI_Comm comm;
    place at;
    attn_transfers transfers;
    void *out, *in; /* of the largest size */
} probing;

static place place_of(int rank, int ranks, int node_ranks, bool within)
{
    const int base = rank / node_ranks * node_ranks, local = rank % node_ranks;
    const int left = ranks - base < node_ranks ? ranks - base : node_ranks;
    const int nodes = (ranks - local - 1) / node_ranks + 1, node = rank / node_ranks;

    if (within)
        return (place){base + (local + 1) % left, base + (local + left - 1) % left, left == 1};
    return (place){(node + 1) % nodes * node_ranks + local, (node + nodes - 1) % nodes * node_ranks + local,
                   nodes == 1};
}

static void start(probing *one, int64_t bytes)
{
    attn_transfers_receive(&one->transfers, one->in, bytes, one->at.before, TAG);
    attn_transfers_send(&one->transfers, one->out, bytes, one->at.next, TAG);
}

/* Where ranks take turns on cores a message can take milliseconds: fewer repetitions then. */
static int repeats_of(double seconds)
{
    return seconds > 0.002 ? 3 : REPEATS;
}

/* The time of some messages of that size, one after the other, on this rank. */
static attn_status time_messages(probing *one, int64_t bytes, int count, double *out, attn_error *error)
{
    attn_status status = attn_comm_barrier(one->comm, error);
    const double begin = attn_clock();

    for (int n = 0; status == ATTN_OK && !one->at.alone && n < count; n++) {
        start(one, bytes);
        status = attn_transfers_wait(&one->transfers, error);
    }
    *out = one->at.alone ? 0 : (attn_clock() - begin) / count;
    return status;
}

/* The median time of a message, on the slowest rank. Short ones are timed several at once. */
static attn_status time_size(probing *one, int64_t bytes, double *out, attn_error *error)
{
    double times[REPEATS] = {0}, first = 0;
    int at_once, repeats;
    attn_status status = time_messages(one, bytes, 1, &first, error);

    if (status == ATTN_OK)
        status = time_messages(one, bytes, 1, &first, error);
    if (status == ATTN_OK)
        status = attn_comm_max(one->comm, &first, 1, error);
    at_once = first < 1e-4 ? 16 : 1;
    repeats = repeats_of(first);
    for (int repeat = 0; status == ATTN_OK && repeat < repeats; repeat++)
        status = time_messages(one, bytes, at_once, &times[repeat], error);
    if (status != ATTN_OK)
        return status;
    *out = attn_median_of(times, repeats);
    return attn_comm_max(one->comm, out, 1, error);
}

/* A kernel pass to compute while messages travel. */
typedef struct work {
    attn_problem problem;
    attn_segments *rows;
    const attn_segments *parts[1]; /* rows, as the pass wants them */
    attn_forward *forward;
    attn_forward_buffers buffers;
    attn_array k, v;
    float *q, *o, *lse;
} work;

enum { WORK_ROWS = 192, WORK_WIDTH = 64 };

static void release_work(work *one)
{
    attn_forward_destroy(one->forward);
    attn_segments_destroy(one->rows);
    free(one->q);
    free(one->o);
    free(one->lse);
}

static attn_status make_work(work *one, attn_error *error)
{
    static const int64_t begins[] = {0}, lengths[] = {WORK_ROWS};
    attn_status status;

    *one = (work){.problem = attn_problem_init((attn_shape){1, 1, 1, WORK_ROWS, WORK_ROWS, WORK_WIDTH, WORK_WIDTH},
                                               ATTN_FLOAT32)};
    one->q = attn_aligned_alloc(WORK_ROWS * WORK_WIDTH * sizeof *one->q);
    one->o = attn_aligned_alloc(WORK_ROWS * WORK_WIDTH * sizeof *one->o);
    one->lse = attn_aligned_alloc(WORK_ROWS * sizeof *one->lse);
    status = attn_segments_create(1, begins, lengths, &one->rows, error);
    one->parts[0] = one->rows;
    if (status == ATTN_OK && (one->q == NULL || one->o == NULL || one->lse == NULL))
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the network probe");
    if (status == ATTN_OK) {
        const attn_forward_setup setup = {.problem = &one->problem,
                                          .head_count = 1,
                                          .q_rows = one->rows,
                                          .part_count = 1,
                                          .part_rows = one->parts,
                                          .o_dtype = ATTN_FLOAT32,
                                          .threads = 1};

        attn_random_fill(0, ATTN_STREAM_Q, 0, WORK_ROWS * WORK_WIDTH, ATTN_FLOAT32, one->q);
        status = attn_forward_create(attn_kernel_best(ATTN_PASS_FORWARD, ATTN_FLOAT32), &setup, &one->forward, error);
    }
    one->buffers.q = attn_array_dense(one->q, 1, WORK_ROWS, WORK_WIDTH);
    one->k = one->v = one->buffers.q;
    one->buffers.o = attn_array_dense(one->o, 1, WORK_ROWS, WORK_WIDTH);
    one->buffers.lse = attn_array_dense(one->lse, 1, WORK_ROWS, 1);
    return status;
}

static void compute(work *one, int times, const attn_progress *progress)
{
    one->buffers.k = &one->k;
    one->buffers.v = &one->v;
    one->buffers.progress = progress != NULL ? *progress : (attn_progress){.make = NULL};
    for (int n = 0; n < times; n++)
        attn_forward_execute(one->forward, &one->buffers);
}

/* Which of the two, or both, and how long they take on this rank. */
static attn_status time_both(probing *one, work *busy, int64_t bytes, int passes, double *out, attn_error *error)
{
    const attn_progress progress = attn_transfers_progress(&one->transfers);
    attn_status status = attn_comm_barrier(one->comm, error);
    const double begin = attn_clock();

    if (status != ATTN_OK)
        return status;
    if (bytes > 0 && !one->at.alone)
        start(one, bytes);
    compute(busy, passes, bytes > 0 ? &progress : NULL);
    if (bytes > 0)
        status = attn_transfers_wait(&one->transfers, error);
    *out = attn_clock() - begin;
    return status;
}

/* hidden = (compute + transfer - both) / transfer, with a compute that takes longer than the transfer. */
static attn_status measure_hidden(probing *one, work *busy, int64_t bytes, double transfer, double *out,
                                  attn_error *error)
{
    double pass = 0, times[3][REPEATS], median[3];
    int passes, repeats;
    attn_status status = time_both(one, busy, 0, 1, &pass, error);

    if (status == ATTN_OK)
        status = time_both(one, busy, 0, 1, &pass, error);
    if (status == ATTN_OK)
        status = attn_comm_max(one->comm, &pass, 1, error);
    if (status != ATTN_OK)
        return status;
    passes = 1 + (int)fmin(1000, 1.5 * transfer / fmax(pass, 1e-7));
    repeats = repeats_of(transfer);
    for (int repeat = 0; status == ATTN_OK && repeat < repeats; repeat++) {
        status = time_both(one, busy, 0, passes, &times[0][repeat], error);
        if (status == ATTN_OK)
            status = time_both(one, busy, bytes, 0, &times[1][repeat], error);
        if (status == ATTN_OK)
            status = time_both(one, busy, bytes, passes, &times[2][repeat], error);
    }
    if (status != ATTN_OK)
        return status;
    for (int n = 0; n < 3; n++)
        median[n] = attn_median_of(times[n], repeats);
    status = attn_comm_max(one->comm, median, 3, error);
    *out = fmin(1, fmax(0, (median[0] + median[1] - median[2]) / fmax(median[1], 1e-9)));
    return status;
}

static attn_status measure_link(probing *one, work *busy, attn_link *link, attn_error *error)
{
    attn_link made = {.origin = ATTN_ORIGIN_MEASURED};
    double times[SIZE_COUNT] = {0};
    size_t count = 0;
    attn_status status = ATTN_OK;

    while (status == ATTN_OK && count < SIZE_COUNT && (count == 0 || times[count - 1] < LONGEST)) {
        status = time_size(one, (int64_t)sizes[count], &times[count], error);
        times[count] = fmax(times[count], 1e-9); /* a clock may stand still */
        count++;
    }
    if (status != ATTN_OK)
        return status;
    attn_link_fit(sizes, times, count, &made);
    status = measure_hidden(one, busy, (int64_t)sizes[count - 1], times[count - 1], &made.hidden, error);
    if (status == ATTN_OK)
        *link = made;
    return status;
}

attn_status attn_network_measure(MPI_Comm comm, int node_ranks, attn_link *node, attn_link *network, attn_error *error)
{
    const int rank = attn_comm_rank(comm), ranks = attn_comm_size(comm);
    const int64_t most = (int64_t)sizes[SIZE_COUNT - 1];
    const int of_node = node_ranks > 0 && node_ranks < ranks ? node_ranks : ranks;
    probing one = {.comm = MPI_COMM_NULL};
    work busy;
    attn_status local, status = attn_comm_check(MPI_Comm_dup(comm, &one.comm), "MPI_Comm_dup", error);

    if (status != ATTN_OK)
        return status;
    MPI_Comm_set_errhandler(one.comm, MPI_ERRORS_RETURN);
    local = make_work(&busy, error);
    one.out = attn_aligned_alloc((size_t)most);
    one.in = attn_aligned_alloc((size_t)most);
    if (local == ATTN_OK && (one.out == NULL || one.in == NULL))
        local = attn_error_set(error, ATTN_MEMORY, "no memory for the network probe");
    if (local == ATTN_OK)
        local = attn_transfers_create(one.comm, most, 2, 0, &one.transfers, error);
    status = attn_comm_agree(one.comm, local, error);
    if (status == ATTN_OK) {
        memset(one.out, 1, (size_t)most);
        memset(one.in, 0, (size_t)most);
    }
    if (status == ATTN_OK && of_node > 1) {
        one.at = place_of(rank, ranks, of_node, true);
        status = measure_link(&one, &busy, node, error);
    }
    if (status == ATTN_OK && of_node < ranks) {
        one.at = place_of(rank, ranks, of_node, false);
        status = measure_link(&one, &busy, network, error);
    }
    release_work(&busy);
    if (status == ATTN_MPI) /* messages may be under way, which write to what would be freed */
        return status;
    attn_transfers_release(&one.transfers);
    free(one.out);
    free(one.in);
    attn_comm_free(&one.comm);
    return status;
}

attn_status attn_copy_measure(MPI_Comm comm, double *out, attn_error *error)
{
    const size_t bytes = (size_t)8 << 20;
    char *from = attn_aligned_alloc(bytes), *to = attn_aligned_alloc(bytes);
    double times[REPEATS] = {0}, rate = 0;
    attn_status status = ATTN_OK;

    if (from == NULL || to == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for copies of %zu bytes", bytes);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK) {
        memset(from, 1, bytes);
        memset(to, 0, bytes);
        status = attn_comm_barrier(comm, error);
    }
    if (status == ATTN_OK) {
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            const double begin = attn_clock();

            memcpy(to, from, bytes);
            from[repeat] = to[bytes - 1]; /* the copy is used */
            times[repeat] = fmax(attn_clock() - begin, 1e-9);
        }
        rate = (double)bytes / attn_median_of(times, REPEATS);
        status = attn_comm_min(comm, &rate, 1, error);
    }
    free(from);
    free(to);
    if (status == ATTN_OK)
        *out = rate;
    return status;
}
