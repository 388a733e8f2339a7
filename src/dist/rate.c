/* The rate of a kernel in a pass of a problem: it runs on a piece of it, of some milliseconds, on all ranks at once. */
#include <attn/comm.h>
#include <attn/memory.h>
#include <attn/phase.h>
#include <attn/random.h>
#include <attn/tuning.h>

#include "dist/median.h"

#include <math.h>
#include <stdlib.h>

enum { LEAST_ROWS = 64, MOST_ROWS = 1024, MOST_KEYS = 2048, REPEATS_MIN = 3, REPEATS_MAX = 99 };

#define PIECE_SECONDS 0.004             /* a pass shall take so long */
#define MEASURE_SECONDS 0.02            /* all passes together */
#define DECODE_BYTES (64.0 * (1 << 20)) /* of keys and values that decoding reads: beyond most caches */

/* A piece of a problem with its arrays, of one rank alone. */
typedef struct piece {
    attn_problem problem;
    attn_pass pass;
    attn_segments *q_rows, *kv_rows;
    const attn_segments *parts[1]; /* kv_rows, as the passes want them */
    attn_forward *forward;
    attn_backward *backward;
    void *arrays[9]; /* q k v o lse do dq dk dv */
} piece;

enum { PIECE_Q, PIECE_K, PIECE_V, PIECE_O, PIECE_LSE, PIECE_DO, PIECE_DQ, PIECE_DK, PIECE_DV, PIECE_ARRAYS };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The piece with so many query rows: one batch, a head for each thread, no mask, the same score. */
static attn_problem cut(const attn_problem *problem, attn_pass pass, int threads, int64_t rows)
{
    const attn_shape *from = &problem->shape;
    const int64_t group = from->heads / from->kv_heads;
    attn_problem made = *problem;
    double head_bytes;

    made.mask = (attn_mask)ATTN_MASK_FULL;
    made.score.sinks = NULL;
    made.shape.batch = 1;
    made.shape.seq = least(from->seq, rows);
    made.shape.kv_seq = pass == ATTN_PASS_DECODE ? from->kv_seq : least(from->kv_seq, MOST_KEYS);
    made.shape.kv_heads = least(from->kv_heads, (threads + group - 1) / group);
    if (pass == ATTN_PASS_DECODE) {
        head_bytes = (double)made.shape.kv_seq * (double)(from->head_dim + from->v_head_dim) *
                     (double)attn_dtype_size(problem->dtype);
        made.shape.kv_heads = from->kv_heads;
        if (head_bytes * (double)from->kv_heads > DECODE_BYTES)
            made.shape.kv_heads = (int64_t)fmax(1, DECODE_BYTES / head_bytes);
        if (head_bytes > DECODE_BYTES)
            made.shape.kv_seq = (int64_t)fmax(1, (double)made.shape.kv_seq * DECODE_BYTES / head_bytes);
    }
    made.shape.heads = group * made.shape.kv_heads;
    return made;
}

