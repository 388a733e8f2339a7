/* The textbook layer: its attention against the exact results of random problems, whole layers against the results that
 * the reference files hold and against numbers printed in a book, and what must be equal by algebra. */
#include "fixture.h"
#include "harness.h"

#include <attn/explain.h>
#include <attn/kernel.h>
#include <attn/random.h>

#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double exactly = 1e-12;

/* Compares count numbers; one assertion. */
static void compare(const double *got, const double *want, int64_t count, double tolerance)
{
    double worst = 0;
    int64_t at = 0;

    for (int64_t n = 0; n < count; n++) {
        const double apart = got[n] == want[n] ? 0 : fabs(got[n] - want[n]) / (1 + fabs(want[n]));

        if (!(apart <= worst)) {
            worst = apart;
            at = n;
        }
    }
    TEST_CLOSE(got[at], want[at], tolerance);
}

/* The rows of weights sum to 1, less the sink's share; with the blocks of keys that an online softmax takes they give
 * the same output and lse. */
static void check_rows(const attn_explanation *x, int64_t block)
{
    const attn_shape *s = &x->problem.attention.shape;
    const double *const sinks = x->problem.attention.score.sinks;
    double *weighted = calloc((size_t)s->v_head_dim, sizeof *weighted);

    for (int64_t row = 0; row < s->batch * s->heads * s->seq; row++) {
        const int64_t b = row / s->seq / s->heads, h = row / s->seq % s->heads, i = row % s->seq;
        const double sink = sinks != NULL ? exp(sinks[h] - x->lse[row]) : 0;
        attn_running_row running = {.weighted = weighted};
        double sum = 0, denominator;

        for (int64_t j = 0; j < s->kv_seq; j++)
            sum += x->weights[row * s->kv_seq + j];
        TEST_CLOSE(sum, x->lse[row] == -INFINITY ? 0 : 1 - sink, exactly);
        attn_running_row_begin(x, &running);
        for (int64_t j = 0; j < s->kv_seq; j += block)
            attn_running_row_take(x, b, h, i, j, j + block < s->kv_seq ? j + block : s->kv_seq, &running);
        denominator = running.sum + (sinks != NULL ? exp(sinks[h] - running.max) : 0);
        if (running.sum == 0)
            continue;
        TEST_CLOSE(running.max + log(denominator), x->lse[row], exactly);
        for (int64_t d = 0; d < s->v_head_dim; d++)
            TEST_CLOSE(weighted[d] / denominator, x->o[row * s->v_head_dim + d], exactly);
    }
    free(weighted);
}

static void test_attention(void)
{
    static const int64_t lengths[] = {5, 0}, starts[] = {0, 3, 3, 9};
    static const double slopes[] = {0.5, 0.25, 0.125, 0.0625}, sinks[] = {0.3, -1, 2, 0};
    attn_problem problems[] = {
        PROBLEM(2, 4, 2, 7, 7, 5, 3, ATTN_FLOAT64),  PROBLEM(1, 4, 4, 3, 8, 4, 6, ATTN_FLOAT32),
        PROBLEM(2, 4, 1, 6, 6, 3, 3, ATTN_BFLOAT16), PROBLEM(1, 4, 2, 9, 9, 2, 2, ATTN_FLOAT64),
        PROBLEM(1, 2, 1, 9, 11, 3, 2, ATTN_FLOAT64), PROBLEM(1, 1, 1, 1, 1, 1, 1, ATTN_FLOAT16),
    };

    problems[0].mask.causal = true;
    problems[0].score.alibi_slopes = slopes;
    problems[1].mask.causal = true;
    problems[1].score.sinks = sinks;
    problems[2].mask.kv_len = lengths;
    problems[2].score.softcap = 1.5;
    problems[3].mask.cu_seqlens = starts;
    problems[3].mask.documents = 3;
    problems[3].mask.window_left = 2;
    problems[4].dropout = 0.4;
    problems[4].dropout_seed = 3;
    for (size_t p = 0; p < sizeof problems / sizeof problems[0]; p++) {
        const attn_shape *s = &problems[p].shape;
        fixture f = fixture_make(&problems[p]);
        attn_explanation *x;

        TEST_OK(attn_explanation_make_attention(&f.problem, f.q, f.k, f.v, &x, &attn_test_error));
        if (x != NULL) {
            compare(x->o, f.o, fixture_elements(s, s->heads, s->seq, s->v_head_dim), exactly);
            compare(x->lse, f.lse, fixture_elements(s, s->heads, s->seq, 1), exactly);
            CU_ASSERT((x->dropped != NULL) == (problems[p].dropout > 0));
            CU_ASSERT_PTR_NULL(x->y);
            for (int64_t block = 1; block <= s->kv_seq; block += 2)
                check_rows(x, block);
        }
        attn_explanation_destroy(x);
        fixture_drop(&f);
    }
}

