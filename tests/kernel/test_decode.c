/* Few query rows against many keys: ranges of keys and their merge, against the definition; the merge alone. */
#include "fixture.h"
#include "harness.h"

#include "kernel/merge.h"

#include <attn/kernel.h>
#include <attn/partition.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 3 };

typedef struct outcome {
    char *o, *lse;
    size_t o_bytes, lse_bytes;
} outcome;

static void drop(outcome *out)
{
    free(out->o);
    free(out->lse);
}

static outcome run(const attn_kernel *kernel, const fixture *f, const attn_layout *layout, int parts, int threads)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const int64_t zero = 0, rows = fixture_elements(s, s->heads, s->seq, 1);
    outcome out = {.o_bytes = (size_t)(rows * s->v_head_dim) * attn_dtype_size(dtype),
                   .lse_bytes = (size_t)rows * attn_dtype_size(attn_dtype_accumulator(dtype))};
    attn_segments *q_rows, *kv_rows[PARTS_MAX];
    attn_array k[PARTS_MAX], v[PARTS_MAX];
    attn_forward_setup setup = {.problem = &f->problem,
                                .head_count = s->heads,
                                .part_count = parts,
                                .part_rows = (const attn_segments *const *)kv_rows,
                                .o_dtype = dtype,
                                .add_sinks = true,
                                .threads = threads};
    attn_forward_buffers buffers = {.k = k, .v = v};
    attn_forward *forward;

    out.o = malloc(out.o_bytes);
    out.lse = malloc(out.lse_bytes);
    buffers.q = attn_array_dense(f->q, s->heads, s->seq, s->head_dim);
    buffers.o = attn_array_dense(out.o, s->heads, s->seq, s->v_head_dim);
    buffers.lse = attn_array_dense(out.lse, s->heads, s->seq, 1);
    TEST_OK(attn_segments_create(1, &zero, &s->seq, &q_rows, &attn_test_error));
    setup.q_rows = q_rows;
    for (int p = 0; p < parts; p++) {
        TEST_OK(attn_layout_rows(layout, s->kv_seq, parts, p, &kv_rows[p], &attn_test_error));
        k[p] = attn_array_dense(
            fixture_cut(s, dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, 0, s->kv_heads, kv_rows[p]), s->kv_heads,
            kv_rows[p]->rows, s->head_dim);
        v[p] = attn_array_dense(
            fixture_cut(s, dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, 0, s->kv_heads, kv_rows[p]), s->kv_heads,
            kv_rows[p]->rows, s->v_head_dim);
    }
    TEST_OK(attn_forward_create(kernel, &setup, &forward, &attn_test_error));
    attn_forward_execute(forward, &buffers);
    CU_ASSERT_EQUAL(attn_forward_pairs(forward), attn_mask_pairs(&f->problem.mask, s) * s->heads);
    attn_forward_destroy(forward);
    for (int p = 0; p < parts; p++) {
        free(k[p].data);
        free(v[p].data);
        attn_segments_destroy(kv_rows[p]);
    }
    attn_segments_destroy(q_rows);
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

/* In one piece and in parts, with one thread and with more: right, and the same bits for every number of threads. */
static void check(const attn_problem *problem)
{
    fixture f = fixture_make(problem);

    for (size_t n = 0; n < attn_kernel_count(); n++) {
        const attn_kernel *kernel = attn_kernel_at(n);
        outcome one, three, parts;

        if (!attn_kernel_available(kernel, ATTN_PASS_DECODE, problem->dtype, NULL, 0))
            continue;
        one = run(kernel, &f, attn_layout_at(0), 1, 1);
        three = run(kernel, &f, attn_layout_at(0), 1, 3);
        parts = run(kernel, &f, attn_layout_at(n % attn_layout_count()), PARTS_MAX, 2);
        compare(&f, &one);
        compare(&f, &parts);
        CU_ASSERT(memcmp(one.o, three.o, one.o_bytes) == 0);
        CU_ASSERT(memcmp(one.lse, three.lse, one.lse_bytes) == 0);
        drop(&one);
        drop(&three);
        drop(&parts);
    }
    fixture_drop(&f);
}

/* Every number of rows of a tile, and more than one tile, and more than fit into one task of a blocked kernel; keys of
 * several ranges; widths of whole vectors and others. */
