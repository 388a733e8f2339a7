/* Who has what of a distributed layer, how it is chosen and refused, and what must be alike. */
#include "harness.h"
#include "layer/layer.h"
#include "layer/model.h"

#include <attn/comm.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static attn_layer_problem make_problem(int64_t heads, int64_t kv_heads, int64_t seq)
{
    const attn_shape shape = {.batch = 2,
                              .heads = heads,
                              .kv_heads = kv_heads,
                              .seq = seq,
                              .kv_seq = seq + 3,
                              .head_dim = 3,
                              .v_head_dim = 2};

    return (attn_layer_problem){.attention = attn_problem_init(shape, ATTN_FLOAT64),
                                .embed_dim = 4,
                                .context_dim = 5,
                                .out_dim = 6,
                                .projected = true,
                                .bias = {true, true, true, true}};
}

/* Calls visit with options of every grid, output and form. */
static void for_all(void (*visit)(const attn_layer_problem *problem, const attn_layer_options *options))
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_layer_problem problems[] = {make_problem(4, 2, 7), make_problem(5, 1, 2)};

    for (size_t p = 0; p < sizeof problems / sizeof problems[0]; p++)
        for (int head = 1; head <= ranks; head++)
            for (int output = 0; ranks % head == 0 && output < ATTN_LAYER_OUTPUT_COUNT; output++)
                for (int form = 0; form < ATTN_LAYER_FORM_COUNT; form++) {
                    const attn_layer_options options = {
                        .attention = {.grid = {ranks / head, head}, .pass = ATTN_PASS_BACKWARD},
                        .output = (attn_layer_output)output,
                        .form = (attn_layer_form)form};

                    visit(&problems[p], &options);
                }
}

static attn_layer *create(const attn_layer_problem *problem, const attn_layer_options *options)
{
    attn_layer *layer;

    TEST_OK(attn_layer_create(MPI_COMM_WORLD, problem, options, &layer, &attn_test_error));
    CU_ASSERT_PTR_NOT_NULL_FATAL(layer);
    return layer;
}

static void count_rows(const attn_segments *rows, int64_t seq)
{
    double *const times = calloc((size_t)seq, sizeof *times);

    for (int64_t r = 0; r < rows->rows; r++)
        times[attn_segments_global(rows, r)]++;
    TEST_OK(attn_comm_sum(MPI_COMM_WORLD, times, seq, &attn_test_error));
    for (int64_t i = 0; i < seq; i++)
        CU_ASSERT_EQUAL(times[i], 1);
    free(times);
}

static void check_parts(const attn_layer_problem *problem, const attn_layer_options *options)
{
    attn_layer *layer = create(problem, options);

    CU_ASSERT(attn_layer_output_of(layer) != ATTN_LAYER_OUTPUT_AUTO);
    CU_ASSERT(options->output == ATTN_LAYER_OUTPUT_AUTO || attn_layer_output_of(layer) == options->output);
    CU_ASSERT_EQUAL(attn_layer_plan(layer)->grid.head, options->attention.grid.head);
    CU_ASSERT_EQUAL(attn_layer_problem_of(layer)->embed_dim, problem->embed_dim);
    count_rows(attn_layer_rows(layer), problem->attention.shape.seq);
    count_rows(attn_layer_context_rows(layer), problem->attention.shape.kv_seq);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        const attn_weight_block block = attn_layer_block(layer, (attn_projection)p);
        const int64_t out = attn_layer_weight_out(problem, (attn_projection)p);
        const int64_t in = attn_layer_weight_in(problem, (attn_projection)p);
        double *const times = calloc((size_t)(out * in), sizeof *times);

        for (int64_t r = 0; r < block.row_count; r++)
            for (int64_t c = 0; c < block.column_count; c++)
                times[(block.row_begin + r) * in + block.column_begin + c]++;
        TEST_OK(attn_comm_sum(MPI_COMM_WORLD, times, out * in, &attn_test_error));
        for (int64_t n = 0; n < out * in; n++)
            CU_ASSERT(times[n] >= 1); /* somebody has it */
        free(times);
    }
    attn_layer_destroy(layer);
}

static void test_parts(void)
{
    for_all(check_parts);
}

