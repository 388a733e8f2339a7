/* Distributed layers against the textbook layer in float64, and against its differences. */
#include "harness.h"
#include "layer/model.h"
#include "plans.h"

#include <attn/comm.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE(B, HQ, HKV, SQ, SKV, DQK, DV)                                                                            \
    {                                                                                                                  \
        .batch = B, .heads = HQ, .kv_heads = HKV, .seq = SQ, .kv_seq = SKV, .head_dim = DQK, .v_head_dim = DV          \
    }

/* A layer with a full mask and all biases. */
static attn_layer_problem layer_of(attn_shape shape, int64_t embed, int64_t context, int64_t out)
{
    attn_layer_problem p = {.attention = attn_problem_init(shape, ATTN_FLOAT64),
                            .embed_dim = embed,
                            .context_dim = context,
                            .out_dim = out,
                            .projected = true};

    for (int n = 0; n < ATTN_PROJECTION_COUNT; n++)
        p.bias[n] = n != ATTN_PROJECTION_OUT || out > 0;
    return p;
}

/* Makes both passes twice, with other arrays, and compares. */
static void check(const model *m, const attn_layer_options *options, const char *what)
{
    const bool back = options->attention.pass == ATTN_PASS_BACKWARD;
    attn_layer *layer;
    run a, b;
    double error;

    TEST_OK(attn_layer_create(MPI_COMM_WORLD, &m->problem, options, &layer, &attn_test_error));
    if (layer == NULL)
        return;
    a = run_make(m, layer);
    b = run_make(m, layer);
    run_forward(&a);
    if (back)
        run_backward(&a);
    run_forward(&b);
    if (back)
        run_backward(&b); /* nothing is left over from the first time */
    error = run_error(&a, back);
    CU_ASSERT(error <= 1);
    if (!(error <= 1)) {
        const attn_plan *const plan = attn_layer_plan(layer);

        printf("%s: %g times what is accepted; %s, grid %dx%d, layout %s, form %d, output %d\n", what, error,
               attn_exchange_name(plan->exchange), plan->grid.seq, plan->grid.head, attn_layout_name(plan->layout),
               (int)options->form, (int)attn_layer_output_of(layer));
    }
    CU_ASSERT(run_same(&a, &b, back));
    run_finish(&a);
    b.layer = NULL;
    run_finish(&b);
}

/* Every grid, both ways of output, both forms. */
static void check_grids(const attn_layer_problem *problem, attn_pass pass, const char *what)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    model m = model_make(problem, pass == ATTN_PASS_BACKWARD);

    for (int head = 1; head <= ranks; head++) {
        attn_layer_options options = {.attention = {.grid = {ranks / head, head}, .pass = pass, .threads = 2}};

        if (ranks % head != 0)
            continue;
        options.output = ATTN_LAYER_OUTPUT_ALLGATHER;
        check(&m, &options, what);
        options.form = ATTN_LAYER_FORM_STACKED;
        check(&m, &options, what);
        options.output = ATTN_LAYER_OUTPUT_REDUCE_SCATTER;
        if (head == 1 || problem->out_dim == 0)
            continue; /* the same */
        check(&m, &options, what);
        options.form = ATTN_LAYER_FORM_FUSED;
        check(&m, &options, what);
    }
    model_drop(&m);
}

static void test_multi_head(void)
{
    attn_layer_problem p = layer_of((attn_shape)SHAPE(2, 4, 4, 7, 7, 3, 5), 6, 0, 5);

    p.attention.mask.window_right = 0;
    check_grids(&p, ATTN_PASS_BACKWARD, "multi-head");
}

/* Six ranks have more than the heads, and in part share key-value heads. */
static void test_grouped(void)
{
    attn_layer_problem p = layer_of((attn_shape)SHAPE(1, 6, 2, 9, 9, 2, 3), 5, 0, 7);

    p.bias[ATTN_PROJECTION_KEY] = false;
    check_grids(&p, ATTN_PASS_BACKWARD, "grouped");
    p = layer_of((attn_shape)SHAPE(2, 4, 2, 5, 5, 2, 3), 5, 0, 0);
    p.bias[ATTN_PROJECTION_QUERY] = p.bias[ATTN_PROJECTION_VALUE] = false;
    check_grids(&p, ATTN_PASS_BACKWARD, "grouped, without output projection");
}

static void test_multi_query(void)
{
    attn_layer_problem p = layer_of((attn_shape)SHAPE(2, 5, 1, 4, 4, 3, 2), 4, 0, 3);

    p.bias[ATTN_PROJECTION_OUT] = false;
    check_grids(&p, ATTN_PASS_BACKWARD, "multi-query");
}

/* Fewer heads than ranks, and fewer rows. */
static void test_few(void)
{
    const attn_layer_problem p = layer_of((attn_shape)SHAPE(3, 2, 1, 2, 2, 4, 3), 3, 0, 4);
    const attn_layer_problem single = layer_of((attn_shape)SHAPE(1, 1, 1, 5, 5, 4, 3), 3, 0, 0);

    check_grids(&p, ATTN_PASS_BACKWARD, "two rows");
    check_grids(&single, ATTN_PASS_BACKWARD, "single head");
}

