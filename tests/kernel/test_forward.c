/* Every kernel of the table alone against a plain float64 computation: types, masks, settings, odd shapes, parts. */
#include "fixture.h"
#include "harness.h"

#include <attn/kernel.h>
#include <attn/partition.h>
#include <attn/random.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 5 };

/* What one run of a kernel used and gave. */
typedef struct outcome {
    void *o, *lse;
} outcome;

/* Runs all queries against keys cut by a layout into parts; o and lse come back in global order. */
static outcome run(const attn_kernel *kernel, const fixture *f, const attn_layout *layout, int parts, int threads)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype, sum_dtype = attn_dtype_accumulator(dtype);
    const int64_t zero = 0;
    attn_segments *all, *rows[PARTS_MAX];
    attn_array k[PARTS_MAX], v[PARTS_MAX];
    outcome out = {malloc((size_t)fixture_elements(s, s->heads, s->seq, s->v_head_dim) * attn_dtype_size(dtype)),
                   malloc((size_t)fixture_elements(s, s->heads, s->seq, 1) * attn_dtype_size(sum_dtype))};
    attn_forward_setup setup = {.problem = &f->problem,
                                .head_count = s->heads,
                                .part_count = parts,
                                .part_rows = (const attn_segments *const *)rows,
                                .o_dtype = dtype,
                                .add_sinks = true,
                                .threads = threads};
    attn_forward_buffers buffers = {.q = attn_array_dense(f->q, s->heads, s->seq, s->head_dim),
                                    .k = k,
                                    .v = v,
                                    .o = attn_array_dense(out.o, s->heads, s->seq, s->v_head_dim),
                                    .lse = attn_array_dense(out.lse, s->heads, s->seq, 1)};
    attn_forward *forward;

    TEST_OK(attn_segments_create(1, &zero, &s->seq, &all, &attn_test_error));
    setup.q_rows = all;
    for (int p = 0; p < parts; p++) {
        TEST_OK(attn_layout_rows(layout, s->kv_seq, parts, p, &rows[p], &attn_test_error));
        k[p] =
            attn_array_dense(fixture_cut(s, dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, 0, s->kv_heads, rows[p]),
                             s->kv_heads, rows[p]->rows, s->head_dim);
        v[p] = attn_array_dense(
            fixture_cut(s, dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, 0, s->kv_heads, rows[p]), s->kv_heads,
            rows[p]->rows, s->v_head_dim);
    }
    memset(out.o, 0xff, (size_t)fixture_elements(s, s->heads, s->seq, s->v_head_dim) * attn_dtype_size(dtype));
    TEST_OK(attn_forward_create(kernel, &setup, &forward, &attn_test_error));
    attn_forward_execute(forward, &buffers);
    CU_ASSERT_EQUAL(attn_forward_pairs(forward), attn_mask_pairs(&f->problem.mask, s) * s->heads);
    attn_forward_destroy(forward);
    for (int p = 0; p < parts; p++) {
        free(k[p].data);
        free(v[p].data);
        attn_segments_destroy(rows[p]);
    }
    attn_segments_destroy(all);
    return out;
}

static void compare(const fixture *f, const outcome *out)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t rows = fixture_elements(s, s->heads, s->seq, 1);
    const attn_dtype sum_dtype = attn_dtype_accumulator(f->problem.dtype);

    for (int64_t n = 0; n < rows * s->v_head_dim; n++)
        TEST_CLOSE(attn_load(f->problem.dtype, out->o, (size_t)n), f->o[n], fixture_tolerance(f));
    for (int64_t n = 0; n < rows; n++)
        TEST_CLOSE(attn_load(sum_dtype, out->lse, (size_t)n), f->lse[n], fixture_tolerance(f));
}