static void test_shapes(void)
{
    static const int64_t shapes[][7] = {
        {1, 1, 1, 1, 1000, 64, 64},  {1, 2, 1, 1, 777, 33, 65},  {2, 3, 1, 1, 600, 40, 24}, {1, 2, 2, 5, 530, 16, 130},
        {1, 8, 1, 1, 520, 128, 96},  {1, 3, 1, 3, 515, 7, 1},    {1, 8, 1, 2, 400, 80, 80}, {1, 1, 1, 8, 3, 20, 20},
        {1, 24, 1, 1, 1300, 33, 40}, {2, 6, 2, 7, 1100, 16, 24}, {1, 100, 1, 8, 600, 8, 8}};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
            const int64_t *s = shapes[n];
            attn_problem p = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], (attn_dtype)dtype);

            check(&p);
            p.mask.causal = true;
            check(&p);
        }
}

/* Masks and scores, for so many heads of two key-value heads. */
static void check_settings(int64_t heads)
{
    static const int64_t kv_len[] = {700, 0, 299};
    double slopes[24], sinks[24] = {0.5, -3, 20, 0};

    attn_alibi_slopes(heads, slopes);
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem p = PROBLEM(3, heads, 2, 3, 700, 24, 16, (attn_dtype)dtype);

        p.mask.kv_len = kv_len;
        p.score.sinks = sinks;
        check(&p);
        p.mask.causal = true;
        p.mask.window_left = 350;
        check(&p);
        p.score.softcap = 4;
        check(&p);
        p.score.alibi_slopes = slopes;
        check(&p);
        p.score.softcap = 0;
        p.score.scale = -0.7;
        check(&p);
    }
}

static void test_settings(void)
{
    check_settings(4);
    check_settings(24);
}

/* Keys that no row sees, even NaN and infinite ones, leave the result as it was, bit for bit; others do not. */
static void test_unseen_keys(void)
{
    static const int64_t kv_len[] = {601};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < attn_kernel_count(); n++) {
            const attn_kernel *kernel = attn_kernel_at(n);
            attn_problem p = PROBLEM(1, 2, 1, 2, 700, 20, 12, (attn_dtype)dtype);
            fixture f;
            outcome before, after, reached;

            if (!attn_kernel_available(kernel, ATTN_PASS_DECODE, p.dtype, NULL, 0))
                continue;
            p.mask.kv_len = kv_len;
            p.mask.causal = true;
            p.mask.window_left = 650; /* rows see keys from 48 or 49 on */
            f = fixture_make(&p);
            before = run(kernel, &f, attn_layout_at(0), 1, 2);
            for (int64_t j = 0; j < 700; j++)
                for (int64_t d = 0; d < 12; d++)
                    if (j < 48 || j >= 601)
                        attn_store(p.dtype, f.v, (size_t)(j * 12 + d), j % 2 == 0 ? NAN : INFINITY);
            after = run(kernel, &f, attn_layout_at(0), 1, 2);
            attn_store(p.dtype, f.v, (size_t)(48 * 12), NAN); /* seen by the first row alone */
            reached = run(kernel, &f, attn_layout_at(0), 1, 2);
            CU_ASSERT(memcmp(before.o, after.o, before.o_bytes) == 0);
            for (size_t row = 0; row < 4; row++)
                CU_ASSERT_EQUAL(isnan(attn_load(p.dtype, reached.o, row * 12)) != 0, row % 2 == 0);
            drop(&before);
            drop(&after);
            drop(&reached);
            fixture_drop(&f);
        }
}

/* Compares the rows from `begin` on, which a pass left in o and lse. */
static void compare_rows(const fixture *f, int64_t begin, int64_t rows, const void *o, const void *lse)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype sum_dtype = attn_dtype_accumulator(f->problem.dtype);

    for (int64_t n = 0; n < s->batch * s->heads * rows; n++) {
        const int64_t at = n / rows * s->seq + begin + n % rows;

        for (int64_t d = 0; d < s->v_head_dim; d++)
            TEST_CLOSE(attn_load(f->problem.dtype, o, (size_t)(n * s->v_head_dim + d)), f->o[at * s->v_head_dim + d],
                       fixture_tolerance(f));
        TEST_CLOSE(attn_load(sum_dtype, lse, (size_t)n), f->lse[at], fixture_tolerance(f));
    }
}