/* Largest and smallest of what the ranks have for each number of a weight, or of a bias. */
static void compare_holders(const attn_weight_block *block, int64_t out, int64_t in, const double *got)
{
    double *const most = malloc((size_t)(out * in) * sizeof *most), *const least =
                                                                        malloc((size_t)(out * in) * sizeof *least);

    for (int64_t n = 0; n < out * in; n++) {
        most[n] = -INFINITY;
        least[n] = INFINITY;
    }
    for (int64_t r = 0; r < block->row_count; r++)
        for (int64_t c = 0; c < block->column_count; c++) {
            const int64_t at = (block->row_begin + r) * in + block->column_begin + c;

            most[at] = least[at] = got[r * block->column_count + c];
        }
    TEST_OK(attn_comm_max(MPI_COMM_WORLD, most, (int)(out * in), &attn_test_error));
    TEST_OK(attn_comm_min(MPI_COMM_WORLD, least, (int)(out * in), &attn_test_error));
    for (int64_t n = 0; n < out * in; n++)
        CU_ASSERT_EQUAL(most[n], least[n]);
    free(most);
    free(least);
}

/* Ranks that hold an element have the same bits of its gradient, or their weights would drift apart. */
static void check_alike(const attn_layer_problem *problem, const attn_layer_options *options)
{
    model m = model_make(problem, false);
    run r = run_make(&m, create(problem, options));

    run_forward(&r);
    run_backward(&r);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        attn_weight_block block = attn_layer_block(r.layer, (attn_projection)p);
        const int64_t out = attn_layer_weight_out(problem, (attn_projection)p);

        compare_holders(&block, out, attn_layer_weight_in(problem, (attn_projection)p), r.gradients.weight[p]);
        block.column_begin = 0;
        block.column_count = 1;
        compare_holders(&block, out, 1, r.gradients.bias[p]);
    }
    run_finish(&r);
    model_drop(&m);
}

static void test_alike(void)
{
    for_all(check_alike);
}

/* Messages in pieces of a few bytes: the way of large layers. */
static void check_limited(const attn_layer_problem *problem, const attn_layer_options *options)
{
    model m = model_make(problem, false);
    run whole = run_make(&m, create(problem, options)), pieces;
    attn_layer *layer;

    TEST_OK(attn_layer_create_limited(MPI_COMM_WORLD, problem, options, 50, &layer, &attn_test_error));
    pieces = run_make(&m, layer);
    run_forward(&whole);
    run_backward(&whole);
    run_forward(&pieces);
    run_backward(&pieces);
    CU_ASSERT(run_error(&pieces, false) <= 1);
    for (int64_t n = 0; n < 2 * attn_layer_rows(layer)->rows * problem->embed_dim; n++)
        TEST_CLOSE(((double *)pieces.dx)[n], ((double *)whole.dx)[n], 1e-13);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        const attn_weight_block block = attn_layer_block(layer, (attn_projection)p);

        for (int64_t n = 0; n < block.row_count * block.column_count; n++)
            TEST_CLOSE(((double *)pieces.gradients.weight[p])[n], ((double *)whole.gradients.weight[p])[n], 1e-13);
    }
    run_finish(&whole);
    run_finish(&pieces);
    model_drop(&m);
}

static void test_limited(void)
{
    for_all(check_limited);
}

/* A stack of single heads with the same weights has the result of the fused form within rounding. */
static void test_forms(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_layer_problem problem = make_problem(6, 3, 11);
    model m = model_make(&problem, false);

    for (int head = 1; head <= ranks; head++) {
        attn_layer_options options = {.attention = {.grid = {ranks / head, head}, .pass = ATTN_PASS_BACKWARD}};
        run fused, stacked;

        if (ranks % head != 0)
            continue;
        fused = run_make(&m, create(&problem, &options));
        options.form = ATTN_LAYER_FORM_STACKED;
        stacked = run_make(&m, create(&problem, &options));
        run_forward(&fused);
        run_backward(&fused);
        run_forward(&stacked);
        run_backward(&stacked);
        for (int64_t n = 0; n < 2 * attn_layer_rows(fused.layer)->rows * problem.out_dim; n++)
            TEST_CLOSE(((double *)stacked.y)[n], ((double *)fused.y)[n], 8 * attn_dtype_epsilon(ATTN_FLOAT64));
        for (int64_t n = 0; n < 2 * attn_layer_context_rows(fused.layer)->rows * problem.context_dim; n++)
            TEST_CLOSE(((double *)stacked.d_context)[n], ((double *)fused.d_context)[n],
                       32 * attn_dtype_epsilon(ATTN_FLOAT64));
        run_finish(&fused);
        run_finish(&stacked);
    }
    model_drop(&m);
}