static void check_fixture(const fixture *f)
{
    for (size_t n = 0; n < attn_kernel_count(); n++) {
        const attn_kernel *kernel = attn_kernel_at(n);
        const size_t layout = n % attn_layout_count();

        if (!attn_kernel_computes(kernel, ATTN_PASS_FORWARD, &f->problem, NULL, 0))
            continue;
        for (int parts = 1; parts <= PARTS_MAX; parts += 2) {
            outcome out = run(kernel, f, attn_layout_at((layout + (size_t)parts) % attn_layout_count()), parts,
                              parts == 1 ? 1 : 2);

            compare(f, &out);
            free(out.o);
            free(out.lse);
        }
    }
}

static void check_all_kernels(const attn_problem *problem)
{
    fixture f = fixture_make(problem);

    check_fixture(&f);
    fixture_drop(&f);
}

static void test_odd_shapes(void)
{
    static const int64_t shapes[][7] = {
        {1, 1, 1, 1, 1, 1, 1},     {1, 2, 1, 7, 5, 3, 2},       {2, 4, 2, 33, 65, 17, 40}, {1, 3, 3, 64, 129, 64, 64},
        {1, 1, 1, 200, 300, 8, 5}, {1, 6, 2, 31, 257, 128, 33}, {1, 1, 1, 1, 1000, 16, 16}};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
            const int64_t *s = shapes[n];
            attn_problem full = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], (attn_dtype)dtype);
            attn_problem causal = full;

            causal.mask.causal = true;
            check_all_kernels(&full);
            check_all_kernels(&causal);
        }
}

/* Scores of a few units from products far outside of them: q . k must not overflow on the way. */
static void test_extreme_scales(void)
{
    static const double scales[] = {1e-40, -1e-40, 1e30, 0};

    for (size_t n = 0; n < sizeof scales / sizeof scales[0]; n++)
        for (int dtype = ATTN_FLOAT64; dtype <= ATTN_FLOAT32; dtype++) {
            attn_problem problem = PROBLEM(1, 1, 1, 40, 150, 24, 16, (attn_dtype)dtype);
            const double factor = scales[n] == 0 ? 1 : sqrt(1 / fabs(scales[n]));
            fixture f;

            problem.score.scale = scales[n];
            f = fixture_make(&problem);
            for (size_t e = 0; e < 40 * 24; e++)
                attn_store(problem.dtype, f.q, e, factor * attn_load(problem.dtype, f.q, e));
            for (size_t e = 0; e < 150 * 24; e++)
                attn_store(problem.dtype, f.k, e, factor * attn_load(problem.dtype, f.k, e));
            fixture_solve(&f);
            check_fixture(&f);
            fixture_drop(&f);
        }
}

static void test_masks(void)
{
    static const int64_t kv_len[] = {140, 0, 37};
    static const int64_t cu_seqlens[] = {0, 0, 13, 14, 90, 90, 140};
    static const int64_t windows[][2] = {{16, -1}, {0, 0}, {-1, 3}, {40, 7}, {200, 200}};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem padded = PROBLEM(3, 2, 1, 70, 140, 24, 16, (attn_dtype)dtype);
        attn_problem documents = PROBLEM(1, 2, 2, 140, 140, 24, 16, (attn_dtype)dtype);

        padded.mask.kv_len = kv_len;
        check_all_kernels(&padded);
        padded.mask.causal = true;
        check_all_kernels(&padded);
        documents.mask.cu_seqlens = cu_seqlens;
        documents.mask.documents = 6;
        check_all_kernels(&documents);
        documents.mask.causal = true;
        check_all_kernels(&documents);
        for (size_t n = 0; n < sizeof windows / sizeof windows[0]; n++) {
            attn_problem window = PROBLEM(1, 1, 1, 150, 140, 24, 16, (attn_dtype)dtype);

            window.mask.window_left = windows[n][0];
            window.mask.window_right = windows[n][1];
            check_all_kernels(&window);
            window.mask.causal = true;
            check_all_kernels(&window);
        }
    }
}

