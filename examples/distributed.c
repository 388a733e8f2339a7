/* Attention over all ranks: planned, created once, executed, and compared with float64 on sampled rows.
 *
 *   mpirun -n 4 distributed
 *
 * Exits 0 when the rows agree, 1 when they do not, 2 when something failed. */
#include <attn/attn.h>

#include <stdio.h>
#include <stdlib.h>

enum { SEED = 1, CHECKED_ROWS = 64 };

/* Dense array [B,heads,rows,width] of some heads and rows of a generated global one, [B,all_heads,seq,width]: what an
 * element is depends on its global place alone, so each rank makes its own. NULL without memory. */
static float *make_part(attn_stream stream, const attn_shape *s, int64_t all_heads, int64_t head_begin, int64_t heads,
                        int64_t seq, const attn_segments *rows, int64_t width)
{
    float *part = malloc((size_t)(s->batch * heads * rows->rows * width) * sizeof *part + 1);
    float *row = part;

    if (part == NULL)
        return NULL;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t r = 0; r < rows->rows; r++, row += width) {
                const int64_t place = (b * all_heads + head_begin + h) * seq + attn_segments_global(rows, r);

                attn_random_fill(SEED, stream, (uint64_t)(place * width), (size_t)width, ATTN_FLOAT32, row);
            }
    return part;
}

/* This rank's arrays. They are owned as buffers.o and buffers.lse, and q, k, v. */
typedef struct arrays {
    float *q, *k, *v;
    attn_dist_buffers buffers;
} arrays;

static attn_status make_arrays(const attn_dist *dist, arrays *a, attn_error *error)
{
    const attn_shape *s = &attn_dist_plan(dist)->problem.shape;
    const attn_part *part = attn_dist_part(dist);
    const int64_t o_rows = s->batch * attn_dist_output_heads(dist) * part->q_rows->rows;
    const int64_t lse_rows = s->batch * part->head_count * part->q_rows->rows;

    /* A rank may own nothing; the one byte more keeps malloc(0) from looking like a failure. */
    a->q = make_part(ATTN_STREAM_Q, s, s->heads, part->head_begin, part->head_count, s->seq, part->q_rows, s->head_dim);
    a->k = make_part(ATTN_STREAM_K, s, s->kv_heads, part->kv_head_begin, part->kv_head_count, s->kv_seq, part->kv_rows,
                     s->head_dim);
    a->v = make_part(ATTN_STREAM_V, s, s->kv_heads, part->kv_head_begin, part->kv_head_count, s->kv_seq, part->kv_rows,
                     s->v_head_dim);
    a->buffers.o = malloc((size_t)(o_rows * s->v_head_dim) * sizeof(float) + 1);
    a->buffers.lse = malloc((size_t)lse_rows * sizeof(float) + 1);
    a->buffers.q = a->q;
    a->buffers.k = a->k;
    a->buffers.v = a->v;
    if (a->q == NULL || a->k == NULL || a->v == NULL || a->buffers.o == NULL || a->buffers.lse == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for this rank's arrays");
    return ATTN_OK;
}

static void free_arrays(const arrays *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->buffers.o);
    free(a->buffers.lse);
}

/* Runs one pass of the plan and checks it; the same outcome on every rank. */
static attn_status run(MPI_Comm comm, const attn_plan *plan, attn_check *check, attn_error *error)
{
    const double eps = attn_dtype_epsilon(plan->problem.dtype);
    double seconds[ATTN_PHASE_COUNT];
    attn_dist *dist = NULL;
    attn_row *rows = NULL;
    arrays a = {0};
    int64_t count = 0;
    attn_status status = attn_dist_create(comm, plan, &dist, error);

    if (status != ATTN_OK)
        return status;
    /* One rank alone may lack memory. All have to know, or the others would wait for it in the next collective call. */
    status = make_arrays(dist, &a, error);
    if (status == ATTN_OK)
        status = attn_sample_rows(plan, CHECKED_ROWS, SEED, &rows, &count, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_dist_forward(dist, &a.buffers, seconds, error);
    if (status == ATTN_OK)
        status = attn_dist_check(dist, &a.buffers, rows, count, eps, check, error);
    free(rows);
    free_arrays(&a);
    attn_dist_destroy(dist);
    return status;
}

int main(int argc, char **argv)
{
    const attn_shape shape = {
        .batch = 1, .heads = 8, .kv_heads = 2, .seq = 500, .kv_seq = 500, .head_dim = 64, .v_head_dim = 64};
    const attn_plan_options options = {.threads = 1}; /* all else is chosen by rule */
    attn_problem problem = attn_problem_init(shape, ATTN_FLOAT32);
    attn_error error = ATTN_ERROR_INIT;
    attn_check check = {0};
    attn_status status;
    attn_plan plan;
    int provided, rank, ranks;

    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_FUNNELED) {
        fprintf(stderr, "distributed: MPI with MPI_THREAD_FUNNELED cannot be initialised\n");
        return 2;
    }
    rank = attn_comm_rank(MPI_COMM_WORLD);
    ranks = attn_comm_size(MPI_COMM_WORLD);
    problem.mask.causal = true;
    status = attn_plan_make(&problem, ranks, &options, &plan, &error); /* no MPI: every rank makes the same */
    if (status == ATTN_OK)
        status = run(MPI_COMM_WORLD, &plan, &check, &error);
    if (rank == 0 && status == ATTN_OK)
        printf("%s: %d ranks as %dx%d, exchange %s, layout %s, kernel %s; %lld rows, max error %.2g, tolerance %.2g\n",
               check.valid ? "PASS" : "FAIL", ranks, plan.grid.seq, plan.grid.head, attn_exchange_name(plan.exchange),
               attn_layout_name(plan.layout), attn_kernel_name(plan.kernel), (long long)check.rows, check.max_error,
               check.tolerance);
    if (status != ATTN_OK && (rank == 0 || status == ATTN_MPI))
        fprintf(stderr, "distributed: %s\n", error.message);
    if (status == ATTN_MPI)
        MPI_Abort(MPI_COMM_WORLD, 2); /* other ranks may wait for this one */
    MPI_Finalize();
    if (status != ATTN_OK)
        return 2;
    return check.valid ? 0 : 1;
}