/* ---- Whole layers ---- */

/* A data set in float64, to be freed, and its extents; NULL where it is not there. */
static double *read_data(hid_t file, const char *name, hsize_t extents[3])
{
    const hid_t data = H5Lexists(file, name, H5P_DEFAULT) > 0 ? H5Dopen2(file, name, H5P_DEFAULT) : H5I_INVALID_HID;
    double *numbers = NULL;
    hid_t space;

    if (data < 0)
        return NULL;
    space = H5Dget_space(data);
    if (H5Sget_simple_extent_dims(space, extents, NULL) > 0)
        numbers = calloc((size_t)H5Sget_simple_extent_npoints(space), sizeof *numbers);
    CU_ASSERT_FATAL(numbers != NULL);
    CU_ASSERT(H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers) >= 0);
    H5Sclose(space);
    H5Dclose(data);
    return numbers;
}

/* A layer with its arrays in float64. */
typedef struct layer_case {
    attn_layer_problem problem;
    double *x, *y;
    double *weight[ATTN_PROJECTION_COUNT], *bias[ATTN_PROJECTION_COUNT];
} layer_case;

/* The whole file of one of these names: a projection may be called by any of three. */
static layer_case read_case(const char *name, int64_t heads, int64_t kv_heads, bool causal)
{
    static const char *const names[ATTN_PROJECTION_COUNT][3] = {{"query", "W_query", "query_linear"},
                                                                {"key", "W_key", "key_linear"},
                                                                {"value", "W_value", "value_linear"},
                                                                {"out_proj", "out_proj", "out_proj"}};
    const hid_t file = H5Fopen(attn_test_data(name), H5F_ACC_RDONLY, H5P_DEFAULT);
    hsize_t x[3] = {0}, rows[ATTN_PROJECTION_COUNT][3] = {{0}}, ignored[3];
    layer_case read = {.x = NULL};
    char path[64];

    CU_ASSERT_FATAL(file >= 0);
    read.x = read_data(file, "x", x);
    read.y = read_data(file, "expected/y", ignored);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
        for (int n = 0; n < 3 && read.weight[p] == NULL; n++) {
            snprintf(path, sizeof path, "weights/%s.weight", names[p][n]);
            read.weight[p] = read_data(file, path, rows[p]);
            snprintf(path, sizeof path, "weights/%s.bias", names[p][n]);
            read.bias[p] = read_data(file, path, ignored);
        }
    H5Fclose(file);
    read.problem.attention =
        attn_problem_init((attn_shape){.batch = (int64_t)x[0],
                                       .heads = heads,
                                       .kv_heads = kv_heads,
                                       .seq = (int64_t)x[1],
                                       .kv_seq = (int64_t)x[1],
                                       .head_dim = (int64_t)rows[ATTN_PROJECTION_QUERY][0] / heads,
                                       .v_head_dim = (int64_t)rows[ATTN_PROJECTION_VALUE][0] / kv_heads},
                          ATTN_FLOAT64);
    read.problem.attention.mask.causal = causal;
    read.problem.embed_dim = (int64_t)x[2];
    read.problem.out_dim = (int64_t)rows[ATTN_PROJECTION_OUT][0];
    read.problem.projected = true;
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
        read.problem.bias[p] = read.bias[p] != NULL;
    return read;
}

static void drop_case(layer_case *c)
{
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        free(c->weight[p]);
        free(c->bias[p]);
    }
    free(c->x);
    free(c->y);
}

static attn_layer_arrays arrays_of(const layer_case *c)
{
    attn_layer_arrays arrays = {.weight = {NULL}};

    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        arrays.weight[p] = c->weight[p];
        arrays.bias[p] = c->bias[p];
    }
    return arrays;
}

static attn_explanation *explain(const layer_case *c)
{
    const attn_layer_arrays weights = arrays_of(c);
    attn_explanation *x;

    TEST_OK(attn_explanation_make(&c->problem, &weights, c->x, NULL, &x, &attn_test_error));
    CU_ASSERT_FATAL(x != NULL);
    return x;
}

static void test_layer_files(void)
{
    static const struct {
        const char *name;
        int64_t heads, kv_heads;
        bool causal;
        double scale;
    } files[] = {
        {"golden/book_self_attention_v1.h5", 1, 1, false, 0},
        {"golden/book_self_attention_v2.h5", 1, 1, false, 0},
        {"golden/book_multihead.h5", 2, 2, true, 0},
        {"golden/causal_multihead.h5", 6, 6, true, 0},
        {"golden/gqa_layer.h5", 8, 2, true, 0},
        {"golden/self_attention.h5", 1, 1, false, 0},
        {"golden/module_self_attention.h5", 1, 1, false, 0.17677669529663687},
    };

    for (size_t n = 0; n < sizeof files / sizeof files[0]; n++) {
        layer_case c = read_case(files[n].name, files[n].heads, files[n].kv_heads, files[n].causal);
        const attn_shape *s = &c.problem.attention.shape;
        attn_explanation *x;

        if (files[n].scale > 0)
            c.problem.attention.score.scale = files[n].scale;
        x = explain(&c);
        compare(x->y, c.y, s->batch * s->seq * (c.problem.out_dim > 0 ? c.problem.out_dim : s->heads * s->v_head_dim),
                exactly);
        CU_ASSERT((x->y == x->concat) == (c.problem.out_dim == 0));
        attn_explanation_destroy(x);
        drop_case(&c);
    }
}

