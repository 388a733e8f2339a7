/* bfloat16 in every kernel: the error next to that of rounding the exact result, and inputs at the edges of the
 * type. */
#include "fixture.h"
#include "harness.h"

#include <attn/kernel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct outcome {
    void *o;
    float *lse;
} outcome;

/* Runs a kernel on all of a problem, with o of the given type. */
static outcome run(const attn_kernel *kernel, const fixture *f, attn_dtype o_dtype)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t zero = 0, rows = fixture_elements(s, s->heads, s->seq, 1);
    outcome out = {malloc((size_t)(rows * s->v_head_dim) * attn_dtype_size(o_dtype)),
                   malloc((size_t)rows * sizeof(float))};
    const attn_array k = attn_array_dense(f->k, s->kv_heads, s->kv_seq, s->head_dim);
    const attn_array v = attn_array_dense(f->v, s->kv_heads, s->kv_seq, s->v_head_dim);
    attn_segments *q_rows, *kv_rows;
    const attn_segments *parts[1];
    attn_forward_setup setup = {.problem = &f->problem,
                                .head_count = s->heads,
                                .part_count = 1,
                                .part_rows = parts,
                                .o_dtype = o_dtype,
                                .add_sinks = true,
                                .threads = 1};
    const attn_forward_buffers buffers = {.q = attn_array_dense(f->q, s->heads, s->seq, s->head_dim),
                                          .k = &k,
                                          .v = &v,
                                          .o = attn_array_dense(out.o, s->heads, s->seq, s->v_head_dim),
                                          .lse = attn_array_dense(out.lse, s->heads, s->seq, 1)};
    attn_forward *forward;

    TEST_OK(attn_segments_create(1, &zero, &s->seq, &q_rows, &attn_test_error));
    TEST_OK(attn_segments_create(1, &zero, &s->kv_seq, &kv_rows, &attn_test_error));
    setup.q_rows = q_rows;
    parts[0] = kv_rows;
    TEST_OK(attn_forward_create(kernel, &setup, &forward, &attn_test_error));
    attn_forward_execute(forward, &buffers);
    attn_forward_destroy(forward);
    attn_segments_destroy(q_rows);
    attn_segments_destroy(kv_rows);
    return out;
}

static void drop(outcome *out)
{
    free(out->o);
    free(out->lse);
}

static double rounded(double x)
{
    uint16_t bits;

    attn_store(ATTN_BFLOAT16, &bits, 0, x);
    return attn_load(ATTN_BFLOAT16, &bits, 0);
}

/* The largest error may be twice that of rounding the exact result. lse is a float32 number and not made of rounded
 * weights: its error is far below the 8 bits of bfloat16. */
static void check_error(const attn_kernel *kernel, const fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t rows = fixture_elements(s, s->heads, s->seq, 1);
    outcome out = run(kernel, f, ATTN_BFLOAT16);
    double error = 0, best = 0;

    for (int64_t n = 0; n < rows * s->v_head_dim; n++) {
        error = fmax(error, fabs(attn_load(ATTN_BFLOAT16, out.o, (size_t)n) - f->o[n]));
        best = fmax(best, fabs(rounded(f->o[n]) - f->o[n]));
    }
    if (!(error <= 2 * best))
        printf("kernel %s, %lld keys: error %g, of rounding %g\n", attn_kernel_name(kernel), (long long)s->kv_seq,
               error, best);
    CU_ASSERT(error <= 2 * best);
    for (int64_t n = 0; n < rows; n++)
        TEST_CLOSE((double)out.lse[n], f->lse[n], 1e-5);
    drop(&out);
}

static void for_each_kernel(const fixture *f, void check(const attn_kernel *kernel, const fixture *f))
{
    for (size_t n = 0; n < attn_kernel_count(); n++)
        if (attn_kernel_available(attn_kernel_at(n), ATTN_PASS_FORWARD, ATTN_BFLOAT16, NULL, 0))
            check(attn_kernel_at(n), f);
}

static void test_error(void)
{
    static const int64_t keys[] = {1, 2, 33, 300, 1024};

    for (size_t n = 0; n < sizeof keys / sizeof keys[0]; n++)
        for (int causal = 0; causal < 2; causal++) {
            attn_problem problem = PROBLEM(1, 2, 1, 70, keys[n], 64, 48, ATTN_BFLOAT16);
            fixture f;

            problem.score.scale = 0.125;
            problem.mask.causal = causal != 0;
            f = fixture_make(&problem);
            for_each_kernel(&f, check_error);
            fixture_drop(&f);
        }
}

