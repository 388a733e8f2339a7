/* The reference cases and the real input through every kernel, exchange, combine, layout and grid of the ranks at hand.
 */
#include "harness.h"
#include "plans.h"

#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/input.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An array of one rank, from its block of the file. */
static void *read_array(attn_input *input, attn_input_array array, int64_t head_begin, int64_t head_count,
                        const attn_segments *rows, int64_t width, attn_dtype dtype)
{
    const attn_block block = {.head_begin = head_begin, .head_count = head_count, .rows = rows};
    const int64_t batch = attn_input_problem(input)->shape.batch;
    void *data = malloc((size_t)(batch * head_count * rows->rows * width) * attn_dtype_size(dtype) + 1);

    TEST_OK(attn_input_read(input, array, &block, dtype, data, &attn_test_error));
    return data;
}

/* Largest |got - want| / (1 + |want|); equal infinities and NaN on both sides count as equal. */
static double largest_error(attn_dtype dtype, const void *got, const double *want, int64_t count)
{
    double worst = 0;

    for (int64_t n = 0; n < count; n++) {
        const double value = attn_load(dtype, got, (size_t)n);
        const double error = value == want[n] ? 0 : fabs(value - want[n]) / (1 + fabs(want[n]));

        worst = fmax(worst, isnan(error) ? INFINITY : error);
    }
    return worst;
}

static void check_plan(attn_input *input, const attn_plan *plan)
{
    const attn_shape *s = &plan->problem.shape;
    const attn_dtype dtype = plan->problem.dtype, sum_dtype = attn_dtype_accumulator(dtype);
    double seconds[ATTN_PHASE_COUNT], worst, *o, *lse;
    attn_dist_buffers buffers;
    attn_dist *dist;
    const attn_part *part;
    attn_row *rows;
    int64_t count, heads, rows_here;
    attn_check check;
    void *q, *k, *v;

    TEST_OK(attn_dist_create(MPI_COMM_WORLD, plan, &dist, &attn_test_error));
    part = attn_dist_part(dist);
    heads = attn_dist_output_heads(dist);
    rows_here = part->q_rows->rows;
    q = read_array(input, ATTN_INPUT_Q, part->head_begin, part->head_count, part->q_rows, s->head_dim, dtype);
    k = read_array(input, ATTN_INPUT_K, part->kv_head_begin, part->kv_head_count, part->kv_rows, s->head_dim, dtype);
    v = read_array(input, ATTN_INPUT_V, part->kv_head_begin, part->kv_head_count, part->kv_rows, s->v_head_dim, dtype);
    o = read_array(input, ATTN_INPUT_EXPECTED_O, attn_dist_output_head_begin(dist), heads, part->q_rows, s->v_head_dim,
                   ATTN_FLOAT64);
    lse = read_array(input, ATTN_INPUT_EXPECTED_LSE, part->head_begin, part->head_count, part->q_rows, 1, ATTN_FLOAT64);
    buffers = (attn_dist_buffers){
        .q = q,
        .k = k,
        .v = v,
        .o = calloc((size_t)(s->batch * heads * rows_here * s->v_head_dim) + 1, attn_dtype_size(dtype)),
        .lse = calloc((size_t)(s->batch * part->head_count * rows_here) + 1, attn_dtype_size(sum_dtype))};
    TEST_OK(attn_dist_forward(dist, &buffers, seconds, &attn_test_error));

    TEST_OK(attn_sample_rows(plan, 500, 0, &rows, &count, &attn_test_error));
    TEST_OK(attn_dist_check(dist, &buffers, rows, count, attn_dtype_epsilon(dtype), &check, &attn_test_error));
    CU_ASSERT(check.valid);
    /* The tolerance comes from a sample of the scores: never more than that of all of them. */
    worst = largest_error(dtype, buffers.o, o, s->batch * heads * rows_here * s->v_head_dim);
    worst = fmax(worst, largest_error(sum_dtype, buffers.lse, lse, s->batch * part->head_count * rows_here));
    TEST_CLOSE(worst, 0, check.tolerance);
    free(rows);
    free(buffers.o);
    free(buffers.lse);
    free(q);
    free(k);
    free(v);
    free(o);
    free(lse);
    attn_dist_destroy(dist);
}

static void visit(const attn_plan *plan, void *input)
{
    check_plan(input, plan);
}

static int check_file(const char *name, attn_dtype dtype)
{
    attn_input *input;
    attn_problem problem;
    int plans;

    TEST_OK(attn_input_open(MPI_COMM_WORLD, attn_test_data(name), &input, &attn_test_error));
    if (input == NULL)
        return 0;
    problem = *attn_input_problem(input);
    problem.dtype = dtype;
    plans = test_plans(&problem, ATTN_PASS_FORWARD, visit, input);
    TEST_OK(attn_input_close(input, &attn_test_error));
    return plans;
}

/* Calls check_file for all attn-input files of a folder of tests/data; returns how many there were. */
static int for_all_files(const char *folder, attn_dtype dtype)
{
    char path[1024], name[512], schema[32];
    struct dirent **entries = NULL;
    int count, files = 0;

    snprintf(path, sizeof path, "%s", attn_test_data(folder));
    count = scandir(path, &entries, NULL, alphasort);
    for (int n = 0; n < count; n++) {
        const char *end = strrchr(entries[n]->d_name, '.');

        snprintf(name, sizeof name, "%s/%s", folder, entries[n]->d_name);
        if (end != NULL && strcmp(end, ".h5") == 0) {
            TEST_OK(attn_file_schema(MPI_COMM_WORLD, attn_test_data(name), schema, sizeof schema, &attn_test_error));
            if (strcmp(schema, "attn-input") == 0) {
                CU_ASSERT(check_file(name, dtype) > 0);
                files++;
            } else {
                CU_ASSERT_STRING_EQUAL(schema, "attn-layer");
            }
        }
        free(entries[n]);
    }
    free(entries);
    return files;
}

static void test_float32(void)
{
    CU_ASSERT(for_all_files("golden", ATTN_FLOAT32) >= 15);
}

static void test_float64(void)
{
    CU_ASSERT(for_all_files("golden", ATTN_FLOAT64) >= 15);
}

/* 12 heads of 32 and 509 rows of a real model: nothing divides evenly. */
static void test_real_input(void)
{
    CU_ASSERT(for_all_files("real", ATTN_FLOAT32) >= 1);
}

static const attn_test tests[] = {
    {"reference cases in float32", test_float32},
    {"reference cases in float64", test_float64},
    {"a real input", test_real_input},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/golden", tests, sizeof tests / sizeof tests[0]);
}