/* Raschka 2024, section 3.3.1: the second of six words, without weights and scale. */
static void test_without_weights(void)
{
    static const double weights[] = {0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581};
    static const double context[] = {0.4419, 0.6515, 0.5683};
    layer_case c = read_case("golden/book_self_attention_v1.h5", 1, 1, false);
    attn_explanation *x;

    c.problem.attention.shape.head_dim = c.problem.attention.shape.v_head_dim = 3;
    c.problem.attention.score.scale = 1;
    c.problem.projected = false;
    TEST_OK(attn_explanation_make(&c.problem, NULL, c.x, NULL, &x, &attn_test_error));
    if (x != NULL) {
        for (int j = 0; j < 6; j++)
            CU_ASSERT_DOUBLE_EQUAL(x->weights[6 + j], weights[j], 5e-5);
        for (int d = 0; d < 3; d++)
            CU_ASSERT_DOUBLE_EQUAL(x->y[3 + d], context[d], 5e-5);
        CU_ASSERT_PTR_NULL(x->projection[ATTN_PROJECTION_QUERY]);
    }
    attn_explanation_destroy(x);
    drop_case(&c);
}

/* The fused form equals a stack of single heads with the rows of the weights that are theirs. */
static void test_stack(void)
{
    layer_case c = read_case("golden/gqa_layer.h5", 8, 2, true);
    const attn_shape *s = &c.problem.attention.shape;
    attn_explanation *whole;

    c.problem.out_dim = 0;
    whole = explain(&c);
    for (int64_t h = 0; h < s->heads; h++) {
        const int64_t group = h / attn_shape_group(s), E = c.problem.embed_dim;
        attn_layer_problem problem = c.problem;
        attn_layer_arrays weights = {.weight = {c.weight[0] + h * s->head_dim * E,
                                                c.weight[1] + group * s->head_dim * E,
                                                c.weight[2] + group * s->v_head_dim * E}};
        attn_explanation *one;

        problem.attention.shape.heads = problem.attention.shape.kv_heads = 1;
        TEST_OK(attn_explanation_make(&problem, &weights, c.x, NULL, &one, &attn_test_error));
        for (int64_t i = 0; one != NULL && i < s->seq; i++)
            compare(&one->y[i * s->v_head_dim], &whole->y[(i * s->heads + h) * s->v_head_dim], s->v_head_dim, 0);
        attn_explanation_destroy(one);
    }
    attn_explanation_destroy(whole);
    drop_case(&c);
}

/* With identity weights a layer with a context is attention of x over the context, other lengths and all. */
static void test_cross(void)
{
    const attn_layer_problem problem = {.attention = PROBLEM(2, 1, 1, 3, 5, 2, 2, ATTN_FLOAT64),
                                        .embed_dim = 2,
                                        .context_dim = 2,
                                        .projected = true,
                                        .bias = {true}};
    double identity[] = {1, 0, 0, 1}, bias[] = {0.5, -0.25}, x[12], context[20], shifted[12];
    attn_layer_arrays weights = {.weight = {identity, identity, identity}, .bias = {bias}};
    attn_explanation *layer, *attention;

    attn_random_fill(1, ATTN_STREAM_TEST, 0, 12, ATTN_FLOAT64, x);
    attn_random_fill(2, ATTN_STREAM_TEST, 0, 20, ATTN_FLOAT64, context);
    for (int n = 0; n < 12; n++)
        shifted[n] = x[n] + bias[n % 2];
    TEST_OK(attn_explanation_make(&problem, &weights, x, context, &layer, &attn_test_error));
    TEST_OK(
        attn_explanation_make_attention(&problem.attention, shifted, context, context, &attention, &attn_test_error));
    if (layer != NULL && attention != NULL) {
        compare(layer->y, attention->o, 12, 0);
        compare(layer->context, context, 20, 0);
    }
    attn_explanation_destroy(layer);
    attn_explanation_destroy(attention);
}

/* ---- Rotary embedding ---- */