/* One pass whose rows go along a sequence, over three parts of its keys. */
static void check_moves(const attn_kernel *kernel, const fixture *f, const attn_layout *layout, int64_t rows)
{
    static const int64_t places[] = {0, 1, 3, 200, 255, 256, 400, 572, 256, 3};
    enum { PLACES = sizeof places / sizeof places[0], AGAIN = 2 }; /* the last ones are the second time there */
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const int64_t first = 0;
    const size_t lines = (size_t)fixture_elements(s, s->heads, rows, 1);
    const size_t o_bytes = lines * (size_t)s->v_head_dim * attn_dtype_size(dtype);
    const size_t lse_bytes = lines * attn_dtype_size(attn_dtype_accumulator(dtype));
    char *o = malloc(PLACES * o_bytes), *lse = malloc(PLACES * lse_bytes);
    attn_segments *q_rows, *kv_rows[PARTS_MAX];
    attn_array k[PARTS_MAX], v[PARTS_MAX];
    attn_forward_setup setup = {.problem = &f->problem,
                                .head_count = s->heads,
                                .part_count = PARTS_MAX,
                                .part_rows = (const attn_segments *const *)kv_rows,
                                .o_dtype = dtype,
                                .add_sinks = true,
                                .threads = 2,
                                .moves = true};
    attn_forward *forward;

    TEST_OK(attn_segments_create(1, &first, &rows, &q_rows, &attn_test_error));
    setup.q_rows = q_rows;
    for (int p = 0; p < PARTS_MAX; p++) {
        TEST_OK(attn_layout_rows(layout, s->kv_seq, PARTS_MAX, p, &kv_rows[p], &attn_test_error));
        k[p] = attn_array_dense(
            fixture_cut(s, dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, 0, s->kv_heads, kv_rows[p]), s->kv_heads,
            kv_rows[p]->rows, s->head_dim);
        v[p] = attn_array_dense(
            fixture_cut(s, dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, 0, s->kv_heads, kv_rows[p]), s->kv_heads,
            kv_rows[p]->rows, s->v_head_dim);
    }
    TEST_OK(attn_forward_create(kernel, &setup, &forward, &attn_test_error));
    for (int n = 0; n < PLACES; n++) {
        const attn_segments there = {
            .list = &(attn_segment){.begin = places[n], .length = rows}, .count = 1, .rows = rows};
        void *const q = fixture_cut(s, dtype, f->q, s->heads, s->seq, s->head_dim, 0, s->heads, &there);
        const attn_forward_buffers buffers = {
            .q = attn_array_dense(q, s->heads, rows, s->head_dim),
            .k = k,
            .v = v,
            .o = attn_array_dense(o + (size_t)n * o_bytes, s->heads, rows, s->v_head_dim),
            .lse = attn_array_dense(lse + (size_t)n * lse_bytes, s->heads, rows, 1)};
        int64_t pairs = 0;

        for (int64_t i = places[n]; i < places[n] + rows; i++) {
            const attn_interval keys = attn_mask_row(&f->problem.mask, s, 0, i);

            pairs += keys.hi - keys.lo;
        }
        attn_forward_move(forward, places[n]);
        attn_forward_execute(forward, &buffers);
        CU_ASSERT_EQUAL(attn_forward_pairs(forward), pairs * s->batch * s->heads);
        compare_rows(f, places[n], rows, buffers.o.data, buffers.lse.data);
        free(q);
    }
    for (int n = PLACES - AGAIN; n < PLACES; n++)
        for (int before = 0; before < PLACES - AGAIN; before++)
            if (places[before] == places[n]) {
                CU_ASSERT(memcmp(o + (size_t)before * o_bytes, o + (size_t)n * o_bytes, o_bytes) == 0);
                CU_ASSERT(memcmp(lse + (size_t)before * lse_bytes, lse + (size_t)n * lse_bytes, lse_bytes) == 0);
            }
    attn_forward_destroy(forward);
    for (int p = 0; p < PARTS_MAX; p++) {
        free(k[p].data);
        free(v[p].data);
        attn_segments_destroy(kv_rows[p]);
    }
    attn_segments_destroy(q_rows);
    free(o);
    free(lse);
}

/* A pass that moves along a sequence is right everywhere, and gives the same bits wherever it was before: decoding, a
 * blocked kernel that is cut by keys, and rows in blocks. */
static void test_moves(void)
{
    static const int64_t rows[] = {1, 3, 8, 20};
    double slopes[8];

    attn_alibi_slopes(8, slopes);
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (int64_t window = -1; window < 200; window += 100) {
            attn_problem p = PROBLEM(2, 8, 2, 592, 592, 12, 20, (attn_dtype)dtype);
            fixture f;

            p.mask.causal = true;
            p.mask.window_left = window;
            p.score.alibi_slopes = window < 0 ? slopes : NULL;
            f = fixture_make(&p);
            for (size_t n = 0; n < attn_kernel_count(); n++)
                for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
                    if (attn_kernel_available(attn_kernel_at(n), ATTN_PASS_DECODE, p.dtype, NULL, 0))
                        check_moves(attn_kernel_at(n), &f, attn_layout_at((n + r) % attn_layout_count()), rows[r]);
            fixture_drop(&f);
        }
}