static void test_scores(void)
{
    double slopes[4], sinks[] = {0.5, -3, 20, 0};

    attn_alibi_slopes(4, slopes);
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem p = PROBLEM(1, 4, 2, 50, 90, 32, 16, (attn_dtype)dtype);

        p.score.softcap = 2;
        check_all_kernels(&p);
        p.score.softcap = 50;
        check_all_kernels(&p);
        p.score.softcap = 5000; /* tanh of small numbers, times much */
        check_all_kernels(&p);
        p.score.softcap = 50;
        p.score.alibi_slopes = slopes;
        check_all_kernels(&p);
        p.score.softcap = 0;
        p.score.sinks = sinks;
        p.mask.causal = true;
        check_all_kernels(&p);
        p.score.scale = -0.7;
        check_all_kernels(&p);
        p.score.scale = 0;
        check_all_kernels(&p);
        p.score.scale = 500; /* scores of some thousands */
        check_all_kernels(&p);
    }
}

/* Sinks count in rows that see no key. */
static void test_rows_without_keys(void)
{
    double sinks[] = {0.5, -3};
    static const int64_t kv_len[] = {0};
    attn_problem p = PROBLEM(1, 2, 2, 20, 30, 8, 8, ATTN_FLOAT32);

    p.mask.kv_len = kv_len;
    check_all_kernels(&p);
    p.score.sinks = sinks;
    check_all_kernels(&p);
}

static bool equal_rows(const fixture *f, const outcome *a, const outcome *b, int64_t from, int64_t to)
{
    const attn_shape *s = &f->problem.shape;
    const size_t bytes = attn_dtype_size(f->problem.dtype) * (size_t)s->v_head_dim;
    const size_t lse = attn_dtype_size(attn_dtype_accumulator(f->problem.dtype));

    return memcmp((char *)a->o + (size_t)from * bytes, (char *)b->o + (size_t)from * bytes,
                  (size_t)(to - from) * bytes) == 0 &&
           memcmp((char *)a->lse + (size_t)from * lse, (char *)b->lse + (size_t)from * lse,
                  (size_t)(to - from) * lse) == 0;
}

/* A score of -inf is a weight of 0, wherever the key stands. */
static void test_minus_infinite_scores(void)
{
    attn_problem p = PROBLEM(1, 1, 1, 9, 40, 1, 4, ATTN_FLOAT32);

    for (int64_t place = 0; place < 40; place += 13) {
        fixture f = fixture_make(&p);

        for (size_t i = 0; i < 9; i++)
            attn_store(ATTN_FLOAT32, f.q, i, 1);
        attn_store(ATTN_FLOAT32, f.k, (size_t)place, -INFINITY);
        fixture_solve(&f);
        f.max_score = 8;
        for (size_t n = 0; n < attn_kernel_count(); n++) {
            outcome out;

            if (!attn_kernel_available(attn_kernel_at(n), ATTN_PASS_FORWARD, p.dtype, NULL, 0))
                continue;
            out = run(attn_kernel_at(n), &f, attn_layout_at(0), 3, 1);
            compare(&f, &out);
            free(out.o);
            free(out.lse);
        }
        fixture_drop(&f);
    }
}

/* Scratch memory depends on the widths and not on the lengths. */
static void test_bytes(void)
{
    const int64_t zero = 0;

    for (size_t n = 0; n < attn_kernel_count(); n++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
            attn_problem p = PROBLEM(1, 1, 1, 1, 1 << 20, 128, 128, (attn_dtype)dtype);
            const attn_segments *rows[1];
            attn_forward_setup setup = {.problem = &p, .head_count = 1, .part_count = 1, .part_rows = rows};
            attn_segments *q, *kv;
            attn_forward *forward;

            if (!attn_kernel_available(attn_kernel_at(n), ATTN_PASS_FORWARD, p.dtype, NULL, 0))
                continue;
            TEST_OK(attn_segments_create(1, &zero, &p.shape.seq, &q, &attn_test_error));
            TEST_OK(attn_segments_create(1, &zero, &p.shape.kv_seq, &kv, &attn_test_error));
            setup.q_rows = q;
            rows[0] = kv;
            setup.o_dtype = p.dtype;
            setup.threads = 3;
            TEST_OK(attn_forward_create(attn_kernel_at(n), &setup, &forward, &attn_test_error));
            CU_ASSERT(attn_forward_bytes(forward) < (size_t)3 * 2 * 1024 * 1024);
            attn_forward_destroy(forward);
            attn_segments_destroy(q);
            attn_segments_destroy(kv);
        }
}

