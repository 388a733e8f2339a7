/* The backward pass of every kernel of the table alone. The float64 reference is checked by differences of the exact
 * forward result; it then is what all kernels are compared with: types, masks, settings, odd shapes, parts, threads. */
#include "fixture.h"
#include "harness.h"

#include <attn/kernel.h>
#include <attn/partition.h>
#include <attn/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 3, ARRAYS = 3 };

/* dq, dk and dv in global order, and what they are compared with. */
typedef struct gradients {
    void *of[ARRAYS];
    attn_dtype dtype;
    int64_t count[ARRAYS];
} gradients;

static void drop(gradients *g)
{
    for (int a = 0; a < ARRAYS; a++)
        free(g->of[a]);
}

static void *converted(attn_dtype to, attn_dtype from, const void *array, int64_t count)
{
    void *made = malloc((size_t)count * attn_dtype_size(to) + 1);

    attn_convert(to, made, from, array, (size_t)count);
    return made;
}

/* do: exact in every type, so that all types compute the same. */
static double *make_d_o(const attn_shape *s)
{
    const int64_t count = fixture_elements(s, s->heads, s->seq, s->v_head_dim);
    double *d_o = malloc((size_t)count * sizeof *d_o + 1);

    for (int64_t n = 0; n < count; n++)
        d_o[n] = (double)(n * 37 % 17 - 8) / 8;
    return d_o;
}

static attn_array part_of(const fixture *f, const void *all, int64_t width, const attn_segments *rows)
{
    const attn_shape *s = &f->problem.shape;

    return attn_array_dense(fixture_cut(s, f->problem.dtype, all, s->kv_heads, s->kv_seq, width, 0, s->kv_heads, rows),
                            s->kv_heads, rows->rows, width);
}

/* Puts the rows of a part into the global array. */
static void paste(const attn_shape *s, attn_dtype dtype, const attn_array *part, const attn_segments *rows,
                  int64_t width, void *all)
{
    for (int64_t head = 0; head < s->batch * s->kv_heads; head++)
        for (int64_t r = 0; r < rows->rows; r++)
            memcpy((char *)all +
                       (size_t)((head * s->kv_seq + attn_segments_global(rows, r)) * width) * attn_dtype_size(dtype),
                   (const char *)part->data + (size_t)((head * rows->rows + r) * width) * attn_dtype_size(dtype),
                   (size_t)width * attn_dtype_size(dtype));
}

