/* The distributed backward pass: the reference cases, problems whose key-value heads are shared, and the check
 * itself. */
#include "fixture.h"
#include "harness.h"
#include "plans.h"

#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/input.h>
#include <attn/random.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One rank's arrays of a backward pass. */
typedef struct arrays {
    attn_dist_backward_buffers in;
    void *q, *k, *v, *o, *lse, *d_o;
    int64_t q_count, k_count, v_count; /* elements of dq, dk and dv */
} arrays;

static void *allocate(int64_t count, attn_dtype dtype)
{
    void *made = malloc((size_t)count * attn_dtype_size(dtype) + 1);

    memset(made, 0xff, (size_t)count * attn_dtype_size(dtype)); /* NaN */
    return made;
}

/* Room for o, lse and the gradients; the inputs are the caller's to make. */
static void make_outputs(const attn_dist *dist, arrays *a)
{
    const attn_problem *p = &attn_dist_plan(dist)->problem;
    const attn_shape *s = &p->shape;
    const attn_part *part = attn_dist_part(dist);
    const int64_t rows = part->q_rows->rows;

    a->q_count = s->batch * part->head_count * rows * s->head_dim;
    a->k_count = s->batch * part->kv_head_count * part->kv_rows->rows * s->head_dim;
    a->v_count = s->batch * part->kv_head_count * part->kv_rows->rows * s->v_head_dim;
    a->o = allocate(s->batch * attn_dist_output_heads(dist) * rows * s->v_head_dim, p->dtype);
    a->lse = allocate(s->batch * part->head_count * rows, attn_dtype_accumulator(p->dtype));
    a->in = (attn_dist_backward_buffers){.q = a->q,
                                         .k = a->k,
                                         .v = a->v,
                                         .o = a->o,
                                         .lse = a->lse,
                                         .d_o = a->d_o,
                                         .dq = allocate(a->q_count, p->dtype),
                                         .dk = allocate(a->k_count, p->dtype),
                                         .dv = allocate(a->v_count, p->dtype)};
}

static void drop(arrays *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->o);
    free(a->lse);
    free(a->d_o);
    free(a->in.dq);
    free(a->in.dk);
    free(a->in.dv);
}

/* Both passes, and the check of all rows or some; returns its outcome. */
static attn_check run(attn_dist *dist, arrays *a, int64_t sampled)
{
    const attn_plan *plan = attn_dist_plan(dist);
    const attn_dist_buffers forward = {.q = a->q, .k = a->k, .v = a->v, .o = a->o, .lse = a->lse};
    double seconds[ATTN_PHASE_COUNT];
    attn_check check = {0};
    attn_row *rows;
    int64_t count;

    TEST_OK(attn_dist_forward(dist, &forward, seconds, &attn_test_error));
    TEST_OK(attn_dist_backward(dist, &a->in, seconds, &attn_test_error));
    CU_ASSERT(seconds[ATTN_PHASE_TOTAL] >= seconds[ATTN_PHASE_COMPUTE]);
    TEST_OK(attn_sample_rows(plan, sampled, 3, &rows, &count, &attn_test_error));
    TEST_OK(attn_dist_check_backward(dist, &a->in, rows, count, attn_dtype_epsilon(plan->problem.dtype), &check,
                                     &attn_test_error));
    CU_ASSERT_EQUAL(check.rows, count);
    free(rows);
    return check;
}

static void *read_array(attn_input *input, attn_input_array array, int64_t head_begin, int64_t head_count,
                        const attn_segments *rows, int64_t width, attn_dtype dtype)
{
    const attn_block block = {.head_begin = head_begin, .head_count = head_count, .rows = rows};
    const int64_t batch = attn_input_problem(input)->shape.batch;
    void *data = malloc((size_t)(batch * head_count * rows->rows * width) * attn_dtype_size(dtype) + 1);

    TEST_OK(attn_input_read(input, array, &block, dtype, data, &attn_test_error));
    return data;
}