/* Later keys, even NaN and infinite ones, leave the causal output of earlier rows as it was, bit for bit. */
static void test_later_keys_do_not_matter(void)
{
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < attn_kernel_count(); n++) {
            const attn_kernel *kernel = attn_kernel_at(n);
            attn_problem p = PROBLEM(1, 1, 1, 150, 150, 20, 12, (attn_dtype)dtype);
            const int64_t kept = 77;
            fixture f;
            outcome before, after;

            if (!attn_kernel_available(kernel, ATTN_PASS_FORWARD, p.dtype, NULL, 0))
                continue;
            p.mask.causal = true;
            f = fixture_make(&p);
            before = run(kernel, &f, attn_layout_at(0), 1, 2);
            for (int64_t j = kept; j < 150; j++)
                for (int64_t d = 0; d < 20; d++) {
                    attn_store(p.dtype, f.k, (size_t)(j * 20 + d), j % 3 == 0 ? NAN : j % 3 == 1 ? INFINITY : -9);
                    if (d < 12)
                        attn_store(p.dtype, f.v, (size_t)(j * 12 + d), j % 3 == 0 ? INFINITY : j % 3 == 1 ? NAN : 8);
                }
            after = run(kernel, &f, attn_layout_at(0), 1, 2);
            CU_ASSERT(equal_rows(&f, &before, &after, 0, kept));
            CU_ASSERT(!equal_rows(&f, &before, &after, kept, 150));
            free(before.o);
            free(before.lse);
            free(after.o);
            free(after.lse);
            fixture_drop(&f);
        }
}

/* The number of threads changes the tasks and not one bit of the result. */
static void test_threads_do_not_matter(void)
{
    attn_problem p = PROBLEM(2, 3, 1, 333, 333, 16, 16, ATTN_FLOAT32);
    fixture f;

    p.mask.causal = true;
    f = fixture_make(&p);
    for (size_t n = 0; n < attn_kernel_count(); n++) {
        outcome one, five;

        if (!attn_kernel_available(attn_kernel_at(n), ATTN_PASS_FORWARD, p.dtype, NULL, 0))
            continue;
        one = run(attn_kernel_at(n), &f, attn_layout_at(0), 1, 1);
        five = run(attn_kernel_at(n), &f, attn_layout_at(0), 1, 5);
        CU_ASSERT(equal_rows(&f, &one, &five, 0, 2 * 3 * 333));
        free(one.o);
        free(one.lse);
        free(five.o);
        free(five.lse);
    }
    fixture_drop(&f);
}

/* Dropout over shapes, masks and scores, with probabilities that keep nearly all, half and few weights. */
static void test_dropout(void)
{
    static const int64_t shapes[][7] = {{2, 4, 2, 33, 65, 17, 40},
                                        {1, 3, 3, 64, 129, 64, 64},
                                        {1, 6, 1, 5, 9, 8, 8},
                                        {1, 6, 2, 31, 257, 128, 33},
                                        {2, 2, 1, 1, 1000, 16, 16}};
    static const double probabilities[] = {1e-7, 0.1, 0.5, 0.8};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < sizeof shapes / sizeof shapes[0] * 4; n++) {
            const int64_t *s = shapes[n / 4];
            attn_problem p = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], (attn_dtype)dtype);

            p.dropout = probabilities[n % 4];
            p.dropout_seed = UINT64_C(0x123456789abcdef) + n;
            check_all_kernels(&p);
            p.mask.causal = true;
            check_all_kernels(&p);
        }
}