/* Runs a kernel with keys cut by a layout into parts. */
static gradients run(const attn_kernel *kernel, const fixture *f, const attn_layout *layout, int parts, int threads)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const int64_t zero = 0, rows = fixture_elements(s, s->heads, s->seq, 1);
    gradients out = {.dtype = dtype,
                     .count = {rows * s->head_dim, fixture_elements(s, s->kv_heads, s->kv_seq, s->head_dim),
                               fixture_elements(s, s->kv_heads, s->kv_seq, s->v_head_dim)}};
    double *d_o = make_d_o(s);
    void *o = converted(dtype, ATTN_FLOAT64, f->o, rows * s->v_head_dim);
    void *lse = converted(attn_dtype_accumulator(dtype), ATTN_FLOAT64, f->lse, rows);
    void *d_o_rounded = converted(dtype, ATTN_FLOAT64, d_o, rows * s->v_head_dim);
    attn_segments *all, *cut[PARTS_MAX];
    attn_array k[PARTS_MAX], v[PARTS_MAX], dk[PARTS_MAX], dv[PARTS_MAX];
    attn_backward_setup setup = {.problem = &f->problem,
                                 .head_count = s->heads,
                                 .kv_head_count = s->kv_heads,
                                 .part_count = parts,
                                 .part_rows = (const attn_segments *const *)cut,
                                 .dq_dtype = dtype,
                                 .dkv_dtype = dtype,
                                 .threads = threads};
    attn_backward_buffers buffers = {.q = attn_array_dense(f->q, s->heads, s->seq, s->head_dim),
                                     .o = attn_array_dense(o, s->heads, s->seq, s->v_head_dim),
                                     .d_o = attn_array_dense(d_o_rounded, s->heads, s->seq, s->v_head_dim),
                                     .lse = attn_array_dense(lse, s->heads, s->seq, 1),
                                     .k = k,
                                     .v = v,
                                     .dk = dk,
                                     .dv = dv};
    attn_backward *backward;

    for (int a = 0; a < ARRAYS; a++) { /* NaN, which a gradient that is not written keeps */
        out.of[a] = malloc((size_t)out.count[a] * attn_dtype_size(dtype) + 1);
        memset(out.of[a], 0xff, (size_t)out.count[a] * attn_dtype_size(dtype));
    }
    buffers.dq = attn_array_dense(out.of[0], s->heads, s->seq, s->head_dim);
    TEST_OK(attn_segments_create(1, &zero, &s->seq, &all, &attn_test_error));
    setup.q_rows = all;
    for (int p = 0; p < parts; p++) {
        TEST_OK(attn_layout_rows(layout, s->kv_seq, parts, p, &cut[p], &attn_test_error));
        k[p] = part_of(f, f->k, s->head_dim, cut[p]);
        v[p] = part_of(f, f->v, s->v_head_dim, cut[p]);
        dk[p] = part_of(f, out.of[1], s->head_dim, cut[p]);
        dv[p] = part_of(f, out.of[2], s->v_head_dim, cut[p]);
    }
    TEST_OK(attn_backward_create(kernel, &setup, &backward, &attn_test_error));
    for (int repeat = 0; repeat < 2; repeat++) /* the second finds what the first left */
        attn_backward_execute(backward, &buffers);
    attn_backward_destroy(backward);
    for (int p = 0; p < parts; p++) {
        paste(s, dtype, &dk[p], cut[p], s->head_dim, out.of[1]);
        paste(s, dtype, &dv[p], cut[p], s->v_head_dim, out.of[2]);
        free(k[p].data);
        free(v[p].data);
        free(dk[p].data);
        free(dv[p].data);
        attn_segments_destroy(cut[p]);
    }
    attn_segments_destroy(all);
    free(d_o);
    free(d_o_rounded);
    free(o);
    free(lse);
    return out;
}

/* The exact gradients: the reference in float64 on the same numbers. */
static gradients solve(const fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    fixture wide = *f;
    gradients out;

    wide.problem.dtype = ATTN_FLOAT64;
    wide.q = converted(ATTN_FLOAT64, dtype, f->q, fixture_elements(s, s->heads, s->seq, s->head_dim));
    wide.k = converted(ATTN_FLOAT64, dtype, f->k, fixture_elements(s, s->kv_heads, s->kv_seq, s->head_dim));
    wide.v = converted(ATTN_FLOAT64, dtype, f->v, fixture_elements(s, s->kv_heads, s->kv_seq, s->v_head_dim));
    out = run(attn_kernel_find("reference"), &wide, attn_layout_at(0), 1, 1);
    free(wide.q);
    free(wide.k);
    free(wide.v);
    return out;
}

/* The project's tolerance of gradients. */
static double tolerance(const fixture *f)
{
    const double eps = attn_dtype_epsilon(f->problem.dtype);

    return eps >= attn_dtype_epsilon(ATTN_FLOAT16) ? 8 * eps : 32 * eps * fmax(1, f->max_score);
}

static void compare(const gradients *got, const gradients *want, double accepted)
{
    for (int a = 0; a < ARRAYS; a++)
        for (int64_t n = 0; n < got->count[a]; n++)
            TEST_CLOSE(attn_load(got->dtype, got->of[a], (size_t)n), attn_load(ATTN_FLOAT64, want->of[a], (size_t)n),
                       accepted);
}

static void check_all_kernels(const attn_problem *problem)
{
    fixture f = fixture_make(problem);
    gradients want = solve(&f);

    for (size_t n = 0; n < attn_kernel_count(); n++)
        for (int parts = 1; parts <= PARTS_MAX; parts += 2) {
            const attn_layout *layout = attn_layout_at((n + (size_t)parts) % attn_layout_count());
            gradients got;

            if (!attn_kernel_computes(attn_kernel_at(n), ATTN_PASS_BACKWARD, problem, NULL, 0))
                continue;
            got = run(attn_kernel_at(n), &f, layout, parts, parts == 1 ? 3 : 1);
            compare(&got, &want, tolerance(&f));
            drop(&got);
        }
    drop(&want);
    fixture_drop(&f);
}

