/* Linear projections: every row of the table and every type against sums of higher precision, with the bound on the
 * error of a sum in any order (Higham 2002, eq. 3.5); edges, gaps between rows, and bits for any number of threads. */
#include "harness.h"

#include <attn/memory.h>

#include "layer/linear.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const double mark = -77; /* where nothing may be written; all types have it */

/* Elements of a dtype in rows of `stride`, of which the first `columns` are used. */
typedef struct matrix {
    attn_dtype dtype;
    int64_t rows, columns, stride;
    void *data;
} matrix;

static uint32_t random_state = 1;

/* -1 .. 1 with few bits: by turns ordinary numbers and small ones. */
static double draw(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return ((double)(random_state >> 16) / 32768 - 1) * (random_state & 0x800u ? 1 : 0.0625);
}

static matrix matrix_make(attn_dtype dtype, int64_t rows, int64_t columns, int64_t stride, bool drawn)
{
    matrix m = {dtype, rows, columns, stride, attn_aligned_alloc((size_t)(rows * stride) * attn_dtype_size(dtype))};

    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < stride; j++)
            attn_store(dtype, m.data, (size_t)(i * stride + j), drawn && j < columns ? draw() : mark);
    return m;
}

static double at(const matrix *m, int64_t row, int64_t column)
{
    return attn_load(m->dtype, m->data, (size_t)(row * m->stride + column));
}

/* Looks at got [rows,columns] = sum over depth of a b, + bias: a(i,k), b(k,j) by their strides. */
typedef struct sum {
    const matrix *a, *b;
    bool a_turned, b_turned;
    int64_t depth;
    const matrix *bias;  /* one row */
    const matrix *start; /* added to */
} sum;

static double worst(const sum *s, const matrix *got)
{
    const double eps = attn_dtype_epsilon(attn_dtype_accumulator(s->a->dtype));
    const double last = got->dtype == attn_dtype_accumulator(s->a->dtype) ? 0 : attn_dtype_epsilon(got->dtype) / 2;
    double largest = 0;

    for (int64_t i = 0; i < got->rows; i++)
        for (int64_t j = 0; j < got->columns; j++) {
            long double want = 0, magnitude = 0;
            double error, bound;

            for (int64_t k = 0; k < s->depth; k++) {
                const long double term = (long double)(s->a_turned ? at(s->a, k, i) : at(s->a, i, k)) *
                                         (s->b_turned ? at(s->b, j, k) : at(s->b, k, j));
                want += term;
                magnitude += fabsl(term);
            }
            if (s->bias != NULL) {
                want += at(s->bias, 0, j);
                magnitude += fabs(at(s->bias, 0, j));
            }
            if (s->start != NULL) {
                want += at(s->start, i, j);
                magnitude += fabs(at(s->start, i, j));
            }
            /* eps is twice the unit roundoff: that takes the products of errors, and float16's last subnormal bit is
             * the floor. */
            bound = (double)(s->depth + 2) * eps * (double)magnitude + last * (1 + 2 * eps) * fabs((double)want);
            bound += got->dtype == ATTN_FLOAT16 ? 0x1p-25 : 0;
            error = fabs((double)(at(got, i, j) - want));
            if (!(error <= bound))
                largest = fmax(largest, isfinite(error) && bound > 0 ? error / bound : INFINITY);
        }
    return largest;
}

/* Whether what stands between the rows is untouched. */
static bool gaps_kept(const matrix *m)
{
    for (int64_t i = 0; i < m->rows; i++)
        for (int64_t j = m->columns; j < m->stride; j++)
            if (at(m, i, j) != mark)
                return false;
    return true;
}

typedef struct trial {
    const attn_linear_backend *backend;
    attn_linear_setup setup;
    matrix x, w, b, dy;
} trial;

static trial trial_make(const attn_linear_backend *backend, const attn_linear_setup *s)
{
    return (trial){backend,
                   *s,
                   matrix_make(s->dtype, s->rows, s->in, s->x_stride, true),
                   matrix_make(s->dtype, s->out, s->in, s->w_stride, true),
                   matrix_make(s->dtype, 1, s->out, s->out, true),
                   matrix_make(s->dtype, s->rows, s->out, s->y_stride, true)};
}

static void trial_drop(trial *t)
{
    free(t->x.data);
    free(t->w.data);
    free(t->b.data);
    free(t->dy.data);
}