/* Sets all elements of an array of the fixture. */
static void fill(void *array, int64_t count, double value)
{
    for (int64_t n = 0; n < count; n++)
        attn_store(ATTN_BFLOAT16, array, (size_t)n, value);
}

/* A partial result is float32: equal keys weigh the same, so o is the mean of V but for float32 sums and rounded
 * weights. */
static void check_mean(const attn_kernel *kernel, const fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    outcome out = run(kernel, f, ATTN_FLOAT32);

    for (int64_t n = 0; n < s->seq * s->v_head_dim; n++)
        TEST_CLOSE((double)((const float *)out.o)[n], f->o[n], attn_dtype_epsilon(ATTN_BFLOAT16) / 2);
    for (int64_t n = 0; n < s->seq; n++)
        TEST_CLOSE((double)out.lse[n], f->lse[n], 1e-5);
    drop(&out);
}

static void test_equal_keys(void)
{
    static const double values[] = {0, 1, -100, 1e-39};

    for (size_t n = 0; n < sizeof values / sizeof values[0]; n++) {
        attn_problem problem = PROBLEM(1, 1, 1, 5, 261, 31, 7, ATTN_BFLOAT16);
        fixture f = fixture_make(&problem);

        fill(f.q, 5 * 31, 1);
        fill(f.k, 261 * 31, values[n]);
        fixture_solve(&f);
        for_each_kernel(&f, check_mean);
        fixture_drop(&f);
    }
}

/* Scores from -1e4 to 1e4 that rise with the key, so that every block has a larger maximum, or fall. */
static void test_large_scores(void)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        attn_problem problem = PROBLEM(1, 1, 1, 40, 700, 1, 16, ATTN_BFLOAT16);
        fixture f;

        problem.score.scale = sign;
        f = fixture_make(&problem);
        fill(f.q, 40, 1);
        for (size_t j = 0; j < 700; j++)
            attn_store(ATTN_BFLOAT16, f.k, j, 1e4 * ((double)j / 350 - 1));
        fixture_solve(&f);
        CU_ASSERT(f.max_score > 9900);
        for_each_kernel(&f, check_error);
        fixture_drop(&f);
    }
}

/* Scores of a few units from q and k far outside of them. */
static void test_extreme_scales(void)
{
    static const double scales[] = {0x1p-120, -0x1p-120, 0x1p100};

    for (size_t n = 0; n < sizeof scales / sizeof scales[0]; n++) {
        attn_problem problem = PROBLEM(1, 1, 1, 40, 150, 24, 16, ATTN_BFLOAT16);
        const double factor = sqrt(1 / fabs(scales[n])) / 4; /* a power of two: it rounds nothing */
        fixture f;

        problem.score.scale = scales[n];
        f = fixture_make(&problem);
        for (size_t e = 0; e < 40 * 24; e++)
            attn_store(ATTN_BFLOAT16, f.q, e, factor * attn_load(ATTN_BFLOAT16, f.q, e));
        for (size_t e = 0; e < 150 * 24; e++)
            attn_store(ATTN_BFLOAT16, f.k, e, factor * attn_load(ATTN_BFLOAT16, f.k, e));
        fixture_solve(&f);
        for_each_kernel(&f, check_error);
        fixture_drop(&f);
    }
}

/* Infinities and NaN of V come out where their keys are seen, and nowhere else; the other columns stay as they are. */
static void check_specials(const attn_kernel *kernel, const fixture *f)
{
    outcome out = run(kernel, f, ATTN_BFLOAT16);

    for (size_t i = 0; i < 300; i++) {
        const double inf = attn_load(ATTN_BFLOAT16, out.o, i * 8 + 2), nan = attn_load(ATTN_BFLOAT16, out.o, i * 8 + 5);

        CU_ASSERT(i < 100 ? isfinite(inf) : inf == INFINITY);
        CU_ASSERT(i < 201 ? isfinite(nan) : isnan(nan));
        for (size_t d = 0; d < 8; d++)
            if (d != 2 && d != 5)
                TEST_CLOSE(attn_load(ATTN_BFLOAT16, out.o, i * 8 + d), f->o[i * 8 + d], fixture_tolerance(f));
    }
    drop(&out);
}