/* Compares one gradient with the file's, of a block of heads and rows. */
static void compare(attn_input *input, attn_input_array array, const attn_block *block, int64_t width, attn_dtype dtype,
                    const void *got, double max_score)
{
    const int64_t count = attn_input_problem(input)->shape.batch * block->head_count * block->rows->rows * width;
    const double stored = attn_dtype_epsilon(attn_input_stored_dtype(input, array));
    const double tolerance = attn_tolerance_backward(fmax(attn_dtype_epsilon(dtype), stored), max_score);
    double *want = read_array(input, array, block->head_begin, block->head_count, block->rows, width, ATTN_FLOAT64);

    for (int64_t n = 0; n < count; n++)
        TEST_CLOSE(attn_load(dtype, got, (size_t)n), want[n], tolerance);
    free(want);
}

static void check_file_plan(attn_input *input, const attn_plan *plan)
{
    const attn_shape *s = &plan->problem.shape;
    const attn_dtype dtype = plan->problem.dtype;
    attn_dist *dist;
    const attn_part *part;
    attn_block queries, keys;
    attn_check check;
    arrays a;

    TEST_OK(attn_dist_create(MPI_COMM_WORLD, plan, &dist, &attn_test_error));
    part = attn_dist_part(dist);
    a.q = read_array(input, ATTN_INPUT_Q, part->head_begin, part->head_count, part->q_rows, s->head_dim, dtype);
    a.k = read_array(input, ATTN_INPUT_K, part->kv_head_begin, part->kv_head_count, part->kv_rows, s->head_dim, dtype);
    a.v =
        read_array(input, ATTN_INPUT_V, part->kv_head_begin, part->kv_head_count, part->kv_rows, s->v_head_dim, dtype);
    a.d_o = read_array(input, ATTN_INPUT_DO, part->head_begin, part->head_count, part->q_rows, s->v_head_dim, dtype);
    make_outputs(dist, &a);
    queries = (attn_block){part->head_begin, part->head_count, part->q_rows};
    keys = (attn_block){part->kv_head_begin, part->kv_head_count, part->kv_rows};
    check = run(dist, &a, 60);
    CU_ASSERT(check.valid);
    compare(input, ATTN_INPUT_EXPECTED_DQ, &queries, s->head_dim, dtype, a.in.dq, check.max_score);
    compare(input, ATTN_INPUT_EXPECTED_DK, &keys, s->head_dim, dtype, a.in.dk, check.max_score);
    compare(input, ATTN_INPUT_EXPECTED_DV, &keys, s->v_head_dim, dtype, a.in.dv, check.max_score);
    drop(&a);
    attn_dist_destroy(dist);
}

static void visit_file(const attn_plan *plan, void *input)
{
    check_file_plan(input, plan);
}

/* Returns how many plans there were, 0 for a file without gradients. */
static int check_file(const char *name, attn_dtype dtype)
{
    attn_input *input;
    attn_problem problem;
    int plans = 0;

    TEST_OK(attn_input_open(MPI_COMM_WORLD, attn_test_data(name), &input, &attn_test_error));
    problem = *attn_input_problem(input);
    problem.dtype = dtype;
    if (attn_input_has(input, ATTN_INPUT_EXPECTED_DQ))
        plans = test_plans(&problem, ATTN_PASS_BACKWARD, visit_file, input);
    TEST_OK(attn_input_close(input, &attn_test_error));
    return plans;
}

static int check_files(attn_dtype dtype)
{
    char name[512], schema[32];
    struct dirent **entries = NULL;
    const int count = scandir(attn_test_data("golden"), &entries, NULL, alphasort);
    int files = 0;

    for (int n = 0; n < count; n++) {
        const char *end = strrchr(entries[n]->d_name, '.');

        snprintf(name, sizeof name, "golden/%s", entries[n]->d_name);
        free(entries[n]);
        if (end == NULL || strstr(name, ".h5") == NULL)
            continue;
        TEST_OK(attn_file_schema(MPI_COMM_WORLD, attn_test_data(name), schema, sizeof schema, &attn_test_error));
        if (strcmp(schema, "attn-input") == 0)
            files += check_file(name, dtype) > 0;
    }
    free(entries);
    return files;
}