static void test_cross(void)
{
    attn_layer_problem p = layer_of((attn_shape)SHAPE(2, 3, 3, 4, 9, 3, 4), 5, 7, 6);

    check_grids(&p, ATTN_PASS_BACKWARD, "cross");
    p.attention.shape.seq = 8;
    p.attention.shape.kv_seq = 3;
    p.out_dim = 0;
    p.bias[ATTN_PROJECTION_OUT] = false;
    check_grids(&p, ATTN_PASS_BACKWARD, "cross, fewer keys");
}

static void test_no_projections(void)
{
    attn_layer_problem p = {.attention = attn_problem_init((attn_shape)SHAPE(2, 1, 1, 6, 6, 5, 5), ATTN_FLOAT64),
                            .embed_dim = 5};

    check_grids(&p, ATTN_PASS_BACKWARD, "no projections");
    p.attention.mask.window_right = 0;
    p.attention.dtype = ATTN_FLOAT32;
    check_grids(&p, ATTN_PASS_BACKWARD, "no projections, causal");
}

/* What goes by the number of a head: dropout, slopes and sinks. */
static void test_numbered_heads(void)
{
    const double slopes[] = {0.5, 0.25, 0.125, 0.0625}, sinks[] = {0.5, -1, 0, 2};
    attn_layer_problem p = layer_of((attn_shape)SHAPE(2, 4, 2, 7, 7, 3, 3), 4, 0, 4);

    p.attention.dropout = 0.3;
    p.attention.dropout_seed = 11;
    p.attention.score.alibi_slopes = slopes;
    p.attention.score.sinks = sinks;
    p.attention.mask.window_right = 0;
    check_grids(&p, ATTN_PASS_BACKWARD, "dropout, slopes, sinks");
}

static void test_rotary(void)
{
    attn_layer_problem p = layer_of((attn_shape)SHAPE(2, 4, 2, 7, 7, 6, 3), 5, 0, 4);

    p.rotary = (attn_rotary){.style = ATTN_ROTARY_HALF, .theta = 100, .dim = 4};
    p.attention.mask.window_right = 0;
    check_grids(&p, ATTN_PASS_BACKWARD, "rotary half");
    p = layer_of((attn_shape)SHAPE(1, 3, 3, 4, 9, 4, 3), 5, 3, 0);
    p.rotary = (attn_rotary){.style = ATTN_ROTARY_INTERLEAVED, .theta = 50, .dim = 4};
    check_grids(&p, ATTN_PASS_BACKWARD, "rotary interleaved, cross");
}

static void test_types(void)
{
    const attn_dtype types[] = {ATTN_FLOAT32, ATTN_BFLOAT16, ATTN_FLOAT16};

    for (size_t n = 0; n < sizeof types / sizeof types[0]; n++) {
        attn_layer_problem p = layer_of((attn_shape)SHAPE(2, 4, 2, 9, 9, 8, 6), 12, 0, 10);

        p.attention.dtype = types[n];
        p.attention.mask.window_right = 0;
        p.rotary = (attn_rotary){.style = ATTN_ROTARY_HALF, .theta = 10000, .dim = 8};
        check_grids(&p, types[n] == ATTN_FLOAT16 ? ATTN_PASS_FORWARD : ATTN_PASS_BACKWARD, attn_dtype_name(types[n]));
    }
}

static void visit_plan(const attn_plan *plan, void *context)
{
    const attn_layer_options options = {.attention = {.grid = plan->grid,
                                                      .exchange = plan->exchange,
                                                      .layout = plan->layout,
                                                      .kernel = plan->kernel,
                                                      .pass = plan->pass,
                                                      .transfer = plan->transfer,
                                                      .hybrid = plan->hybrid,
                                                      .node_ranks = plan->node_ranks,
                                                      .threads = plan->threads}};

    check(context, &options, "plan");
}

/* Each exchange that has a backward pass, with every layout. */
static void test_every_plan(void)
{
    attn_layer_problem p = layer_of((attn_shape)SHAPE(1, 4, 2, 13, 13, 3, 4), 5, 0, 6);
    model m;

    p.attention.mask.window_right = 0;
    m = model_make(&p, true);
    CU_ASSERT(test_plans(&p.attention, ATTN_PASS_BACKWARD, visit_plan, &m) > 0);
    model_drop(&m);
}

int main(int argc, char **argv)
{
    const attn_test tests[] = {
        {"multi-head attention", test_multi_head},
        {"grouped queries", test_grouped},
        {"one key-value head", test_multi_query},
        {"fewer heads and rows than ranks", test_few},
        {"cross-attention", test_cross},
        {"no projections", test_no_projections},
        {"dropout, slopes and sinks", test_numbered_heads},
        {"rotary embeddings", test_rotary},
        {"types", test_types},
        {"every plan", test_every_plan},
    };

    return attn_test_main(argc, argv, "layer/layer", tests, sizeof tests / sizeof tests[0]);
}