static void test_special_values(void)
{
    attn_problem problem = PROBLEM(1, 1, 1, 300, 300, 16, 8, ATTN_BFLOAT16);
    fixture f;

    problem.mask.causal = true;
    f = fixture_make(&problem);
    attn_store(ATTN_BFLOAT16, f.v, 100 * 8 + 2, INFINITY);
    attn_store(ATTN_BFLOAT16, f.v, 201 * 8 + 5, NAN);
    fixture_solve(&f);
    for_each_kernel(&f, check_specials);
    fixture_drop(&f);
}

/* Gradients in float32 of a problem without batches and groups, from its exact o and lse. */
typedef struct gradients {
    float *dq, *dk, *dv;
} gradients;

static gradients run_backward(const attn_kernel *kernel, const fixture *f, void *d_o)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t zero = 0, width = s->v_head_dim;
    const gradients out = {malloc((size_t)(s->seq * s->head_dim) * sizeof(float)),
                           malloc((size_t)(s->kv_seq * s->head_dim) * sizeof(float)),
                           malloc((size_t)(s->kv_seq * width) * sizeof(float))};
    void *o = malloc((size_t)(s->seq * width) * sizeof(uint16_t)), *lse = malloc((size_t)s->seq * sizeof(float));
    const attn_array k = attn_array_dense(f->k, 1, s->kv_seq, s->head_dim);
    const attn_array v = attn_array_dense(f->v, 1, s->kv_seq, width);
    const attn_array dk = attn_array_dense(out.dk, 1, s->kv_seq, s->head_dim);
    const attn_array dv = attn_array_dense(out.dv, 1, s->kv_seq, width);
    attn_segments *q_rows, *kv_rows;
    const attn_segments *parts[1];
    attn_backward_setup setup = {.problem = &f->problem,
                                 .head_count = 1,
                                 .kv_head_count = 1,
                                 .part_count = 1,
                                 .part_rows = parts,
                                 .dq_dtype = ATTN_FLOAT32,
                                 .dkv_dtype = ATTN_FLOAT32,
                                 .threads = 1};
    const attn_backward_buffers buffers = {.q = attn_array_dense(f->q, 1, s->seq, s->head_dim),
                                           .o = attn_array_dense(o, 1, s->seq, width),
                                           .d_o = attn_array_dense(d_o, 1, s->seq, width),
                                           .lse = attn_array_dense(lse, 1, s->seq, 1),
                                           .k = &k,
                                           .v = &v,
                                           .dq = attn_array_dense(out.dq, 1, s->seq, s->head_dim),
                                           .dk = &dk,
                                           .dv = &dv};
    attn_backward *backward;

    attn_convert(ATTN_BFLOAT16, o, ATTN_FLOAT64, f->o, (size_t)(s->seq * width));
    attn_convert(ATTN_FLOAT32, lse, ATTN_FLOAT64, f->lse, (size_t)s->seq);
    TEST_OK(attn_segments_create(1, &zero, &s->seq, &q_rows, &attn_test_error));
    TEST_OK(attn_segments_create(1, &zero, &s->kv_seq, &kv_rows, &attn_test_error));
    setup.q_rows = q_rows;
    parts[0] = kv_rows;
    TEST_OK(attn_backward_create(kernel, &setup, &backward, &attn_test_error));
    attn_backward_execute(backward, &buffers);
    attn_backward_destroy(backward);
    attn_segments_destroy(q_rows);
    attn_segments_destroy(kv_rows);
    free(o);
    free(lse);
    return out;
}

static void drop_gradients(gradients *g)
{
    free(g->dq);
    free(g->dk);
    free(g->dv);
}

/* The kernels whose products are of bfloat16. */
static void for_each_bfloat16_kernel(void check(const attn_kernel *kernel))
{
    static const char *const names[] = {"avx512-bf16", "amx-bf16"};

    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        if (attn_kernel_available(attn_kernel_find(names[n]), ATTN_PASS_BACKWARD, ATTN_BFLOAT16, NULL, 0))
            check(attn_kernel_find(names[n]));
}

/* Infinities and NaN of q, k, v and do change the gradients of the rows and keys that meet them, and no bit of others,
 * which stand in the same blocks. */