static void test_float32(void)
{
    CU_ASSERT(check_files(ATTN_FLOAT32) >= 10);
}

static void test_float64(void)
{
    CU_ASSERT(check_files(ATTN_FLOAT64) >= 10);
}

/* Makes what a rank has of a problem with random inputs. */
static void make_inputs(const fixture *f, const attn_dist *dist, arrays *a)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const attn_part *part = attn_dist_part(dist);
    const int64_t count = fixture_elements(s, s->heads, s->seq, s->v_head_dim);
    void *d_o = malloc((size_t)count * attn_dtype_size(dtype) + 1);

    attn_random_fill(8, ATTN_STREAM_V, 0, (size_t)count, dtype, d_o);
    a->q = fixture_cut(s, dtype, f->q, s->heads, s->seq, s->head_dim, part->head_begin, part->head_count, part->q_rows);
    a->k = fixture_cut(s, dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, part->kv_head_begin, part->kv_head_count,
                       part->kv_rows);
    a->v = fixture_cut(s, dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, part->kv_head_begin, part->kv_head_count,
                       part->kv_rows);
    a->d_o =
        fixture_cut(s, dtype, d_o, s->heads, s->seq, s->v_head_dim, part->head_begin, part->head_count, part->q_rows);
    free(d_o);
    make_outputs(dist, a);
}

static void visit_fixture(const attn_plan *plan, void *context)
{
    const fixture *f = context;
    attn_dist *dist;
    arrays a;

    TEST_OK(attn_dist_create(MPI_COMM_WORLD, plan, &dist, &attn_test_error));
    make_inputs(f, dist, &a);
    CU_ASSERT(run(dist, &a, 1000).valid);
    drop(&a);
    attn_dist_destroy(dist);
}

static void check_problem(const attn_problem *problem)
{
    fixture f = fixture_make(problem);

    CU_ASSERT(test_plans(problem, ATTN_PASS_BACKWARD, visit_fixture, &f) > 0);
    fixture_drop(&f);
}

/* More ranks than key-value heads, chains of shared heads, ranks without a head; every row and key, on every holder. */
static void test_shared_heads(void)
{
    static const int64_t shapes[][7] = {{2, 6, 1, 30, 21, 8, 5}, {1, 6, 3, 17, 40, 9, 16}, {1, 2, 1, 9, 9, 4, 4}};

    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
            const int64_t *s = shapes[n];
            attn_problem p = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], (attn_dtype)dtype);

            p.mask.causal = n == 1;
            p.dropout = (int)n == dtype % 3 ? 0.3 : 0;
            check_problem(&p);
        }
}

/* Masks that leave parts out, rows without keys, keys that nobody sees, fewer rows than ranks. */
static void test_masks(void)
{
    static const int64_t kv_len[] = {30, 0, 11}, cu_seqlens[] = {0, 5, 5, 6, 20, 31};
    double slopes[4], sinks[] = {1, -2, 0.5, 30};
    attn_problem window = PROBLEM(1, 4, 2, 31, 40, 8, 8, ATTN_FLOAT32);
    attn_problem padding = PROBLEM(3, 4, 2, 17, 30, 8, 8, ATTN_FLOAT32);
    attn_problem documents = PROBLEM(2, 4, 4, 31, 31, 8, 8, ATTN_BFLOAT16);
    attn_problem few = PROBLEM(1, 2, 2, 2, 3, 8, 4, ATTN_FLOAT64);

    attn_alibi_slopes(4, slopes);
    window.mask.window_left = 4;
    window.mask.window_right = 2;
    window.score.alibi_slopes = slopes;
    window.score.softcap = 3;
    check_problem(&window);
    padding.mask.kv_len = kv_len;
    padding.score.sinks = sinks;
    check_problem(&padding);
    documents.mask.causal = true;
    documents.mask.cu_seqlens = cu_seqlens;
    documents.mask.documents = 5;
    check_problem(&documents);
    check_problem(&few);
}

