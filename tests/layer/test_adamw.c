/* AdamW against the lines of the paper's algorithm 2 in float64, over several steps. */
#include "harness.h"

#include <attn/optimiser.h>

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 12 };

/* Gradients of all sizes, from zero to large, that change from step to step. */
static double gradient_at(int64_t n, int64_t t)
{
    return n % 7 == 0 ? 0 : sin((double)(n + 3 * t)) * pow(10, (double)(n % 9) - 5);
}

static double weight_at(int64_t n)
{
    return cos((double)n) * (n % 3 == 0 ? 0.01 : 1);
}

typedef struct state {
    attn_adamw_arrays arrays;
    void *gradient;
} state;

static state state_make(attn_dtype dtype, attn_dtype copy_dtype, int64_t count)
{
    const size_t bytes = (size_t)count * attn_dtype_size(dtype) + 1;
    state s = {.gradient = malloc(bytes)};

    s.arrays = (attn_adamw_arrays){count,
                                   dtype,
                                   s.gradient,
                                   malloc(bytes),
                                   calloc(bytes, 1),
                                   calloc(bytes, 1),
                                   copy_dtype,
                                   calloc((size_t)count * attn_dtype_size(copy_dtype) + 1, 1)};
    for (int64_t n = 0; n < count; n++)
        attn_store(dtype, s.arrays.weights, (size_t)n, weight_at(n));
    return s;
}

static void state_drop(state *s)
{
    free(s->gradient);
    free(s->arrays.weights);
    free(s->arrays.m);
    free(s->arrays.v);
    free(s->arrays.copy);
}

static void step(state *s, const attn_adamw *settings, int64_t t, double scale, int threads)
{
    for (int64_t n = 0; n < s->arrays.count; n++)
        attn_store(s->arrays.dtype, s->gradient, (size_t)n, gradient_at(n, t));
    attn_adamw_step(settings, t, scale, &s->arrays, threads);
}

/* One weight by the algorithm's lines 5 to 12. */
typedef struct exact {
    double theta, m, v;
} exact;

static void exact_step(const attn_adamw *a, int64_t t, double g, exact *x)
{
    double m_hat, v_hat;

    x->m = a->beta1 * x->m + (1 - a->beta1) * g;
    x->v = a->beta2 * x->v + (1 - a->beta2) * g * g;
    m_hat = x->m / (1 - pow(a->beta1, (double)t));
    v_hat = x->v / (1 - pow(a->beta2, (double)t));
    x->theta -= a->schedule * (a->learning_rate * m_hat / (sqrt(v_hat) + a->epsilon) + a->weight_decay * x->theta);
}

/* Whether the copy of a weight is that weight, rounded once. */
static bool copied(const attn_adamw_arrays *arrays, int64_t n)
{
    const double weight = attn_load(arrays->dtype, arrays->weights, (size_t)n);
    uint64_t rounded[1];

    attn_store(arrays->copy_dtype, rounded, 0, weight);
    return attn_load(arrays->copy_dtype, arrays->copy, (size_t)n) == attn_load(arrays->copy_dtype, rounded, 0);
}

/* Each step rounds w once or twice, and its change by some eps: of means of terms of both signs, eps of the terms. */
static void check(const attn_adamw *first, attn_dtype dtype, attn_dtype copy_dtype, int64_t count, double scale)
{
    const double eps = attn_dtype_epsilon(dtype);
    state s = state_make(dtype, copy_dtype, count);
    exact *x = calloc((size_t)count + 1, sizeof *x);

    for (int64_t n = 0; n < count; n++)
        x[n].theta = attn_load(dtype, s.arrays.weights, (size_t)n);
    for (int64_t t = 1; t <= STEPS; t++) {
        attn_adamw settings = *first;

        settings.schedule = first->schedule / (double)t;
        step(&s, &settings, t, scale, 1 + (int)(t % 3));
        for (int64_t n = 0; n < count; n++) {
            const double got = attn_load(dtype, s.arrays.weights, (size_t)n);

            exact_step(&settings, t, scale * attn_load(dtype, s.gradient, (size_t)n), &x[n]);
            CU_ASSERT(fabs(got - x[n].theta) <=
                      eps * (double)t * (2 * fabs(x[n].theta) + 40 * first->schedule * first->learning_rate) + DBL_MIN);
            CU_ASSERT(copied(&s.arrays, n));
        }
    }
    free(x);
    state_drop(&s);
}

static void test_formula(void)
{
    static const int64_t counts[] = {0, 1, 7, 2047, 5000};
    attn_adamw settings = ATTN_ADAMW_INIT;

    for (int n = 0; n < 5; n++) {
        check(&settings, ATTN_FLOAT64, ATTN_FLOAT64, counts[n], 1);
        check(&settings, ATTN_FLOAT32, ATTN_BFLOAT16, counts[n], 1);
    }
    settings = (attn_adamw){0.02, 0.8, 0.95, 1e-6, 0.05, 0.7};
    check(&settings, ATTN_FLOAT64, ATTN_FLOAT32, 600, 0.25);
    check(&settings, ATTN_FLOAT32, ATTN_FLOAT16, 600, 0.25);
}