/* Gradients of rows that nobody asks for are left out; all else is as before. */
static void test_not_needed(void)
{
    const attn_layer_problem problem = make_problem(4, 2, 7);
    const attn_layer_options options = {.attention = {.pass = ATTN_PASS_BACKWARD}};
    model m = model_make(&problem, false);
    run a = run_make(&m, create(&problem, &options));
    double seconds[ATTN_PHASE_COUNT], *const kept = a.gradients.weight[ATTN_PROJECTION_KEY];
    const attn_weight_block block = attn_layer_block(a.layer, ATTN_PROJECTION_KEY);
    const size_t bytes = (size_t)(block.row_count * block.column_count) * sizeof *kept;
    double *const before = malloc(bytes + 1);

    run_forward(&a);
    run_backward(&a);
    memcpy(before, kept, bytes);
    memset(kept, 0xff, bytes);
    TEST_OK(attn_layer_backward(a.layer, &a.weights, a.x, a.context, a.dy, NULL, NULL, &a.gradients, seconds,
                                &attn_test_error));
    CU_ASSERT(memcmp(before, kept, bytes) == 0);
    free(before);
    run_finish(&a);
    model_drop(&m);
}

/* Many lines and a small weight: lines are what is cheap to send less of. A weight larger than the lines: its gradient
 * is. */
static void test_choice(void)
{
    const attn_shape shape = {
        .batch = 1, .heads = 32, .kv_heads = 32, .seq = 4096, .kv_seq = 4096, .head_dim = 64, .v_head_dim = 64};
    attn_layer_problem problem = {
        .attention = attn_problem_init(shape, ATTN_FLOAT32), .embed_dim = 2048, .out_dim = 2048, .projected = true};
    const attn_plan_options forward = {.grid = {2, 4}}, backward = {.grid = {2, 4}, .pass = ATTN_PASS_BACKWARD};
    const attn_plan_options alone = {.grid = {8, 1}, .pass = ATTN_PASS_BACKWARD};
    attn_plan plan;

    TEST_OK(attn_plan_make(&problem.attention, 8, &forward, &plan, &attn_test_error));
    CU_ASSERT_EQUAL(attn_output_choose(&problem, &plan), ATTN_LAYER_OUTPUT_ALLGATHER);
    problem.attention.shape.seq = problem.attention.shape.kv_seq = 64;
    TEST_OK(attn_plan_make(&problem.attention, 8, &backward, &plan, &attn_test_error));
    CU_ASSERT_EQUAL(attn_output_choose(&problem, &plan), ATTN_LAYER_OUTPUT_REDUCE_SCATTER);
    TEST_OK(attn_plan_make(&problem.attention, 8, &alone, &plan, &attn_test_error));
    CU_ASSERT_EQUAL(attn_output_choose(&problem, &plan), ATTN_LAYER_OUTPUT_ALLGATHER);
}

static void refused(const attn_layer_problem *problem, const attn_layer_options *options, attn_status want,
                    const char *text)
{
    attn_layer *layer = NULL;
    attn_error error = {.message = ""};

    CU_ASSERT_EQUAL(attn_layer_create(MPI_COMM_WORLD, problem, options, &layer, &error), want);
    CU_ASSERT_PTR_NULL(layer);
    CU_ASSERT(strstr(error.message, text) != NULL);
    if (strstr(error.message, text) == NULL)
        printf("\"%s\" lacks \"%s\"\n", error.message, text);
}

static void test_refused(void)
{
    const attn_layer_problem problem = make_problem(4, 2, 7);
    attn_layer_problem wrong = problem;
    attn_layer_options options = {.attention = {.pass = ATTN_PASS_DECODE}};

    refused(&problem, &options, ATTN_UNSUPPORTED, "pass decode");
    options = (attn_layer_options){.attention = {.grid = {5, 2}}};
    refused(&problem, &options, ATTN_UNSUPPORTED, "5");
    options = (attn_layer_options){.output = ATTN_LAYER_OUTPUT_COUNT};
    refused(&problem, &options, ATTN_ARGUMENT, "output 3");
    options = (attn_layer_options){.form = ATTN_LAYER_FORM_COUNT};
    refused(&problem, &options, ATTN_ARGUMENT, "form 2");
    options = (attn_layer_options){.output = ATTN_LAYER_OUTPUT_AUTO};
    wrong.embed_dim = 0;
    refused(&wrong, &options, ATTN_ARGUMENT, "embed-dim 0");
}

int main(int argc, char **argv)
{
    const attn_test tests[] = {
        {"rows and weights of ranks", test_parts}, {"gradients of holders", test_alike},
        {"messages in pieces", test_limited},      {"fused and stacked", test_forms},
        {"gradients not needed", test_not_needed}, {"choice of the output", test_choice},
        {"what is refused", test_refused},
    };

    return attn_test_main(argc, argv, "layer/parts", tests, sizeof tests / sizeof tests[0]);
}