/* q . k of row i and key j of a layer without weights other than the identity, all rows of x being the same. */
static double product(attn_rotary rotary, const double *row, int64_t D, int64_t i, int64_t j, double *turned)
{
    attn_layer_problem problem = {.attention = PROBLEM(1, 1, 1, 6, 6, 0, 0, ATTN_FLOAT64), .rotary = rotary};
    double x[6 * 8];
    attn_explanation *made;
    double result = NAN;

    problem.attention.shape.head_dim = problem.attention.shape.v_head_dim = problem.embed_dim = D;
    for (int64_t n = 0; n < 6 * D; n++)
        x[n] = row[n % D];
    TEST_OK(attn_explanation_make(&problem, NULL, x, NULL, &made, &attn_test_error));
    if (made != NULL) {
        result = made->products[i * 6 + j];
        compare(made->q_projected, x, 6 * D, 0);
        compare(made->v, x, 6 * D, 0); /* values are not turned */
        memcpy(turned, &made->q[i * D], (size_t)D * sizeof *turned);
    }
    attn_explanation_destroy(made);
    return result;
}

static void test_rotary(void)
{
    static const double row[] = {0.3, -1, 0.7, 0.2, 1.1, -0.4, 0.9, 0.5}, pair[] = {1, 0};
    /* Interleaved pairs (0,1), (2,3), (4,5) are the pairs (0,3), (1,4), (2,5) of halves. */
    static const int place[] = {0, 3, 1, 4, 2, 5, 6, 7};
    const attn_rotary half = {ATTN_ROTARY_HALF, 100, 6}, interleaved = {ATTN_ROTARY_INTERLEAVED, 100, 6};
    double moved[8], by_half[8], by_pairs[8];

    product((attn_rotary){ATTN_ROTARY_HALF, 10000, 2}, pair, 2, 3, 0, by_half);
    TEST_CLOSE(by_half[0], cos(3), exactly);
    TEST_CLOSE(by_half[1], sin(3), exactly);
    product(interleaved, row, 8, 5, 0, by_pairs); /* pair 1 turns by 5 * 100^(-1/3) */
    TEST_CLOSE(by_pairs[2], 0.7 * cos(5 / cbrt(100)) - 0.2 * sin(5 / cbrt(100)), exactly);
    TEST_CLOSE(by_pairs[3], 0.7 * sin(5 / cbrt(100)) + 0.2 * cos(5 / cbrt(100)), exactly);
    TEST_CLOSE(by_pairs[6], 0.9, 0); /* beyond dim */
    /* Only the distance counts, and the two styles differ in the order of elements alone. */
    TEST_CLOSE(product(half, row, 8, 4, 1, moved), product(half, row, 8, 5, 2, moved), exactly);
    CU_ASSERT(fabs(product(half, row, 8, 4, 1, moved) - product(half, row, 8, 4, 2, moved)) > 1e-3);
    for (int d = 0; d < 8; d++)
        moved[place[d]] = row[d];
    product(half, moved, 8, 5, 0, by_half);
    for (int d = 0; d < 8; d++)
        TEST_CLOSE(by_half[place[d]], by_pairs[d], exactly);
}

/* With more keys than queries the last query stands where the last key does. */
static void test_rotary_positions(void)
{
    const attn_layer_problem problem = {.attention = PROBLEM(1, 1, 1, 1, 4, 2, 2, ATTN_FLOAT64),
                                        .embed_dim = 2,
                                        .context_dim = 2,
                                        .projected = true,
                                        .rotary = {ATTN_ROTARY_HALF, 10000, 2}};
    double identity[] = {1, 0, 0, 1}, x[] = {1, 0}, context[] = {1, 0, 1, 0, 1, 0, 1, 0};
    attn_layer_arrays weights = {.weight = {identity, identity, identity}};
    attn_explanation *made;

    TEST_OK(attn_explanation_make(&problem, &weights, x, context, &made, &attn_test_error));
    for (int j = 0; made != NULL && j < 4; j++)
        TEST_CLOSE(made->products[j], cos(3 - j), exactly);
    attn_explanation_destroy(made);
}

static void test_limit(void)
{
    const attn_problem problem = PROBLEM(1, 2, 1, 4096, 4096, 1, 1, ATTN_FLOAT64);
    attn_error error = ATTN_ERROR_INIT;
    attn_explanation *made;

    CU_ASSERT_EQUAL(attn_explanation_make_attention(&problem, NULL, NULL, NULL, &made, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NULL(made);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "weights of 1 x 2 x 4096 x 4096 elements"));
    attn_explanation_destroy(NULL);
}

static const attn_test tests[] = {
    {"attention alone", test_attention},
    {"whole layers of the reference files", test_layer_files},
    {"attention without weights", test_without_weights},
    {"a stack of single heads", test_stack},
    {"cross-attention", test_cross},
    {"rotary embedding", test_rotary},
    {"rotary positions", test_rotary_positions},
    {"too large", test_limit},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "layer/explain", tests, sizeof tests / sizeof tests[0]);
}