static void fail_if(bool wrong, const trial *t, const char *what, double error)
{
    const attn_linear_setup *const s = &t->setup;
    char text[256];

    if (!wrong)
        return;
    snprintf(text, sizeof text, "%s %s %lld x %lld x %lld strides %lld %lld %lld threads %d: %s, error/bound %g",
             attn_linear_backend_name(t->backend), attn_dtype_name(s->dtype), (long long)s->rows, (long long)s->in,
             (long long)s->out, (long long)s->x_stride, (long long)s->y_stride, (long long)s->w_stride, s->threads,
             what, error);
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static void look(const trial *t, const char *what, const sum *s, matrix *got)
{
    const double error = worst(s, got);

    CU_PASS(what);
    fail_if(error > 0, t, what, error);
    fail_if(!gaps_kept(got), t, "written between rows", 0);
    free(got->data);
}

static void check_forward(const trial *t, attn_linear *linear)
{
    const attn_linear_setup *const s = &t->setup;
    matrix y = matrix_make(s->y_dtype, s->rows, s->out, s->y_stride, false);

    attn_linear_forward(linear, t->x.data, t->w.data, s->bias ? t->b.data : NULL, y.data);
    look(t, "y", &(sum){.a = &t->x, .b = &t->w, .b_turned = true, .depth = s->in, .bias = s->bias ? &t->b : NULL}, &y);
}

static void check_data(const trial *t, attn_linear *linear, attn_dtype dtype, bool add)
{
    const attn_linear_setup *const s = &t->setup;
    matrix dx = matrix_make(dtype, s->rows, s->in, s->x_stride, add);
    matrix start = dx;

    start.data = malloc((size_t)(dx.rows * dx.stride) * attn_dtype_size(dtype) + 1);
    attn_convert(dtype, start.data, dtype, dx.data, (size_t)(dx.rows * dx.stride));
    attn_linear_backward_data(linear, t->dy.data, t->w.data, dtype, add, dx.data);
    look(t, add ? "dx, added" : "dx", &(sum){.a = &t->dy, .b = &t->w, .depth = s->out, .start = add ? &start : NULL},
         &dx);
    free(start.data);
}

static void check_weights(const trial *t, attn_linear *linear, bool bias)
{
    const attn_linear_setup *const s = &t->setup;
    const attn_dtype dtype = attn_dtype_accumulator(s->dtype);
    matrix dw = matrix_make(dtype, s->out, s->in, s->in, false);
    matrix db = matrix_make(dtype, 1, s->out, s->out, false);
    matrix ones = matrix_make(s->dtype, s->rows, 1, 1, false);

    for (int64_t i = 0; i < s->rows; i++)
        attn_store(s->dtype, ones.data, (size_t)i, 1);
    attn_linear_backward_weights(linear, t->dy.data, t->x.data, dw.data, bias ? db.data : NULL);
    look(t, "dw", &(sum){.a = &t->dy, .a_turned = true, .b = &t->x, .depth = s->rows}, &dw);
    if (bias)
        look(t, "db", &(sum){.a = &ones, .a_turned = true, .b = &t->dy, .depth = s->rows}, &db);
    else
        free(db.data);
    free(ones.data);
}

static void check(const attn_linear_backend *backend, const attn_linear_setup *setup)
{
    const attn_dtype accumulator = attn_dtype_accumulator(setup->dtype);
    trial t = trial_make(backend, setup);
    attn_linear *linear = NULL;

    TEST_OK(attn_linear_create(backend, setup, &linear, &attn_test_error));
    if (linear != NULL) {
        check_forward(&t, linear);
        if (setup->backward) {
            check_data(&t, linear, setup->dtype, false);
            check_data(&t, linear, accumulator, true);
            check_data(&t, linear, accumulator, false);
            check_weights(&t, linear, true);
            check_weights(&t, linear, false);
        }
        check_forward(&t, linear);
    }
    attn_linear_destroy(linear);
    trial_drop(&t);
}

static attn_linear_setup dense(attn_dtype dtype, int64_t rows, int64_t in, int64_t out)
{
    return (attn_linear_setup){rows, in, out, in, out, in, dtype, dtype, true, true, 2};
}

typedef void looker(const attn_linear_backend *backend, attn_dtype dtype);

static void every_backend(looker *look_at)
{
    for (size_t i = 0; i < attn_linear_backend_count(); i++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
            if (attn_linear_backend_computes(attn_linear_backend_at(i), (attn_dtype)dtype))
                look_at(attn_linear_backend_at(i), (attn_dtype)dtype);
}

static const int64_t shapes[][3] = {{1, 1, 1},    {1, 7, 3},     {3, 1, 5},     {5, 3, 1},
                                    {0, 4, 6},    {2, 64, 33},   {13, 31, 29},  {33, 65, 17},
                                    {64, 48, 96}, {49, 300, 37}, {37, 19, 515}, {600, 9, 40}};

static void look_at_shapes(const attn_linear_backend *backend, attn_dtype dtype)
{
    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        attn_linear_setup s = dense(dtype, shapes[n][0], shapes[n][1], shapes[n][2]);

        s.threads = 1 + (int)(n % 3);
        check(backend, &s);
        s.bias = false;
        s.y_dtype = attn_dtype_accumulator(dtype);
        s.x_stride += 3;
        s.y_stride += 5;
        s.w_stride += 1;
        check(backend, &s);
        s.bias = true;
        s.backward = false;
        check(backend, &s);
    }
}

static void test_shapes(void)
{
    every_backend(look_at_shapes);
}

/* The head of a rank: columns out of a wider array, as part of a fused projection. */
static void look_at_parts(const attn_linear_backend *backend, attn_dtype dtype)
{
    attn_linear_setup s = dense(dtype, 40, 24, 16);

    s.x_stride = 72;
    s.y_stride = 48;
    s.w_stride = 96;
    check(backend, &s);
}

static void test_parts(void)
{
    every_backend(look_at_parts);
}

/* All results of one setup, for comparing bits. */
static void *results(const attn_linear_backend *backend, const attn_linear_setup *s, size_t *bytes)
{
    const attn_dtype accumulator = attn_dtype_accumulator(s->dtype);
    const size_t size = attn_dtype_size(accumulator);
    const size_t counts[] = {(size_t)(s->rows * s->out), (size_t)(s->rows * s->in), (size_t)(s->out * s->in),
                             (size_t)s->out};
    attn_linear *linear = NULL;
    trial t;
    char *all, *place[4];

    *bytes = 0;
    for (int n = 0; n < 4; n++)
        *bytes += counts[n] * size;
    all = calloc(*bytes, 1);
    place[0] = all;
    for (int n = 1; n < 4; n++)
        place[n] = place[n - 1] + counts[n - 1] * size;
    random_state = 5;
    t = trial_make(backend, s);
    TEST_OK(attn_linear_create(backend, s, &linear, &attn_test_error));
    attn_linear_forward(linear, t.x.data, t.w.data, t.b.data, place[0]);
    attn_linear_backward_data(linear, t.dy.data, t.w.data, accumulator, false, place[1]);
    attn_linear_backward_weights(linear, t.dy.data, t.x.data, place[2], place[3]);
    attn_linear_destroy(linear);
    trial_drop(&t);
    return all;
}

/* The same bits each time, also where the caller set other numbers of threads; those of plain loops do not depend on
 * how many there are. */
static void look_at_threads(const attn_linear_backend *backend, attn_dtype dtype)
{
    const int before = omp_get_max_threads();
    attn_linear_setup s = dense(dtype, 150, 270, 130);
    const bool plain = strncmp(attn_linear_backend_name(backend), "plain", 5) == 0;
    size_t bytes;
    void *want;

    s.threads = 1;
    want = results(backend, &s, &bytes);
    for (int threads = 2; threads <= 5; threads++) {
        void *got;

        s.threads = threads;
        if (!plain) {
            free(want);
            want = results(backend, &s, &bytes);
        }
        omp_set_num_threads(threads == 3 ? 1 : 4);
        got = results(backend, &s, &bytes);
        CU_ASSERT(omp_get_max_threads() == (threads == 3 ? 1 : 4));
        CU_ASSERT(memcmp(got, want, bytes) == 0);
        free(got);
    }
    omp_set_num_threads(before);
    free(want);
}

static void test_threads(void)
{
    every_backend(look_at_threads);
}

/* Two projections of different shapes in turn keep out of each other's way. */
static void look_at_turns(const attn_linear_backend *backend, attn_dtype dtype)
{
    const attn_linear_setup s[] = {dense(dtype, 21, 34, 55), dense(dtype, 8, 90, 3)};
    attn_linear *linear[2] = {NULL, NULL};
    trial t[2];

    for (int n = 0; n < 2; n++) {
        t[n] = trial_make(backend, &s[n]);
        TEST_OK(attn_linear_create(backend, &s[n], &linear[n], &attn_test_error));
    }
    for (int turn = 0; turn < 6; turn++) {
        check_forward(&t[turn % 2], linear[turn % 2]);
        check_weights(&t[turn % 2], linear[turn % 2], true);
        check_data(&t[turn % 2], linear[turn % 2], dtype, false);
    }
    for (int n = 0; n < 2; n++) {
        attn_linear_destroy(linear[n]);
        trial_drop(&t[n]);
    }
}

static void test_turns(void)
{
    every_backend(look_at_turns);
}

/* Every type has a row, the first has all, and a row that lacks a type says so. */
static void test_table(void)
{
    CU_ASSERT_STRING_EQUAL(attn_linear_backend_name(attn_linear_backend_at(0)), "plain");
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        const attn_linear_setup s = dense((attn_dtype)dtype, 2, 3, 4);
        attn_linear *linear;

        CU_ASSERT(attn_linear_backend_computes(attn_linear_backend_at(0), (attn_dtype)dtype));
        TEST_OK(attn_linear_create(NULL, &s, &linear, &attn_test_error));
        attn_linear_destroy(linear);
        for (size_t i = 0; i < attn_linear_backend_count(); i++)
            if (!attn_linear_backend_computes(attn_linear_backend_at(i), (attn_dtype)dtype)) {
                attn_error error = ATTN_ERROR_INIT;

                CU_ASSERT_EQUAL(attn_linear_create(attn_linear_backend_at(i), &s, &linear, &error), ATTN_UNSUPPORTED);
                CU_ASSERT_PTR_NULL(linear);
                CU_ASSERT_PTR_NOT_NULL(strstr(error.message, attn_dtype_name((attn_dtype)dtype)));
            }
    }
    attn_linear_destroy(NULL);
}

static const attn_test tests[] = {
    {"shapes, gaps between rows, types of results", test_shapes},
    {"parts of wider arrays", test_parts},
    {"threads", test_threads},
    {"in turns", test_turns},
    {"the table", test_table},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "layer/linear", tests, sizeof tests / sizeof tests[0]);
}
