/* The reference files open with the extents and settings that they were made with, and hand out their numbers. */
#include "harness.h"

#include <attn/input.h>

#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

static attn_input *open_golden(const char *name)
{
    attn_input *input;

    TEST_OK(attn_input_open(MPI_COMM_WORLD, attn_test_data(name), &input, &attn_test_error));
    return input;
}

static void test_extents(void)
{
    static const struct {
        const char *name;
        attn_shape shape;
        bool causal;
        int64_t window_left, window_right;
        double softcap, dropout;
    } files[] = {
        {"golden/alibi.h5", {1, 4, 4, 50, 50, 32, 32}, true, -1, -1, 0, 0},
        {"golden/bf16_inputs.h5", {1, 4, 2, 72, 72, 64, 64}, true, -1, -1, 0, 0},
        {"golden/causal.h5", {1, 4, 4, 65, 65, 64, 64}, true, -1, -1, 0, 0},
        {"golden/causal_longer_keys.h5", {1, 2, 2, 17, 80, 64, 64}, true, -1, -1, 0, 0},
        {"golden/decode.h5", {2, 8, 2, 1, 150, 64, 64}, true, -1, -1, 0, 0},
        {"golden/dropout.h5", {2, 4, 2, 37, 45, 16, 16}, true, -1, -1, 0, 0.3},
        {"golden/full.h5", {2, 4, 4, 48, 48, 32, 32}, false, -1, -1, 0, 0},
        {"golden/gqa.h5", {2, 8, 2, 40, 40, 64, 64}, true, -1, -1, 0, 0},
        {"golden/huge_logits.h5", {1, 2, 2, 64, 64, 64, 64}, false, -1, -1, 0, 0},
        {"golden/mqa_dv.h5", {1, 6, 1, 33, 33, 64, 40}, false, -1, -1, 0, 0},
        {"golden/packed_documents.h5", {1, 2, 2, 100, 100, 32, 32}, true, -1, -1, 0, 0},
        {"golden/padding.h5", {3, 2, 2, 32, 32, 32, 32}, false, -1, -1, 0, 0},
        {"golden/sinks.h5", {1, 4, 4, 37, 37, 32, 32}, true, -1, -1, 0, 0},
        {"golden/softcap.h5", {1, 2, 2, 40, 40, 64, 64}, true, -1, -1, 20, 0},
        {"golden/window.h5", {1, 2, 2, 96, 96, 32, 32}, true, 16, -1, 0, 0},
        {"golden/window_two_sided.h5", {1, 2, 2, 70, 70, 32, 32}, false, 9, 5, 0, 0},
    };

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        attn_input *const input = open_golden(files[i].name);
        const attn_problem *problem;

        if (input == NULL)
            continue;
        problem = attn_input_problem(input);
        CU_ASSERT_EQUAL(memcmp(&problem->shape, &files[i].shape, sizeof problem->shape), 0);
        CU_ASSERT_EQUAL(problem->dtype, ATTN_FLOAT32);
        CU_ASSERT_EQUAL(problem->mask.causal, files[i].causal);
        CU_ASSERT_EQUAL(problem->mask.window_left, files[i].window_left);
        CU_ASSERT_EQUAL(problem->mask.window_right, files[i].window_right);
        CU_ASSERT_EQUAL(problem->score.softcap, files[i].softcap);
        CU_ASSERT_EQUAL(problem->dropout, files[i].dropout);
        TEST_CLOSE(problem->score.scale, 1 / sqrt((double)files[i].shape.head_dim), 1e-15);
        for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++)
            CU_ASSERT(attn_input_has(input, (attn_input_array)a));
        CU_ASSERT_EQUAL(attn_input_stored_dtype(input, ATTN_INPUT_EXPECTED_O), ATTN_FLOAT64);
        CU_ASSERT_EQUAL(attn_input_stored_dtype(input, ATTN_INPUT_EXPECTED_DQ), ATTN_FLOAT32);
        TEST_OK(attn_input_close(input, &attn_test_error));
    }
}

