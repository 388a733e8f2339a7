/* A paged cache of keys and values, in any order of pages, against the same keys in one piece: bit for bit. */
#include "fixture.h"
#include "harness.h"

#include <attn/kernel.h>

#include <stdlib.h>
#include <string.h>

/* Keys or values as a pool of pages, and the table that leads to them. */
typedef struct paged {
    attn_array pool;
    int32_t *table; /* [B][pages] */
    int64_t pages;  /* of a sequence */
} paged;

/* Pages of all batches in an order that is none: multiplied by 7, modulo a count that 7 does not divide. Rows beyond
 * the keys, and pages that belong to nobody, are all ones: NaN. */
static paged make_paged(const fixture *f, const char *from, int64_t width, int64_t page_rows)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t pages = (s->kv_seq + page_rows - 1) / page_rows, used = s->batch * pages;
    const int64_t all = used % 7 == 0 ? used + 1 : used;
    const size_t row = attn_dtype_size(f->problem.dtype) * (size_t)width;
    const size_t bytes = (size_t)(all * s->kv_heads * page_rows) * row;
    char *pool = malloc(bytes);
    paged out = {.pool = attn_array_dense(pool, s->kv_heads, page_rows, width),
                 .table = malloc((size_t)used * sizeof *out.table),
                 .pages = pages};

    memset(pool, 0xff, bytes);
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t j = 0; j < s->kv_seq; j++) {
            const int64_t n = b * pages + j / page_rows, page = n * 7 % all;

            out.table[n] = (int32_t)page;
            for (int64_t h = 0; h < s->kv_heads; h++)
                memcpy(pool + (size_t)((page * s->kv_heads + h) * page_rows + j % page_rows) * row,
                       from + (size_t)((b * s->kv_heads + h) * s->kv_seq + j) * row, row);
        }
    return out;
}

/* o and lse of a fixture, from one piece (page_rows 0) or from pages. */
typedef struct outcome {
    char *bytes;
    size_t count;
} outcome;

static outcome run(const attn_kernel *kernel, const fixture *f, int64_t page_rows, attn_status expected)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t zero = 0, rows = fixture_elements(s, s->heads, s->seq, 1);
    const size_t o_bytes = (size_t)(rows * s->v_head_dim) * attn_dtype_size(f->problem.dtype);
    const size_t lse_bytes = (size_t)rows * attn_dtype_size(attn_dtype_accumulator(f->problem.dtype));
    outcome out = {.bytes = calloc(1, o_bytes + lse_bytes + 64), .count = o_bytes + lse_bytes};
    const paged k = page_rows > 0 ? make_paged(f, f->k, s->head_dim, page_rows) : (paged){.table = NULL};
    const paged v = page_rows > 0 ? make_paged(f, f->v, s->v_head_dim, page_rows) : (paged){.table = NULL};
    const attn_page_table table = {.page = k.table, .stride = k.pages};
    const attn_array k_all = attn_array_dense(f->k, s->kv_heads, s->kv_seq, s->head_dim);
    const attn_array v_all = attn_array_dense(f->v, s->kv_heads, s->kv_seq, s->v_head_dim);
    const attn_forward_buffers buffers = {.q = attn_array_dense(f->q, s->heads, s->seq, s->head_dim),
                                          .k = page_rows > 0 ? &k.pool : &k_all,
                                          .v = page_rows > 0 ? &v.pool : &v_all,
                                          .o = attn_array_dense(out.bytes + lse_bytes, s->heads, s->seq, s->v_head_dim),
                                          .lse = attn_array_dense(out.bytes, s->heads, s->seq, 1),
                                          .pages = page_rows > 0 ? &table : NULL};
    attn_segments *q_rows, *kv_rows;
    attn_forward_setup setup = {.problem = &f->problem,
                                .head_count = s->heads,
                                .part_count = 1,
                                .o_dtype = f->problem.dtype,
                                .add_sinks = true,
                                .threads = 2,
                                .page_rows = page_rows};
    attn_forward *forward;

    TEST_OK(attn_segments_create(1, &zero, &s->seq, &q_rows, &attn_test_error));
    TEST_OK(attn_segments_create(1, &zero, &s->kv_seq, &kv_rows, &attn_test_error));
    setup.q_rows = q_rows;
    setup.part_rows = (const attn_segments *const[]){kv_rows};
    CU_ASSERT_EQUAL(attn_forward_create(kernel, &setup, &forward, &attn_test_error), expected);
    if (forward != NULL)
        attn_forward_execute(forward, &buffers);
    attn_forward_destroy(forward);
    attn_segments_destroy(q_rows);
    attn_segments_destroy(kv_rows);
    free(k.pool.data);
    free(k.table);
    free(v.pool.data);
    free(v.table);
    return out;
}

