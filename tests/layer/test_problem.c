/* What a layer is: names, checks, extents of weights, FLOP. */
#include "harness.h"

#include <attn/layer.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Four query heads of 6 over two key-value heads, values of 5, rows of 7 to rows of 9. */
static attn_layer_problem make(void)
{
    const attn_shape shape = {
        .batch = 2, .heads = 4, .kv_heads = 2, .seq = 10, .kv_seq = 10, .head_dim = 6, .v_head_dim = 5};

    return (attn_layer_problem){
        .attention = attn_problem_init(shape, ATTN_FLOAT32), .embed_dim = 7, .out_dim = 9, .projected = true};
}

static void test_names(void)
{
    attn_rotary_style style = ATTN_ROTARY_HALF;

    CU_ASSERT_STRING_EQUAL(attn_projection_name(ATTN_PROJECTION_QUERY), "query");
    CU_ASSERT_STRING_EQUAL(attn_projection_name(ATTN_PROJECTION_OUT), "out_proj");
    CU_ASSERT_STRING_EQUAL(attn_projection_name(ATTN_PROJECTION_COUNT), "unknown");
    CU_ASSERT_STRING_EQUAL(attn_rotary_style_name(ATTN_ROTARY_COUNT), "unknown");
    for (int s = 0; s < ATTN_ROTARY_COUNT; s++) {
        CU_ASSERT(attn_rotary_style_find(attn_rotary_style_name((attn_rotary_style)s), &style));
        CU_ASSERT_EQUAL(style, (attn_rotary_style)s);
    }
    style = ATTN_ROTARY_HALF;
    CU_ASSERT(!attn_rotary_style_find("neox", &style));
    CU_ASSERT_EQUAL(style, ATTN_ROTARY_HALF);
}

static void test_extents(void)
{
    attn_layer_problem p = make();

    CU_ASSERT_EQUAL(attn_layer_weight_out(&p, ATTN_PROJECTION_QUERY), 24);
    CU_ASSERT_EQUAL(attn_layer_weight_in(&p, ATTN_PROJECTION_QUERY), 7);
    CU_ASSERT_EQUAL(attn_layer_weight_out(&p, ATTN_PROJECTION_KEY), 12);
    CU_ASSERT_EQUAL(attn_layer_weight_out(&p, ATTN_PROJECTION_VALUE), 10);
    CU_ASSERT_EQUAL(attn_layer_weight_in(&p, ATTN_PROJECTION_VALUE), 7);
    CU_ASSERT_EQUAL(attn_layer_weight_out(&p, ATTN_PROJECTION_OUT), 9);
    CU_ASSERT_EQUAL(attn_layer_weight_in(&p, ATTN_PROJECTION_OUT), 20);
    CU_ASSERT_EQUAL(attn_layer_out_dim(&p), 9);
    p.context_dim = 3;
    p.out_dim = 0;
    CU_ASSERT_EQUAL(attn_layer_weight_in(&p, ATTN_PROJECTION_KEY), 3);
    CU_ASSERT_EQUAL(attn_layer_weight_in(&p, ATTN_PROJECTION_QUERY), 7);
    CU_ASSERT_EQUAL(attn_layer_weight_out(&p, ATTN_PROJECTION_OUT), 0);
    CU_ASSERT_EQUAL(attn_layer_weight_in(&p, ATTN_PROJECTION_OUT), 0);
    CU_ASSERT_EQUAL(attn_layer_out_dim(&p), 20);
}

/* Counted by hand: 20 rows; 7 x 24 + 7 x 12 + 7 x 10 + 20 x 9 = 502 weights; 100 pairs of 2 batches and 4 heads. */
static void test_flops(void)
{
    attn_layer_problem p = make();

    CU_ASSERT_EQUAL(attn_layer_flops_forward(&p), 2.0 * 20 * 502 + 800.0 * 2 * (6 + 5));
    CU_ASSERT_EQUAL(attn_layer_flops_backward(&p), 4.0 * 20 * 502 + 800.0 * (6 * 6 + 4 * 5));
    p.attention.shape.kv_seq = 15;
    p.context_dim = 3;
    CU_ASSERT_EQUAL(attn_layer_flops_forward(&p),
                    2.0 * (20 * (7 * 24 + 20 * 9) + 30 * 3 * (12 + 10)) + 1200.0 * 2 * (6 + 5));
}