static void test_dropout_with_masks_and_scores(void)
{
    static const int64_t kv_len[] = {140, 0, 37}, cu_seqlens[] = {0, 0, 13, 14, 90, 90, 140};
    double slopes[2], sinks[] = {0.5, 3};

    attn_alibi_slopes(2, slopes);
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem padded = PROBLEM(3, 2, 1, 70, 140, 24, 16, (attn_dtype)dtype);
        attn_problem documents = PROBLEM(1, 2, 2, 140, 140, 24, 16, (attn_dtype)dtype);
        attn_problem window = PROBLEM(1, 2, 1, 150, 140, 24, 16, (attn_dtype)dtype);

        padded.dropout = documents.dropout = window.dropout = 0.3;
        padded.mask.kv_len = kv_len;
        padded.score.sinks = sinks;
        check_all_kernels(&padded);
        documents.mask.cu_seqlens = cu_seqlens;
        documents.mask.documents = 6;
        documents.mask.causal = true;
        documents.score.alibi_slopes = slopes;
        check_all_kernels(&documents);
        window.mask.window_left = 40;
        window.mask.window_right = 7;
        window.score.softcap = 3;
        window.score.sinks = sinks;
        check_all_kernels(&window);
    }
}

/* o and lse of one part of the keys alone, float64, without the sink. */
static void run_part(const attn_kernel *kernel, const fixture *f, const attn_segments *rows, double *o, double *lse)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t zero = 0;
    attn_segments *all;
    attn_array k = attn_array_dense(
        fixture_cut(s, f->problem.dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, 0, s->kv_heads, rows), s->kv_heads,
        rows->rows, s->head_dim);
    attn_array v = attn_array_dense(
        fixture_cut(s, f->problem.dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, 0, s->kv_heads, rows),
        s->kv_heads, rows->rows, s->v_head_dim);
    attn_forward_setup setup = {.problem = &f->problem,
                                .head_count = s->heads,
                                .part_count = 1,
                                .part_rows = &rows,
                                .o_dtype = ATTN_FLOAT64,
                                .threads = 1};
    const attn_forward_buffers buffers = {.q = attn_array_dense(f->q, s->heads, s->seq, s->head_dim),
                                          .k = &k,
                                          .v = &v,
                                          .o = attn_array_dense(o, s->heads, s->seq, s->v_head_dim),
                                          .lse = attn_array_dense(lse, s->heads, s->seq, 1)};
    attn_forward *forward;

    TEST_OK(attn_segments_create(1, &zero, &s->seq, &all, &attn_test_error));
    setup.q_rows = all;
    TEST_OK(attn_forward_create(kernel, &setup, &forward, &attn_test_error));
    attn_forward_execute(forward, &buffers);
    attn_forward_destroy(forward);
    attn_segments_destroy(all);
    free(k.data);
    free(v.data);
}

/* Results of two parts merge by their lse as without dropout: the numerators have it, the denominators not. */
static void test_dropout_of_parts_merges(void)
{
    enum { HEADS = 2, ROWS = 20, WIDTH = 6 };
    attn_problem p = PROBLEM(1, HEADS, 1, ROWS, 77, 16, WIDTH, ATTN_FLOAT64);
    fixture f;

    p.dropout = 0.4;
    p.dropout_seed = 9;
    f = fixture_make(&p);
    for (size_t n = 0; n < attn_kernel_count(); n++)
        for (size_t layout = 0; layout < attn_layout_count(); layout++) {
            double o[2][HEADS * ROWS * WIDTH], lse[2][HEADS * ROWS];

            if (!attn_kernel_computes(attn_kernel_at(n), ATTN_PASS_FORWARD, &p, NULL, 0))
                continue;
            for (int part = 0; part < 2; part++) {
                attn_segments *rows;

                TEST_OK(attn_layout_rows(attn_layout_at(layout), 77, 2, part, &rows, &attn_test_error));
                run_part(attn_kernel_at(n), &f, rows, o[part], lse[part]);
                attn_segments_destroy(rows);
            }
            for (int e = 0; e < HEADS * ROWS * WIDTH; e++) {
                const double whole = log(exp(lse[0][e / WIDTH]) + exp(lse[1][e / WIDTH]));

                TEST_CLOSE(whole, f.lse[e / WIDTH], 1e-13);
                TEST_CLOSE(exp(lse[0][e / WIDTH] - whole) * o[0][e] + exp(lse[1][e / WIDTH] - whole) * o[1][e], f.o[e],
                           1e-13);
            }
        }
    fixture_drop(&f);
}