static void check_special_gradients(const attn_kernel *kernel)
{
    enum { S = 300, D = 16, DV = 8, KEY = 104, VALUE = 150, Q_ROW = 77, DO_ROW = 201 };
    attn_problem problem = PROBLEM(1, 1, 1, S, S, D, DV, ATTN_BFLOAT16);
    uint16_t d_o[S * DV];
    gradients plain, special;
    fixture f;

    problem.mask.causal = true;
    f = fixture_make(&problem);
    for (size_t n = 0; n < S * DV; n++)
        attn_store(ATTN_BFLOAT16, d_o, n, (double)(n * 37 % 17) / 8 - 1);
    plain = run_backward(kernel, &f, d_o);
    attn_store(ATTN_BFLOAT16, f.k, KEY * D + 3, NAN);
    attn_store(ATTN_BFLOAT16, f.v, VALUE * DV + 2, INFINITY);
    attn_store(ATTN_BFLOAT16, f.q, Q_ROW * D + 1, NAN);
    attn_store(ATTN_BFLOAT16, d_o, DO_ROW * DV + 5, INFINITY);
    special = run_backward(kernel, &f, d_o);
    for (size_t i = 0; i < S; i++)
        for (size_t d = 0; d < D; d++)
            CU_ASSERT(i >= KEY || i == Q_ROW ? !isfinite(special.dq[i * D + d])
                                             : special.dq[i * D + d] == plain.dq[i * D + d]);
    for (size_t j = 0; j <= DO_ROW; j++)
        CU_ASSERT(!isfinite(special.dv[j * DV + 5]));
    CU_ASSERT_EQUAL(
        memcmp(special.dv + (DO_ROW + 1) * DV, plain.dv + (DO_ROW + 1) * DV, (S - DO_ROW - 1) * DV * sizeof(float)), 0);
    CU_ASSERT_EQUAL(
        memcmp(special.dk + (DO_ROW + 1) * D, plain.dk + (DO_ROW + 1) * D, (S - DO_ROW - 1) * D * sizeof(float)), 0);
    for (size_t j = 0; j <= Q_ROW; j++)
        CU_ASSERT(!isfinite(special.dk[j * D + 1]));
    drop_gradients(&plain);
    drop_gradients(&special);
    fixture_drop(&f);
}

static void test_special_gradients(void)
{
    for_each_bfloat16_kernel(check_special_gradients);
}

/* Scores from -1e4 to 1e4: each row's weight is with one key, so dv is the sum of do there and 0 elsewhere. */
static void check_large_gradients(const attn_kernel *kernel)
{
    enum { ROWS = 40, KEYS = 700, DV = 16 };
    attn_problem problem = PROBLEM(1, 1, 1, ROWS, KEYS, 1, DV, ATTN_BFLOAT16);
    uint16_t d_o[ROWS * DV];
    gradients got;
    fixture f;

    problem.score.scale = 1;
    f = fixture_make(&problem);
    fill(f.q, ROWS, 1);
    fill(d_o, ROWS * DV, 0.5);
    for (size_t j = 0; j < KEYS; j++)
        attn_store(ATTN_BFLOAT16, f.k, j, j == 123 ? 1e4 : -1e4 + (double)j);
    fixture_solve(&f);
    got = run_backward(kernel, &f, d_o);
    for (size_t n = 0; n < ROWS; n++)
        CU_ASSERT(isfinite(got.dq[n]));
    for (size_t j = 0; j < KEYS; j++) {
        CU_ASSERT(isfinite(got.dk[j]));
        for (size_t d = 0; d < DV; d++)
            TEST_CLOSE((double)got.dv[j * DV + d], j == 123 ? ROWS * 0.5 : 0, attn_dtype_epsilon(ATTN_BFLOAT16));
    }
    drop_gradients(&got);
    fixture_drop(&f);
}

static void test_large_gradients(void)
{
    for_each_bfloat16_kernel(check_large_gradients);
}

/* Tiles are chosen wherever there are any. */
static void test_choice(void)
{
    const attn_kernel *const tiles = attn_kernel_find("amx-bf16");

    for (int pass = ATTN_PASS_FORWARD; pass <= ATTN_PASS_BACKWARD; pass++)
        if (attn_kernel_available(tiles, (attn_pass)pass, ATTN_BFLOAT16, NULL, 0))
            CU_ASSERT_PTR_EQUAL(attn_kernel_best((attn_pass)pass, ATTN_BFLOAT16), tiles);
}

static const attn_test tests[] = {
    {"the error is at most twice that of rounding", test_error},
    {"equal keys", test_equal_keys},
    {"scores of +-1e4", test_large_scores},
    {"extreme scales", test_extreme_scales},
    {"infinities and NaN among the values", test_special_values},
    {"gradients beside infinities and NaN", test_special_gradients},
    {"gradients of scores of +-1e4", test_large_gradients},
    {"the choice of tiles", test_choice},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "kernel/bfloat16", tests, sizeof tests / sizeof tests[0]);
}