/* Whether a kernel reads pages for this problem; the reference does not. */
static bool reads_pages(const attn_kernel *kernel, const fixture *f)
{
    const attn_shape *s = &f->problem.shape;
    const int64_t zero = 0;
    attn_segments *rows;
    attn_forward_setup setup = {
        .problem = &f->problem, .head_count = s->heads, .o_dtype = f->problem.dtype, .threads = 1, .page_rows = 16};
    attn_forward *forward;
    attn_status status;

    TEST_OK(attn_segments_create(1, &zero, &s->seq, &rows, &attn_test_error));
    setup.q_rows = rows;
    status = attn_forward_create(kernel, &setup, &forward, &attn_test_error);
    attn_forward_destroy(forward);
    attn_segments_destroy(rows);
    CU_ASSERT(status == ATTN_OK || status == ATTN_UNSUPPORTED);
    return status == ATTN_OK;
}

static void check(const attn_problem *problem)
{
    static const int64_t page_rows[] = {16, 1, 5, 64, 256, 1000};
    fixture f = fixture_make(problem);
    int kernels = 0;

    for (size_t n = 0; n < attn_kernel_count(); n++) {
        const attn_kernel *kernel = attn_kernel_at(n);
        outcome whole;

        if (!attn_kernel_available(kernel, ATTN_PASS_FORWARD, problem->dtype, NULL, 0) || !reads_pages(kernel, &f))
            continue;
        kernels++;
        whole = run(kernel, &f, 0, ATTN_OK);
        for (size_t p = 0; p < sizeof page_rows / sizeof page_rows[0]; p++) {
            outcome pages = run(kernel, &f, page_rows[p], ATTN_OK);

            CU_ASSERT(memcmp(pages.bytes, whole.bytes, whole.count) == 0);
            free(pages.bytes);
        }
        free(whole.bytes);
    }
    CU_ASSERT(kernels > 0);
    fixture_drop(&f);
}

static void test_decode(void)
{
    static const int64_t kv_len[] = {700, 333};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem p = PROBLEM(2, 4, 2, 3, 700, 20, 12, (attn_dtype)dtype);

        check(&p);
        p.mask.causal = true;
        p.mask.kv_len = kv_len;
        check(&p);
    }
}

static void test_forward(void)
{
    static const int64_t kv_len[] = {290, 77};

    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem p = PROBLEM(2, 4, 2, 50, 290, 20, 12, (attn_dtype)dtype);

        check(&p);
        p.mask.causal = true;
        p.mask.kv_len = kv_len;
        check(&p);
    }
}

/* Pages of a negative size, and a kernel that does not read them. */
static void test_refusals(void)
{
    const attn_problem p = PROBLEM(1, 1, 1, 2, 40, 8, 8, ATTN_FLOAT32);
    fixture f = fixture_make(&p);

    free(run(attn_kernel_find("portable"), &f, -1, ATTN_ARGUMENT).bytes);
    CU_ASSERT(!reads_pages(attn_kernel_find("reference"), &f));
    CU_ASSERT(reads_pages(attn_kernel_find("portable"), &f));
    fixture_drop(&f);
}

static const attn_test tests[] = {
    {"decode from pages", test_decode},
    {"forward from pages", test_forward},
    {"refusals", test_refusals},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "kernel/pages", tests, sizeof tests / sizeof tests[0]);
}