static double loss(fixture *f, const double *d_o)
{
    const attn_shape *s = &f->problem.shape;
    double sum = 0;

    fixture_solve(f);
    for (int64_t n = 0; n < fixture_elements(s, s->heads, s->seq, s->v_head_dim); n++)
        sum += d_o[n] * f->o[n];
    return sum;
}

/* d loss / d x from differences of the exact forward result, for all of q, k and v. */
static void check_differences(double dropout)
{
    static const double sinks[] = {0.5, -1, 2, 0}, slopes[] = {0.5, 0.25, 0.1, 0.05}, step = 1e-5;
    attn_problem p = PROBLEM(1, 4, 2, 7, 9, 5, 3, ATTN_FLOAT64);
    fixture f;
    gradients exact;
    double *d_o, *inputs[ARRAYS];

    p.mask.causal = true;
    p.mask.window_left = 5;
    p.dropout = dropout;
    p.dropout_seed = 4;
    p.score = (attn_score){.scale = 0.7, .softcap = 1.5, .alibi_slopes = slopes, .sinks = sinks};
    f = fixture_make(&p);
    d_o = make_d_o(&p.shape);
    exact = solve(&f);
    inputs[0] = f.q, inputs[1] = f.k, inputs[2] = f.v;
    for (int a = 0; a < ARRAYS; a++)
        for (int64_t n = 0; n < exact.count[a]; n++) {
            const double x = inputs[a][n];
            double after, before;

            inputs[a][n] = x + step;
            after = loss(&f, d_o);
            inputs[a][n] = x - step;
            before = loss(&f, d_o);
            inputs[a][n] = x;
            TEST_CLOSE(((const double *)exact.of[a])[n], (after - before) / (2 * step), 1e-8);
        }
    free(d_o);
    drop(&exact);
    fixture_drop(&f);
}

static void test_differences(void)
{
    check_differences(0);
}

static void test_differences_with_dropout(void)
{
    check_differences(0.3);
}

/* Odd shapes, masks and scores with dropout. */
static void test_dropout(void)
{
    static const int64_t shapes[][7] = {
        {1, 2, 1, 7, 5, 3, 2}, {2, 4, 2, 33, 65, 17, 40}, {1, 6, 2, 31, 257, 128, 33}, {1, 3, 3, 140, 200, 64, 64}};
    static const double probabilities[] = {1e-7, 0.1, 0.5};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
            const int64_t *s = shapes[n];
            attn_problem p = PROBLEM(s[0], s[1], s[2], s[3], s[4], s[5], s[6], (attn_dtype)dtype);

            p.dropout = probabilities[(n + (size_t)dtype) % 3];
            p.dropout_seed = UINT64_MAX - n;
            check_all_kernels(&p);
            p.mask.causal = true;
            check_all_kernels(&p);
        }
}

/* Keys of a part with gaps between them: each kernel with each layout. */
static void test_dropout_in_every_layout(void)
{
    static const attn_dtype types[] = {ATTN_FLOAT64, ATTN_FLOAT32};

    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        attn_problem p = PROBLEM(1, 2, 1, 50, 301, 16, 8, types[t]);
        fixture f;
        gradients want;

        p.dropout = 0.3;
        f = fixture_make(&p);
        want = solve(&f);
        for (size_t n = 0; n < attn_kernel_count(); n++)
            for (size_t l = 0; l < attn_layout_count(); l++) {
                gradients got;

                if (!attn_kernel_computes(attn_kernel_at(n), ATTN_PASS_BACKWARD, &p, NULL, 0))
                    continue;
                got = run(attn_kernel_at(n), &f, attn_layout_at(l), PARTS_MAX, 1);
                compare(&got, &want, tolerance(&f));
                drop(&got);
            }
        drop(&want);
        fixture_drop(&f);
    }
}

static void test_dropout_with_masks_and_scores(void)
{
    static const int64_t kv_len[] = {0, 101}, cu_seqlens[] = {0, 40, 40, 150, 210};
    static const double sinks[] = {0.5, -3}, slopes[] = {0.5, 0.25};
    const attn_mask masks[] = {
        {.window_left = 30, .window_right = 0},
        {.window_left = -1, .window_right = -1, .kv_len = kv_len},
        {.causal = true, .window_left = -1, .window_right = -1, .cu_seqlens = cu_seqlens, .documents = 4}};
    const attn_score scores[] = {{.scale = 1, .softcap = 3},
                                 {.scale = 0.3, .alibi_slopes = slopes, .sinks = sinks},
                                 {.scale = 2, .softcap = 2, .alibi_slopes = slopes, .sinks = sinks}};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < 3; n++) {
            attn_problem p = PROBLEM(2, 2, 1, 210, 210, 9, 12, (attn_dtype)dtype);

            p.dropout = 0.2;
            p.mask = masks[n];
            p.score = scores[n];
            check_all_kernels(&p);
        }
}