static void test_lists(void)
{
    attn_input *input = open_golden("golden/alibi.h5");

    CU_ASSERT_PTR_NULL(attn_input_problem(input)->score.sinks);
    for (int h = 0; h < 4; h++)
        TEST_CLOSE(attn_input_problem(input)->score.alibi_slopes[h], ldexp(1, -2 * (h + 1)), 1e-15);
    TEST_OK(attn_input_close(input, &attn_test_error));

    input = open_golden("golden/packed_documents.h5");
    CU_ASSERT_EQUAL(attn_input_problem(input)->mask.documents, 4);
    CU_ASSERT_EQUAL(attn_input_problem(input)->mask.cu_seqlens[0], 0);
    CU_ASSERT_EQUAL(attn_input_problem(input)->mask.cu_seqlens[4], 100);
    TEST_OK(attn_input_close(input, &attn_test_error));

    input = open_golden("golden/padding.h5");
    CU_ASSERT_PTR_NOT_NULL(attn_input_problem(input)->mask.kv_len);
    TEST_OK(attn_input_close(input, &attn_test_error));

    input = open_golden("golden/sinks.h5");
    CU_ASSERT_PTR_NOT_NULL(attn_input_problem(input)->score.sinks);
    TEST_OK(attn_input_close(input, &attn_test_error));
}

/* The first row of causal attention sees one key: its output is that key's value, and lse its score. */
static void test_numbers(void)
{
    enum { H = 4, S = 65, D = 64 };

    attn_input *const input = open_golden("golden/causal.h5");
    attn_segments *first = NULL;
    const int64_t begin = 0, length = 1;
    float q[H * D], k[H * D], v[H * D];
    double o[H * D], lse[H];
    attn_block block;

    TEST_OK(attn_segments_create(1, &begin, &length, &first, &attn_test_error));
    block = (attn_block){.head_begin = 0, .head_count = H, .rows = first};
    TEST_OK(attn_input_read(input, ATTN_INPUT_Q, &block, ATTN_FLOAT32, q, &attn_test_error));
    TEST_OK(attn_input_read(input, ATTN_INPUT_K, &block, ATTN_FLOAT32, k, &attn_test_error));
    TEST_OK(attn_input_read(input, ATTN_INPUT_V, &block, ATTN_FLOAT32, v, &attn_test_error));
    TEST_OK(attn_input_read(input, ATTN_INPUT_EXPECTED_O, &block, ATTN_FLOAT64, o, &attn_test_error));
    TEST_OK(attn_input_read(input, ATTN_INPUT_EXPECTED_LSE, &block, ATTN_FLOAT64, lse, &attn_test_error));
    for (int h = 0; h < H; h++) {
        double score = 0;

        for (int d = 0; d < D; d++) {
            score += (double)q[h * D + d] * (double)k[h * D + d];
            TEST_CLOSE(o[h * D + d], (double)v[h * D + d], 1e-14);
        }
        TEST_CLOSE(lse[h], score / sqrt(D), 1e-13);
    }
    TEST_OK(attn_input_close(input, &attn_test_error));
    attn_segments_destroy(first);
}

static void test_real_input(void)
{
    attn_input *const input = open_golden("real/minilm_layer3.h5");
    const attn_shape shape = {1, 12, 12, 509, 509, 32, 32};

    CU_ASSERT_EQUAL(memcmp(&attn_input_problem(input)->shape, &shape, sizeof shape), 0);
    CU_ASSERT(!attn_input_has(input, ATTN_INPUT_DO));
    CU_ASSERT(attn_input_has(input, ATTN_INPUT_EXPECTED_LSE));
    TEST_OK(attn_input_close(input, &attn_test_error));
}

static void test_schema(void)
{
    static const char *const layers[] = {"golden/book_multihead.h5", "golden/self_attention.h5"};
    attn_error error = ATTN_ERROR_INIT;
    attn_input *input;
    char schema[32];

    TEST_OK(
        attn_file_schema(MPI_COMM_WORLD, attn_test_data("golden/full.h5"), schema, sizeof schema, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(schema, "attn-input");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        TEST_OK(attn_file_schema(MPI_COMM_WORLD, attn_test_data(layers[i]), schema, sizeof schema, &attn_test_error));
        CU_ASSERT_STRING_EQUAL(schema, "attn-layer");
        CU_ASSERT_EQUAL(attn_input_open(MPI_COMM_WORLD, attn_test_data(layers[i]), &input, &error), ATTN_INPUT);
        CU_ASSERT_PTR_NULL(input);
        CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "\"attn-layer\""));
        CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "\"attn-input\" is needed"));
    }
}

static const attn_test tests[] = {
    {"extents and settings", test_extents}, {"lists of settings", test_lists},     {"numbers", test_numbers},
    {"the real input", test_real_input},    {"the schema of a file", test_schema},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/golden", tests, sizeof tests / sizeof tests[0]);
}