static attn_status allocate(piece *one, attn_error *error)
{
    const attn_shape *shape = &one->problem.shape;
    const size_t element = attn_dtype_size(one->problem.dtype);
    const size_t sum = attn_dtype_size(attn_dtype_accumulator(one->problem.dtype));
    const size_t q = (size_t)(shape->heads * shape->seq), kv = (size_t)(shape->kv_heads * shape->kv_seq);
    const size_t D = (size_t)shape->head_dim, Dv = (size_t)shape->v_head_dim;
    const size_t counts[PIECE_ARRAYS] = {q * D, kv * D, kv * Dv, q * Dv, q, q * Dv, q * D, kv * D, kv * Dv};
    const int used = one->pass == ATTN_PASS_BACKWARD ? PIECE_ARRAYS : PIECE_DO;

    for (int n = 0; n < used; n++) {
        one->arrays[n] = attn_aligned_alloc(counts[n] * (n == PIECE_LSE ? sum : element));
        if (one->arrays[n] == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory to measure the rate of a kernel");
        if (n != PIECE_LSE)
            attn_random_fill(0, ATTN_STREAM_TEST, 0, counts[n], one->problem.dtype, one->arrays[n]);
    }
    return ATTN_OK;
}

static void forget_pass(piece *one)
{
    attn_forward_destroy(one->forward);
    attn_backward_destroy(one->backward);
    attn_segments_destroy(one->q_rows);
    attn_segments_destroy(one->kv_rows);
    one->forward = NULL;
    one->backward = NULL;
    one->q_rows = one->kv_rows = NULL;
}

/* Sets the passes up for the shape as it is. The forward pass of a backward one may need another kernel. */
static attn_status prepare(piece *one, const attn_kernel *kernel, int threads, attn_error *error)
{
    const attn_shape *shape = &one->problem.shape;
    const int64_t begin = 0;
    const bool own = attn_kernel_computes(kernel, ATTN_PASS_FORWARD, &one->problem, NULL, 0);
    const attn_kernel *forward = kernel;
    attn_status status = attn_segments_create(1, &begin, &shape->seq, &one->q_rows, error);

    if (status == ATTN_OK)
        status = attn_segments_create(1, &begin, &shape->kv_seq, &one->kv_rows, error);
    one->parts[0] = one->kv_rows;
    if (status == ATTN_OK && !own)
        status = attn_kernel_choose(ATTN_PASS_FORWARD, one->problem.dtype, one->problem.dropout > 0, &forward, error);
    if (status == ATTN_OK) {
        const attn_forward_setup setup = {.problem = &one->problem,
                                          .head_count = shape->heads,
                                          .q_rows = one->q_rows,
                                          .part_count = 1,
                                          .part_rows = one->parts,
                                          .o_dtype = one->problem.dtype,
                                          .threads = threads};
        const attn_backward_setup back = {.problem = &one->problem,
                                          .head_count = shape->heads,
                                          .kv_head_count = shape->kv_heads,
                                          .q_rows = one->q_rows,
                                          .part_count = 1,
                                          .part_rows = one->parts,
                                          .dq_dtype = one->problem.dtype,
                                          .dkv_dtype = one->problem.dtype,
                                          .threads = threads};

        status = attn_forward_create(forward, &setup, &one->forward, error);
        if (status == ATTN_OK && one->pass == ATTN_PASS_BACKWARD)
            status = attn_backward_create(kernel, &back, &one->backward, error);
    }
    return status;
}

static void execute(const piece *one, bool backward)
{
    const attn_shape *shape = &one->problem.shape;
    void *const *at = one->arrays;
    const attn_array q = attn_array_dense(at[PIECE_Q], shape->heads, shape->seq, shape->head_dim);
    const attn_array k = attn_array_dense(at[PIECE_K], shape->kv_heads, shape->kv_seq, shape->head_dim);
    const attn_array v = attn_array_dense(at[PIECE_V], shape->kv_heads, shape->kv_seq, shape->v_head_dim);
    const attn_array o = attn_array_dense(at[PIECE_O], shape->heads, shape->seq, shape->v_head_dim);
    const attn_array lse = attn_array_dense(at[PIECE_LSE], shape->heads, shape->seq, 1);

    if (!backward) {
        attn_forward_execute(one->forward, &(attn_forward_buffers){.q = q, .k = &k, .v = &v, .o = o, .lse = lse});
    } else {
        const attn_array dk = attn_array_dense(at[PIECE_DK], shape->kv_heads, shape->kv_seq, shape->head_dim);
        const attn_array dv = attn_array_dense(at[PIECE_DV], shape->kv_heads, shape->kv_seq, shape->v_head_dim);

        attn_backward_execute(
            one->backward,
            &(attn_backward_buffers){.q = q,
                                     .o = o,
                                     .d_o = attn_array_dense(at[PIECE_DO], shape->heads, shape->seq, shape->v_head_dim),
                                     .lse = lse,
                                     .k = &k,
                                     .v = &v,
                                     .dq = attn_array_dense(at[PIECE_DQ], shape->heads, shape->seq, shape->head_dim),
                                     .dk = &dk,
                                     .dv = &dv});
    }
}

static double time_pass(const piece *one)
{
    const double begin = attn_clock();

    execute(one, one->pass == ATTN_PASS_BACKWARD);
    return fmax(attn_clock() - begin, 1e-9);
}

/* Query rows are added until a pass takes long enough. */
static attn_status grow(piece *one, const attn_kernel *kernel, int threads, attn_error *error)
{
    const int64_t most = one->problem.shape.seq;
    int64_t rows = least(most, LEAST_ROWS);
    attn_status status = allocate(one, error);

    while (status == ATTN_OK) {
        one->problem.shape.seq = rows;
        forget_pass(one);
        status = prepare(one, kernel, threads, error);
        if (status != ATTN_OK)
            break;
        execute(one, false); /* o and lse, which a backward pass reads; warms up */
        time_pass(one);
        if (rows == most || time_pass(one) >= PIECE_SECONDS)
            break;
        rows = least(most, 2 * rows);
    }
    return status;
}

static double piece_flops(const piece *one)
{
    return one->pass == ATTN_PASS_BACKWARD ? attn_flops_backward(&one->problem) : attn_flops_forward(&one->problem);
}

attn_status attn_rate_measure(MPI_Comm comm, const attn_problem *problem, attn_pass pass, const attn_kernel *kernel,
                              int threads, int node_ranks, int cores, attn_rate *out, attn_error *error)
{
    const int ranks = attn_comm_size(comm), of_node = node_ranks > 0 && node_ranks < ranks ? node_ranks : ranks;
    const double share = cores > 0 ? fmin(threads, (double)cores / of_node) : threads;
    piece one = {.problem = cut(problem, pass, threads, MOST_ROWS), .pass = pass};
    double times[REPEATS_MAX], rate = 0, begin;
    int count = 0;
    attn_status status = attn_comm_agree(comm, grow(&one, kernel, threads, error), error);

    if (status == ATTN_OK)
        status = attn_comm_barrier(comm, error);
    if (status == ATTN_OK) {
        begin = attn_clock();
        while (count < REPEATS_MIN || (count < REPEATS_MAX && attn_clock() - begin < MEASURE_SECONDS))
            times[count++] = time_pass(&one);
        rate = piece_flops(&one) / attn_median_of(times, count);
        status = attn_comm_min(comm, &rate, 1, error);
    }
    forget_pass(&one);
    for (int n = 0; n < PIECE_ARRAYS; n++)
        free(one.arrays[n]);
    if (status == ATTN_OK)
        *out = (attn_rate){rate / share, ATTN_ORIGIN_MEASURED};
    return status;
}