static void test_odd_shapes(void)
{
    static const int64_t shapes[][7] = {{1, 1, 1, 1, 1, 1, 1},
                                        {1, 2, 1, 7, 5, 3, 2},
                                        {2, 4, 2, 33, 65, 17, 40},
                                        {1, 6, 2, 31, 257, 128, 33},
                                        {1, 3, 3, 140, 200, 64, 64}};

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

/* Windows, padding, documents; rows and keys that see nothing. */
static void test_masks(void)
{
    static const int64_t kv_len[] = {0, 101}, cu_seqlens[] = {0, 40, 40, 150, 210};
    const attn_mask masks[] = {
        {.window_left = 30, .window_right = 0},
        {.causal = true, .window_left = 3, .window_right = -1},
        {.window_left = 10, .window_right = 20},
        {.window_left = -1, .window_right = -1, .kv_len = kv_len},
        {.causal = true, .window_left = -1, .window_right = -1, .cu_seqlens = cu_seqlens, .documents = 4},
        {.window_left = 25, .window_right = 5, .kv_len = kv_len, .cu_seqlens = cu_seqlens, .documents = 4}};
    static const attn_dtype types[] = {ATTN_FLOAT64, ATTN_FLOAT32, ATTN_BFLOAT16};

    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        for (size_t n = 0; n < sizeof masks / sizeof masks[0]; n++) {
            attn_problem p = PROBLEM(2, 2, 1, 210, 210, 9, 12, types[t]);

            p.mask = masks[n];
            check_all_kernels(&p);
        }
}

/* Fewer keys than rows: the first rows of a causal mask see none. */
static void test_rows_without_keys(void)
{
    attn_problem p = PROBLEM(1, 2, 2, 90, 20, 16, 16, ATTN_FLOAT32);

    p.mask.causal = true;
    check_all_kernels(&p);
}

static void test_scores(void)
{
    static const double sinks[] = {0.5, -3, 8, 0}, slopes[] = {0.5, 0.25, 0.125, 0.0625};
    const attn_score scores[] = {{.scale = -0.4},
                                 {.scale = 0},
                                 {.scale = 1, .softcap = 3},
                                 {.scale = 0.3, .alibi_slopes = slopes},
                                 {.scale = 0.3, .sinks = sinks},
                                 {.scale = 2, .softcap = 2, .alibi_slopes = slopes, .sinks = sinks}};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
        for (size_t n = 0; n < sizeof scores / sizeof scores[0]; n++) {
            attn_problem p = PROBLEM(1, 4, 2, 50, 70, 24, 16, (attn_dtype)dtype);

            p.score = scores[n];
            p.mask.causal = n % 2 == 0;
            check_all_kernels(&p);
        }
}

/* Scores of a few units from products far above them: q . k must not overflow on the way. */
static void test_extreme_scales(void)
{
    static const double scales[] = {1e-40, -1e-40};

    for (size_t n = 0; n < sizeof scales / sizeof scales[0]; n++) {
        attn_problem p = PROBLEM(1, 1, 1, 40, 150, 24, 16, ATTN_FLOAT32);
        const double factor = sqrt(1 / fabs(scales[n]));
        fixture f;
        gradients want;

        p.score.scale = scales[n];
        f = fixture_make(&p);
        for (size_t e = 0; e < 40 * 24; e++)
            attn_store(p.dtype, f.q, e, factor * attn_load(p.dtype, f.q, e));
        for (size_t e = 0; e < 150 * 24; e++)
            attn_store(p.dtype, f.k, e, factor * attn_load(p.dtype, f.k, e));
        fixture_solve(&f);
        want = solve(&f);
        for (size_t m = 0; m < attn_kernel_count(); m++) {
            gradients got;

            if (!attn_kernel_available(attn_kernel_at(m), ATTN_PASS_BACKWARD, p.dtype, NULL, 0))
                continue;
            got = run(attn_kernel_at(m), &f, attn_layout_at(0), 1, 1);
            compare(&got, &want, tolerance(&f));
            drop(&got);
        }
        drop(&want);
        fixture_drop(&f);
    }
}

/* The same bits with 1 and 3 threads and with every repetition, in 32 and 16 bits; several units and one. */
static void test_threads_do_not_matter(void)
{
    static const attn_dtype types[] = {ATTN_FLOAT32, ATTN_BFLOAT16};

    for (int kind = 0; kind < 4; kind++) {
        attn_problem p = PROBLEM(1, 6, 3, 500, 600, 40, 24, types[kind % 2]);
        fixture f;

        if (kind < 2)
            p.shape.heads = p.shape.kv_heads = 1;
        p.mask.causal = true;
        f = fixture_make(&p);
        for (size_t n = 0; n < attn_kernel_count(); n++) {
            gradients one, three;

            if (!attn_kernel_available(attn_kernel_at(n), ATTN_PASS_BACKWARD, p.dtype, NULL, 0))
                continue;
            one = run(attn_kernel_at(n), &f, attn_layout_at(0), 1, 1);
            three = run(attn_kernel_at(n), &f, attn_layout_at(0), 1, 3);
            for (int a = 0; a < ARRAYS; a++)
                CU_ASSERT_EQUAL(memcmp(one.of[a], three.of[a], (size_t)one.count[a] * attn_dtype_size(p.dtype)), 0);
            drop(&one);
            drop(&three);
        }
        fixture_drop(&f);
    }
}

/* Beyond the scratch of the threads only numbers of rows and tasks: nothing of the size of S x S. */
static void test_bytes(void)
{
    const int64_t zero = 0, seq = 16384;
    attn_segments *rows;

    TEST_OK(attn_segments_create(1, &zero, &seq, &rows, &attn_test_error));
    for (size_t n = 0; n < 2 * attn_kernel_count(); n++)
        for (int64_t D = 64; D <= 256; D *= 2) {
            const attn_kernel *kernel = attn_kernel_at(n / 2);
            const attn_problem p = PROBLEM(1, 1, 1, seq, seq, D, D, n % 2 == 0 ? ATTN_FLOAT32 : ATTN_BFLOAT16);
            const attn_segments *const parts[] = {rows};
            const attn_backward_setup setup = {.problem = &p,
                                               .head_count = 1,
                                               .kv_head_count = 1,
                                               .q_rows = rows,
                                               .part_count = 1,
                                               .part_rows = parts,
                                               .dq_dtype = ATTN_FLOAT32,
                                               .dkv_dtype = ATTN_FLOAT32,
                                               .threads = 1};
            attn_backward *backward;

            if (!attn_kernel_available(kernel, ATTN_PASS_BACKWARD, p.dtype, NULL, 0))
                continue;
            TEST_OK(attn_backward_create(kernel, &setup, &backward, &attn_test_error));
            CU_ASSERT(attn_backward_bytes(backward) < (size_t)2 << 20);
            attn_backward_destroy(backward);
        }
    attn_segments_destroy(rows);
}

/* Query rows of two segments, as a rank has them in a zigzag layout, against all keys. */
static void *run_segments(const attn_kernel *kernel, const fixture *f, const attn_segments *q_rows,
                          const attn_segments *kv_rows)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t rows = fixture_elements(s, s->heads, q_rows->rows, 1), keys = s->kv_seq;
    const attn_dtype dtype = f->problem.dtype;
    double *d_o = make_d_o(s);
    void *cut_d_o = converted(dtype, ATTN_FLOAT64, d_o, rows * s->v_head_dim);
    void *o = calloc((size_t)(rows * s->v_head_dim), attn_dtype_size(dtype));
    float *lse = calloc((size_t)rows, sizeof *lse);
    void *dq = malloc((size_t)(rows * s->head_dim) * sizeof(float));
    void *dk_data = malloc((size_t)(s->kv_heads * keys * s->head_dim) * sizeof(float));
    void *dv_data = malloc((size_t)(s->kv_heads * keys * s->v_head_dim) * sizeof(float));
    const attn_array k = attn_array_dense(f->k, s->kv_heads, keys, s->head_dim);
    const attn_array v = attn_array_dense(f->v, s->kv_heads, keys, s->v_head_dim);
    const attn_array dk = attn_array_dense(dk_data, s->kv_heads, keys, s->head_dim);
    const attn_array dv = attn_array_dense(dv_data, s->kv_heads, keys, s->v_head_dim);
    const attn_segments *const parts[] = {kv_rows};
    const attn_backward_setup setup = {.problem = &f->problem,
                                       .head_count = s->heads,
                                       .kv_head_count = s->kv_heads,
                                       .q_rows = q_rows,
                                       .part_count = 1,
                                       .part_rows = parts,
                                       .dq_dtype = ATTN_FLOAT32,
                                       .dkv_dtype = ATTN_FLOAT32,
                                       .threads = 1};
    const attn_backward_buffers buffers = {.q = attn_array_dense(f->q, s->heads, q_rows->rows, s->head_dim),
                                           .o = attn_array_dense(o, s->heads, q_rows->rows, s->v_head_dim),
                                           .d_o = attn_array_dense(cut_d_o, s->heads, q_rows->rows, s->v_head_dim),
                                           .lse = attn_array_dense(lse, s->heads, q_rows->rows, 1),
                                           .k = &k,
                                           .v = &v,
                                           .dq = attn_array_dense(dq, s->heads, q_rows->rows, s->head_dim),
                                           .dk = &dk,
                                           .dv = &dv};
    attn_backward *backward;

    for (int64_t r = 0; r < rows; r++)
        lse[r] = 3;
    TEST_OK(attn_backward_create(kernel, &setup, &backward, &attn_test_error));
    for (int repeat = 0; repeat < 2; repeat++) /* the second finds what the first left in its scratch */
        attn_backward_execute(backward, &buffers);
    attn_backward_destroy(backward);
    free(d_o);
    free(cut_d_o);
    free(o);
    free(lse);
    free(dk_data);
    free(dv_data);
    return dq;
}