/* Heads that deal evenly and unevenly to the ranks of an all-to-all, fewer than those, shared ones. */
static void test_dealt_heads(void)
{
    static const int64_t kv_len[] = {40, 0};
    static const int64_t shapes[][7] = {{2, 8, 8, 24, 48, 8, 8}, {2, 2, 1, 5, 40, 4, 7}, {2, 24, 4, 7, 41, 4, 4}};

    for (size_t masked = 0; masked < sizeof shapes / sizeof shapes[0]; masked++) {
        const int64_t *s = shapes[masked];
        attn_problem p = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], masked == 1 ? ATTN_BFLOAT16 : ATTN_FLOAT32);

        p.mask.causal = masked == 1;
        p.mask.window_left = masked == 2 ? 3 : -1;
        p.mask.kv_len = masked == 2 ? kv_len : NULL;
        check_problem(&p);
    }
}

/* A wrong number in any of the three gradients is found. */
static void test_check_finds(void)
{
    const attn_problem p = PROBLEM(1, 12, 12, 12, 12, 4, 4, ATTN_FLOAT32);
    const attn_plan_options options = {
        .exchange = attn_exchange_find("none"), .pass = ATTN_PASS_BACKWARD, .threads = 1};
    fixture f = fixture_make(&p);
    attn_plan plan;
    attn_dist *dist;
    attn_row *rows;
    int64_t count;
    arrays a;

    TEST_OK(attn_plan_make(&p, attn_comm_size(MPI_COMM_WORLD), &options, &plan, &attn_test_error));
    TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
    make_inputs(&f, dist, &a);
    CU_ASSERT(run(dist, &a, 1000).valid);
    TEST_OK(attn_sample_rows(&plan, 1000, 0, &rows, &count, &attn_test_error));
    for (int n = 0; n < 3; n++) {
        float *array = n == 0 ? a.in.dq : n == 1 ? a.in.dk : a.in.dv;
        const bool here = attn_comm_rank(MPI_COMM_WORLD) == 0;
        const float kept = here ? array[5] : 0;
        attn_check check;

        if (here)
            array[5] = kept + 0.01F;
        TEST_OK(attn_dist_check_backward(dist, &a.in, rows, count, 0x1p-23, &check, &attn_test_error));
        CU_ASSERT_FALSE(check.valid);
        if (here)
            array[5] = kept;
    }
    free(rows);
    drop(&a);
    attn_dist_destroy(dist);
    fixture_drop(&f);
}

/* Where there is no backward pass the reason is told, and nothing runs. */
static void test_unsupported(void)
{
    const attn_problem p = PROBLEM(1, 2, 2, 12, 12, 4, 4, ATTN_FLOAT32);
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    for (size_t e = 0; e < attn_exchange_count(); e++) {
        const attn_plan_options options = {.exchange = attn_exchange_at(e), .pass = ATTN_PASS_BACKWARD, .threads = 1};
        attn_error error = ATTN_ERROR_INIT;
        attn_plan plan;

        if (attn_plan_make(&p, ranks, &options, &plan, &error) == ATTN_OK)
            continue;
        CU_ASSERT_PTR_NOT_NULL(strstr(error.message, attn_exchange_name(attn_exchange_at(e))));
        CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "backward"));
    }
}

static const attn_test tests[] = {
    {"reference cases in float32", test_float32},
    {"reference cases in float64", test_float64},
    {"shared key-value heads", test_shared_heads},
    {"masks and scores", test_masks},
    {"heads dealt to ranks", test_dealt_heads},
    {"the check finds wrong gradients", test_check_finds},
    {"exchanges without a backward pass", test_unsupported},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/backward", tests, sizeof tests / sizeof tests[0]);
}