static void refused(const attn_layer_problem *problem, const char *text)
{
    attn_error error;

    CU_ASSERT_EQUAL(attn_layer_problem_check(problem, &error), ATTN_ARGUMENT);
    CU_ASSERT(strstr(error.message, text) != NULL);
    if (strstr(error.message, text) == NULL)
        printf("\"%s\" lacks \"%s\"\n", error.message, text);
}

static void test_checks(void)
{
    const attn_layer_problem good = make();
    attn_layer_problem p = good;

    TEST_OK(attn_layer_problem_check(&good, &attn_test_error));
    p.attention.shape.heads = 3;
    refused(&p, "heads 3");
    p = good;
    p.embed_dim = 0;
    refused(&p, "embed-dim 0");
    p = good;
    p.context_dim = -1;
    refused(&p, "-1");
    p = good;
    p.out_dim = -4;
    refused(&p, "output width -4");
    p = good;
    p.attention.shape.kv_seq = 11;
    refused(&p, "kv-seq 11: self-attention has as many keys as queries, 10");
    p.context_dim = 5;
    TEST_OK(attn_layer_problem_check(&p, &attn_test_error));
    p = good;
    p.out_dim = 0;
    p.bias[ATTN_PROJECTION_OUT] = true;
    refused(&p, "bias of out_proj");
    p = good;
    p.embed_dim = INT64_MAX / 8;
    refused(&p, "x of 20 x");
    p = good;
    p.attention.shape.v_head_dim = 1 << 20;
    p.out_dim = INT64_C(1) << 40;
    refused(&p, "63 bits");
}

static void test_rotary_checks(void)
{
    const attn_rotary rotary = {.style = ATTN_ROTARY_HALF, .theta = 10000, .dim = 6};
    attn_layer_problem p = make();

    p.rotary = rotary;
    TEST_OK(attn_layer_problem_check(&p, &attn_test_error));
    p.rotary.dim = 5;
    refused(&p, "rotary dim 5");
    p.rotary.dim = 8;
    refused(&p, "rotary dim 8: must be even, at least 2 and at most head-dim 6");
    p.rotary.dim = 0;
    refused(&p, "rotary dim 0");
    p.rotary = rotary;
    p.rotary.theta = -1;
    refused(&p, "rotary theta -1");
    p.rotary.theta = NAN;
    refused(&p, "rotary theta");
    p.rotary = rotary;
    p.rotary.style = ATTN_ROTARY_COUNT;
    refused(&p, "rotary style");
}

static void test_no_projections(void)
{
    const attn_shape shape = {
        .batch = 2, .heads = 1, .kv_heads = 1, .seq = 10, .kv_seq = 10, .head_dim = 6, .v_head_dim = 6};
    const attn_layer_problem good = {.attention = attn_problem_init(shape, ATTN_FLOAT32), .embed_dim = 6};
    attn_layer_problem p = good;

    TEST_OK(attn_layer_problem_check(&good, &attn_test_error));
    CU_ASSERT_EQUAL(attn_layer_weight_out(&good, ATTN_PROJECTION_QUERY), 0);
    CU_ASSERT_EQUAL(attn_layer_weight_in(&good, ATTN_PROJECTION_QUERY), 0);
    CU_ASSERT_EQUAL(attn_layer_out_dim(&good), 6);
    CU_ASSERT_EQUAL(attn_layer_flops_forward(&good), attn_flops_forward(&good.attention));
    p.embed_dim = 7;
    refused(&p, "the width of x, 7");
    p = good;
    p.attention.shape.heads = 2;
    refused(&p, "heads 2");
    p = good;
    p.context_dim = 6;
    refused(&p, "context width 6");
    p = good;
    p.out_dim = 6;
    refused(&p, "output width 6");
    p = good;
    p.bias[ATTN_PROJECTION_KEY] = true;
    refused(&p, "bias of key");
    p = good;
    p.rotary = (attn_rotary){.style = ATTN_ROTARY_HALF, .theta = 1, .dim = 2};
    refused(&p, "rotary style half");
}

int main(int argc, char **argv)
{
    const attn_test tests[] = {
        {"names", test_names},
        {"extents of weights", test_extents},
        {"FLOP", test_flops},
        {"what is refused", test_checks},
        {"rotary embeddings that are refused", test_rotary_checks},
        {"no projections", test_no_projections},
    };

    return attn_test_main(argc, argv, "layer/problem", tests, sizeof tests / sizeof tests[0]);
}