/* The merge: an empty partial result changes nothing, two of them make one, and any split gives the whole. */
static void test_merge(void)
{
    for (int dtype = ATTN_FLOAT64; dtype <= ATTN_FLOAT32; dtype++) {
        const attn_dtype t = (attn_dtype)dtype;
        const double eps = attn_dtype_epsilon(t), values[2] = {3, -2}, scores[2] = {1.5, 900};
        double o[2] = {0}, lse[2] = {0}, other[2] = {0}, other_lse[2] = {0};

        attn_store(t, o, 0, values[0]);
        attn_store(t, lse, 0, scores[0]);
        attn_store(t, other_lse, 0, -INFINITY);
        attn_merge(t, 1, 1, o, 1, lse, NULL, other, 1, other_lse);
        CU_ASSERT(attn_load(t, o, 0) == values[0] && attn_load(t, lse, 0) == scores[0]);
        attn_merge(t, 1, 1, other, 1, other_lse, NULL, o, 1, lse);
        CU_ASSERT(attn_load(t, other, 0) == values[0] && attn_load(t, other_lse, 0) == scores[0]);
        attn_store(t, other, 0, values[1]);
        attn_merge(t, 1, 1, o, 1, lse, NULL, other, 1, other_lse); /* equal weights */
        TEST_CLOSE(attn_load(t, o, 0), 0.5, eps);
        TEST_CLOSE(attn_load(t, lse, 0), scores[0] + log(2), eps);
        attn_store(t, other_lse, 0, scores[1]); /* all of the weight */
        attn_merge(t, 1, 1, o, 1, lse, NULL, other, 1, other_lse);
        CU_ASSERT(attn_load(t, o, 0) == values[1] && attn_load(t, lse, 0) == scores[1]);
        attn_merge_sink(t, 1, o, lse, scores[1] + log(3));
        TEST_CLOSE(attn_load(t, o, 0), values[1] / 4, 900 * eps);
        TEST_CLOSE(attn_load(t, lse, 0), scores[1] + log(4), eps);
        attn_store(t, o, 0, 0);
        attn_store(t, lse, 0, -INFINITY);
        attn_store(t, other, 0, 0);
        attn_store(t, other_lse, 0, -INFINITY);
        attn_merge(t, 1, 1, o, 1, lse, NULL, other, 1, other_lse);
        CU_ASSERT(attn_load(t, o, 0) == 0 && attn_load(t, lse, 0) == -INFINITY);
        attn_merge_sink(t, 1, o, lse, -7);
        CU_ASSERT(attn_load(t, o, 0) == 0 && attn_load(t, lse, 0) == -7);
    }
}

/* A thousand merges, one after the other: lse is as exact as its type allows when what is lost is carried along, and
 * so are the weights, of which each merge gives 1 / n to the next. */
static void test_many_merges(void)
{
    enum { PARTS = 1000 };
    const double start = 8.3, eps = attn_dtype_epsilon(ATTN_FLOAT32);
    const float part_lse = (float)start, zero = 0, one = 1;
    float o = 1, lse = part_lse, low = 0, plain_o = 1, plain_lse = part_lse;
    double want;

    for (int n = 1; n < PARTS; n++) {
        attn_merge(ATTN_FLOAT32, 1, 1, &o, 1, &lse, &low, n % 2 != 0 ? &zero : &one, 1, &part_lse);
        attn_merge(ATTN_FLOAT32, 1, 1, &plain_o, 1, &plain_lse, NULL, n % 2 != 0 ? &zero : &one, 1, &part_lse);
    }
    want = (double)part_lse + log(PARTS);
    TEST_CLOSE(lse, want, 0.5 * eps); /* relative: half a unit in the last place */
    CU_ASSERT(fabs((double)lse + low - want) < 1e-3 * fabs((double)plain_lse - want)); /* a test that sees it fail */
    TEST_CLOSE(o, 0.5, 20 * eps);
}

static const attn_test tests[] = {
    {"shapes", test_shapes},        {"masks and scores", test_settings}, {"unseen keys", test_unseen_keys},
    {"rows that move", test_moves}, {"the merge", test_merge},           {"many merges", test_many_merges},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "kernel/decode", tests, sizeof tests / sizeof tests[0]);
}