/* A kernel that has no dropout says so, and none such is chosen. */
static void test_dropout_is_refused(void)
{
    const int64_t one = 1, zero = 0;
    attn_segments *rows;

    TEST_OK(attn_segments_create(1, &zero, &one, &rows, &attn_test_error));
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem p = PROBLEM(1, 1, 1, 1, 1, 8, 8, (attn_dtype)dtype);
        const attn_kernel *chosen;

        p.dropout = 0.1;
        for (size_t n = 0; n < attn_kernel_count(); n++) {
            const attn_kernel *kernel = attn_kernel_at(n);
            const attn_forward_setup setup = {
                .problem = &p, .head_count = 1, .q_rows = rows, .o_dtype = p.dtype, .threads = 1};
            attn_error error = ATTN_ERROR_INIT;
            attn_forward *forward;

            if (attn_kernel_computes(kernel, ATTN_PASS_FORWARD, &p, NULL, 0) ||
                !attn_kernel_available(kernel, ATTN_PASS_FORWARD, p.dtype, NULL, 0))
                continue;
            CU_ASSERT_EQUAL(attn_forward_create(kernel, &setup, &forward, &error), ATTN_UNSUPPORTED);
            CU_ASSERT_PTR_NULL(forward);
            CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "it has no dropout"));
        }
        for (int pass = 0; pass < ATTN_PASS_COUNT; pass++) {
            TEST_OK(attn_kernel_choose((attn_pass)pass, p.dtype, true, &chosen, &attn_test_error));
            CU_ASSERT(attn_kernel_computes(chosen, (attn_pass)pass, &p, NULL, 0));
        }
    }
    attn_segments_destroy(rows);
}

static void test_table(void)
{
    char reason[ATTN_MESSAGE_MAX];

    CU_ASSERT(attn_kernel_count() >= 4);
    CU_ASSERT_PTR_NULL(attn_kernel_find("no such kernel"));
    for (size_t n = 0; n < attn_kernel_count(); n++) {
        const attn_kernel *kernel = attn_kernel_at(n);

        CU_ASSERT_PTR_EQUAL(attn_kernel_find(attn_kernel_name(kernel)), kernel);
        CU_ASSERT(strlen(attn_kernel_summary(kernel)) > 0);
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
            if (!attn_kernel_available(kernel, ATTN_PASS_FORWARD, (attn_dtype)dtype, reason, sizeof reason)) {
                char text[2 * ATTN_MESSAGE_MAX];

                CU_ASSERT(strlen(reason) > 0);
                snprintf(text, sizeof text, "kernel %s, %s: %s", attn_kernel_name(kernel),
                         attn_dtype_name((attn_dtype)dtype), reason);
                attn_test_skip(text);
            }
    }
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        CU_ASSERT(attn_kernel_available(attn_kernel_best(ATTN_PASS_FORWARD, (attn_dtype)dtype), ATTN_PASS_FORWARD,
                                        (attn_dtype)dtype, NULL, 0));
}

static const attn_test tests[] = {
    {"the table is complete", test_table},
    {"odd shapes in every type", test_odd_shapes},
    {"extreme scales", test_extreme_scales},
    {"masks", test_masks},
    {"scale, softcap, ALiBi, sinks", test_scores},
    {"rows without keys", test_rows_without_keys},
    {"scores of -inf", test_minus_infinite_scores},
    {"scratch memory", test_bytes},
    {"later keys do not matter to causal rows", test_later_keys_do_not_matter},
    {"the number of threads does not matter", test_threads_do_not_matter},
    {"dropout", test_dropout},
    {"dropout with masks and scores", test_dropout_with_masks_and_scores},
    {"dropout of parts merges", test_dropout_of_parts_merges},
    {"dropout is refused where there is none", test_dropout_is_refused},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "kernel/forward", tests, sizeof tests / sizeof tests[0]);
}
