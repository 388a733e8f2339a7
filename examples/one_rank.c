/* Attention on one rank, without MPI: the best kernel of this CPU on generated data, compared with the float64
 * reference. Exits 0 when they agree, 1 when they do not, 2 when something failed. */
#include <attn/attn.h>

#include <stdio.h>
#include <stdlib.h>

enum { SEED = 1, THREADS = 2 };

/* Dense arrays of a whole problem. */
typedef struct arrays {
    float *q, *k, *v;
    float *o, *lse;           /* of the kernel under test */
    float *want_o, *want_lse; /* of the reference */
} arrays;

static size_t elements(int64_t batch, int64_t heads, int64_t rows, int64_t width)
{
    return (size_t)batch * (size_t)heads * (size_t)rows * (size_t)width;
}

static attn_status make_arrays(const attn_shape *s, arrays *a, attn_error *error)
{
    const size_t q_count = elements(s->batch, s->heads, s->seq, s->head_dim);
    const size_t k_count = elements(s->batch, s->kv_heads, s->kv_seq, s->head_dim);
    const size_t v_count = elements(s->batch, s->kv_heads, s->kv_seq, s->v_head_dim);
    const size_t o_count = elements(s->batch, s->heads, s->seq, s->v_head_dim);
    const size_t lse_count = elements(s->batch, s->heads, s->seq, 1);

    a->q = malloc(q_count * sizeof *a->q);
    a->k = malloc(k_count * sizeof *a->k);
    a->v = malloc(v_count * sizeof *a->v);
    a->o = malloc(o_count * sizeof *a->o);
    a->lse = malloc(lse_count * sizeof *a->lse);
    a->want_o = malloc(o_count * sizeof *a->want_o);
    a->want_lse = malloc(lse_count * sizeof *a->want_lse);
    if (a->q == NULL || a->k == NULL || a->v == NULL || a->o == NULL || a->lse == NULL || a->want_o == NULL ||
        a->want_lse == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the arrays");
    attn_random_fill(SEED, ATTN_STREAM_Q, 0, q_count, ATTN_FLOAT32, a->q);
    attn_random_fill(SEED, ATTN_STREAM_K, 0, k_count, ATTN_FLOAT32, a->k);
    attn_random_fill(SEED, ATTN_STREAM_V, 0, v_count, ATTN_FLOAT32, a->v);
    return ATTN_OK;
}

static void free_arrays(const arrays *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->o);
    free(a->lse);
    free(a->want_o);
    free(a->want_lse);
}

/* One forward pass: all heads, all query rows, and all keys as a single part. */
static attn_status forward(const attn_kernel *kernel, const attn_problem *problem, const arrays *a, float *o,
                           float *lse, attn_error *error)
{
    const attn_shape *s = &problem->shape;
    const int64_t begin = 0;
    const attn_array k = attn_array_dense(a->k, s->kv_heads, s->kv_seq, s->head_dim);
    const attn_array v = attn_array_dense(a->v, s->kv_heads, s->kv_seq, s->v_head_dim);
    attn_segments *q_rows = NULL, *kv_rows = NULL;
    attn_forward *pass = NULL;
    attn_status status = attn_segments_create(1, &begin, &s->seq, &q_rows, error);

    if (status == ATTN_OK)
        status = attn_segments_create(1, &begin, &s->kv_seq, &kv_rows, error);
    if (status == ATTN_OK) {
        const attn_segments *const parts[] = {kv_rows};
        const attn_forward_setup setup = {.problem = problem,
                                          .head_count = s->heads,
                                          .q_rows = q_rows,
                                          .part_count = 1,
                                          .part_rows = parts,
                                          .o_dtype = problem->dtype,
                                          .add_sinks = true,
                                          .threads = THREADS};
        const attn_forward_buffers buffers = {.q = attn_array_dense(a->q, s->heads, s->seq, s->head_dim),
                                              .k = &k,
                                              .v = &v,
                                              .o = attn_array_dense(o, s->heads, s->seq, s->v_head_dim),
                                              .lse = attn_array_dense(lse, s->heads, s->seq, 1)};

        status = attn_forward_create(kernel, &setup, &pass, error);
        if (status == ATTN_OK)
            attn_forward_execute(pass, &buffers); /* as often as wanted: it neither allocates nor fails */
        attn_forward_destroy(pass);
    }
    attn_segments_destroy(kv_rows);
    attn_segments_destroy(q_rows);
    return status;
}

static double largest_error(const float *got, const float *want, size_t count)
{
    double most = 0;

    for (size_t i = 0; i < count; i++) {
        const double error = attn_check_error((double)got[i], (double)want[i]);

        if (error > most)
            most = error;
    }
    return most;
}

/* Of finite values; the softmax denominator holds exp of each visible score, so no score is above its row's lse. */
static double largest(const float *values, size_t count)
{
    double most = (double)values[0];

    for (size_t i = 1; i < count; i++)
        if ((double)values[i] > most)
            most = (double)values[i];
    return most;
}

int main(void)
{
    /* Grouped queries: two query heads share each key-value head. */
    const attn_shape shape = {
        .batch = 2, .heads = 4, .kv_heads = 2, .seq = 200, .kv_seq = 200, .head_dim = 64, .v_head_dim = 64};
    attn_problem problem = attn_problem_init(shape, ATTN_FLOAT32);
    const attn_kernel *best = attn_kernel_best(ATTN_PASS_FORWARD, problem.dtype);
    const size_t rows = elements(shape.batch, shape.heads, shape.seq, 1);
    double o_error, lse_error, tolerance;
    attn_error error = ATTN_ERROR_INIT;
    arrays a = {0};
    attn_status status;
    bool good = false;

    problem.mask.causal = true;
    status = attn_problem_check(&problem, &error);
    if (status == ATTN_OK)
        status = make_arrays(&shape, &a, &error);
    if (status == ATTN_OK)
        status = forward(best, &problem, &a, a.o, a.lse, &error);
    if (status == ATTN_OK)
        status = forward(attn_kernel_find("reference"), &problem, &a, a.want_o, a.want_lse, &error);
    if (status == ATTN_OK) {
        tolerance = attn_tolerance_forward(attn_dtype_epsilon(problem.dtype), largest(a.want_lse, rows));
        o_error = largest_error(a.o, a.want_o, rows * (size_t)shape.v_head_dim);
        lse_error = largest_error(a.lse, a.want_lse, rows);
        good = o_error <= tolerance && lse_error <= tolerance;
        printf("%s: kernel %s, %zu rows, max error of o %.2g, of lse %.2g, tolerance %.2g\n", good ? "PASS" : "FAIL",
               attn_kernel_name(best), rows, o_error, lse_error, tolerance);
    } else {
        fprintf(stderr, "one_rank: %s\n", error.message);
    }
    free_arrays(&a);
    if (status != ATTN_OK)
        return 2;
    return good ? 0 : 1;
}