/* In float32 too, where a step changes few of the last bits: each of ten rounds once. */
static void test_small_decay(void)
{
    const attn_adamw settings = {0.1, 0.9, 0.999, 1e-8, 1.2e-6, 1};
    const float zero = 0;
    float w[] = {1, 0}, m[] = {0, 0}, v[] = {0, 0};
    const attn_adamw_arrays arrays = {1, ATTN_FLOAT32, &zero, w, m, v, ATTN_FLOAT32, NULL};

    for (int t = 1; t <= 10; t++)
        attn_adamw_step(&settings, t, 1, &arrays, 1);
    CU_ASSERT(fabs((double)w[0] - (1 - 1.2e-5)) < 10 * 0x1p-25);
}

/* Weights without gradients decay, and no more. */
static void test_decay(void)
{
    const attn_adamw settings = {0.1, 0.9, 0.999, 1e-8, 0.125, 1};
    double w = 3, m = 0, v = 0;
    const double zero = 0;
    const attn_adamw_arrays arrays = {1, ATTN_FLOAT64, &zero, &w, &m, &v, ATTN_FLOAT64, NULL};

    for (int t = 1; t <= 4; t++)
        attn_adamw_step(&settings, t, 1, &arrays, 1);
    CU_ASSERT(w == 3 * pow(0.875, 4));
    test_small_decay();
}

static void test_threads(void)
{
    const attn_adamw settings = ATTN_ADAMW_INIT;
    const int64_t count = 10007;
    state want = state_make(ATTN_FLOAT32, ATTN_BFLOAT16, count);
    double squares;

    for (int64_t t = 1; t <= 3; t++)
        step(&want, &settings, t, 1, 1);
    squares = attn_adamw_squares(ATTN_FLOAT32, want.gradient, count, 1);
    for (int threads = 2; threads <= 5; threads++) {
        state got = state_make(ATTN_FLOAT32, ATTN_BFLOAT16, count);

        for (int64_t t = 1; t <= 3; t++)
            step(&got, &settings, t, 1, threads);
        CU_ASSERT(memcmp(got.arrays.weights, want.arrays.weights, (size_t)count * 4) == 0);
        CU_ASSERT(memcmp(got.arrays.m, want.arrays.m, (size_t)count * 4) == 0);
        CU_ASSERT(memcmp(got.arrays.v, want.arrays.v, (size_t)count * 4) == 0);
        CU_ASSERT(memcmp(got.arrays.copy, want.arrays.copy, (size_t)count * 2) == 0);
        CU_ASSERT(attn_adamw_squares(ATTN_FLOAT32, got.gradient, count, threads) == squares);
        state_drop(&got);
    }
    state_drop(&want);
}

static void test_clip(void)
{
    static const int64_t counts[] = {0, 1, 255, 256, 257, 70001};

    for (int n = 0; n < 6; n++)
        for (int type = ATTN_FLOAT64; type <= ATTN_FLOAT32; type++) {
            void *array = malloc((size_t)counts[n] * 8 + 1);
            long double want = 0;

            for (int64_t i = 0; i < counts[n]; i++) {
                attn_store((attn_dtype)type, array, (size_t)i, gradient_at(i, 1));
                want += powl(attn_load((attn_dtype)type, array, (size_t)i), 2);
            }
            TEST_CLOSE(attn_adamw_squares((attn_dtype)type, array, counts[n], 2) / (1 + (double)want),
                       (double)want / (1 + (double)want), 1e-13);
            free(array);
        }
    CU_ASSERT(attn_adamw_clip(25, 5) == 1);
    CU_ASSERT(attn_adamw_clip(0, 1) == 1);
    CU_ASSERT(attn_adamw_clip(25, 1) == 0.2);
    CU_ASSERT(isnan(attn_adamw_clip(NAN, 1)));
    CU_ASSERT(attn_adamw_clip(INFINITY, 1) == 0);
}

static void test_settings(void)
{
    static const double bad[] = {-1, 1, 1.5, 0, -0.1, NAN};
    attn_adamw settings = ATTN_ADAMW_INIT;
    double *const fields[] = {&settings.learning_rate, &settings.beta1,        &settings.beta2,
                              &settings.epsilon,       &settings.weight_decay, &settings.schedule};
    static const char *const names[] = {
        "learning_rate -1:", "beta1 1:", "beta2 1.5:", "epsilon 0:", "weight_decay -0.1:", "schedule nan:"};

    TEST_OK(attn_adamw_check(&settings, &attn_test_error));
    for (int n = 0; n < 6; n++) {
        const double kept = *fields[n];
        attn_error error = ATTN_ERROR_INIT;

        *fields[n] = bad[n];
        CU_ASSERT_EQUAL(attn_adamw_check(&settings, &error), ATTN_ARGUMENT);
        CU_ASSERT(strstr(error.message, names[n]) == error.message);
        *fields[n] = kept;
    }
}

static const attn_test tests[] = {
    {"the formula, and the copy", test_formula},
    {"decay alone", test_decay},
    {"threads", test_threads},
    {"norm and clipping", test_clip},
    {"settings", test_settings},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "layer/adamw", tests, sizeof tests / sizeof tests[0]);
}