/* A window and a gap: in one block, keys between those of neighbouring rows that neither sees. */
static void test_gap_between_rows(void)
{
    static const int64_t begins[] = {0, 160}, lengths[] = {43, 417}, zero = 0, keys = 1000;
    static const attn_dtype types[] = {ATTN_FLOAT32, ATTN_BFLOAT16};
    attn_segments *q_rows, *kv_rows;

    TEST_OK(attn_segments_create(2, begins, lengths, &q_rows, &attn_test_error));
    TEST_OK(attn_segments_create(1, &zero, &keys, &kv_rows, &attn_test_error));
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        attn_problem p = PROBLEM(1, 2, 1, keys, keys, 64, 64, types[t]);
        const size_t count = (size_t)(2 * q_rows->rows * 64);
        fixture f;
        float *want;

        p.mask.causal = true;
        p.mask.window_left = 10;
        p.score.scale = 0.125;
        f = fixture_make(&p);
        want = run_segments(attn_kernel_find("reference"), &f, q_rows, kv_rows);
        for (size_t n = 0; n < attn_kernel_count(); n++) {
            float *got;

            if (!attn_kernel_available(attn_kernel_at(n), ATTN_PASS_BACKWARD, p.dtype, NULL, 0))
                continue;
            got = run_segments(attn_kernel_at(n), &f, q_rows, kv_rows);
            for (size_t e = 0; e < count; e++)
                TEST_CLOSE((double)got[e], (double)want[e], tolerance(&f));
            free(got);
        }
        free(want);
        fixture_drop(&f);
    }
    attn_segments_destroy(q_rows);
    attn_segments_destroy(kv_rows);
}

static const attn_test tests[] = {
    {"the reference against differences", test_differences},
    {"the same with dropout", test_differences_with_dropout},
    {"dropout", test_dropout},
    {"dropout in every layout", test_dropout_in_every_layout},
    {"dropout with masks and scores", test_dropout_with_masks_and_scores},
    {"odd shapes in every type", test_odd_shapes},
    {"masks", test_masks},
    {"rows without keys", test_rows_without_keys},
    {"scale, softcap, ALiBi, sinks", test_scores},
    {"extreme scales", test_extreme_scales},
    {"the number of threads does not matter", test_threads_do_not_matter},
    {"a gap between the query rows", test_gap_between_rows},
    {"scratch memory", test_bytes},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "kernel/backward", tests, sizeof tests / sizeof tests[0]);
}
