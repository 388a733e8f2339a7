#include "pass.h"

#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

pass pass_make(const fixture *f, attn_dist *dist)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const attn_part *part = attn_dist_part(dist);
    pass run = {.dist = dist};
    size_t o_bytes, lse_bytes;

    run.q =
        fixture_cut(s, dtype, f->q, s->heads, s->seq, s->head_dim, part->head_begin, part->head_count, part->q_rows);
    run.k = fixture_cut(s, dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, part->kv_head_begin, part->kv_head_count,
                        part->kv_rows);
    run.v = fixture_cut(s, dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, part->kv_head_begin, part->kv_head_count,
                        part->kv_rows);
    o_bytes = (size_t)fixture_elements(s, attn_dist_output_heads(dist), part->q_rows->rows, s->v_head_dim) *
              attn_dtype_size(dtype);
    lse_bytes = (size_t)fixture_elements(s, part->head_count, part->q_rows->rows, 1) *
                attn_dtype_size(attn_dtype_accumulator(dtype));
    run.buffers =
        (attn_dist_buffers){.q = run.q, .k = run.k, .v = run.v, .o = malloc(o_bytes + 1), .lse = malloc(lse_bytes + 1)};
    memset(run.buffers.o, 0xff, o_bytes);
    memset(run.buffers.lse, 0xff, lse_bytes);
    return run;
}

void pass_forward(pass *run)
{
    double seconds[ATTN_PHASE_COUNT], sum = 0;

    TEST_OK(attn_dist_forward(run->dist, &run->buffers, seconds, &attn_test_error));
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
        CU_ASSERT(seconds[phase] >= 0);
        sum += phase == ATTN_PHASE_TOTAL ? 0 : seconds[phase];
    }
    TEST_CLOSE(sum, seconds[ATTN_PHASE_TOTAL], 1e-9); /* the phases leave nothing out */
}

/* Sees a number of a result beside the exact one. */
typedef void visit_number(double got, double want, double tolerance, void *context);

static void visit_forward(const fixture *f, const pass *run, visit_number *visit, void *context)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(run->dist);
    const int64_t rows = part->q_rows->rows, heads = attn_dist_output_heads(run->dist);
    const int64_t head_begin = attn_dist_output_head_begin(run->dist);
    const attn_dtype sum_dtype = attn_dtype_accumulator(f->problem.dtype);

    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t r = 0; r < rows; r++) {
                const int64_t at = (b * s->heads + head_begin + h) * s->seq + attn_segments_global(part->q_rows, r);

                for (int64_t d = 0; d < s->v_head_dim; d++)
                    visit(attn_load(f->problem.dtype, run->buffers.o,
                                    (size_t)(((b * heads + h) * rows + r) * s->v_head_dim + d)),
                          f->o[at * s->v_head_dim + d], fixture_tolerance(f), context);
            }
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < part->head_count; h++)
            for (int64_t r = 0; r < rows; r++)
                visit(attn_load(sum_dtype, run->buffers.lse, (size_t)((b * part->head_count + h) * rows + r)),
                      f->lse[(b * s->heads + part->head_begin + h) * s->seq + attn_segments_global(part->q_rows, r)],
                      fixture_tolerance(f), context);
}

static void compare_number(double got, double want, double tolerance, void *context)
{
    (void)context;
    TEST_CLOSE(got, want, tolerance);
}

void pass_compare(const fixture *f, const pass *run)
{
    visit_forward(f, run, compare_number, NULL);
}

static void largest_error(double got, double want, double tolerance, void *context)
{
    double *most = context;

    *most = fmax(*most, attn_check_error(got, want) / tolerance);
}

double pass_error(const fixture *f, const pass *run)
{
    double most = 0;

    visit_forward(f, run, largest_error, &most);
    return most;
}

static void *make_gradient(int64_t count, attn_dtype dtype)
{
    void *made = malloc((size_t)count * attn_dtype_size(dtype) + 1);

    memset(made, 0xff, (size_t)count * attn_dtype_size(dtype)); /* NaN */
    return made;
}

void pass_backward(const fixture *f, pass *run)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const attn_part *part = attn_dist_part(run->dist);
    const int64_t rows = part->q_rows->rows, kv_rows = part->kv_rows->rows;
    double seconds[ATTN_PHASE_COUNT];

    if (run->d_o == NULL) {
        run->d_o = fixture_cut(s, dtype, f->d_o, s->heads, s->seq, s->v_head_dim, part->head_begin, part->head_count,
                               part->q_rows);
        run->backward = (attn_dist_backward_buffers){
            .q = run->q,
            .k = run->k,
            .v = run->v,
            .o = run->buffers.o,
            .lse = run->buffers.lse,
            .d_o = run->d_o,
            .dq = make_gradient(fixture_elements(s, part->head_count, rows, s->head_dim), dtype),
            .dk = make_gradient(fixture_elements(s, part->kv_head_count, kv_rows, s->head_dim), dtype),
            .dv = make_gradient(fixture_elements(s, part->kv_head_count, kv_rows, s->v_head_dim), dtype)};
    }
    TEST_OK(attn_dist_backward(run->dist, &run->backward, seconds, &attn_test_error));
}

/* One gradient: some heads and rows of an exact [B,heads,seq,width] array. */
typedef struct gradient {
    const double *want;
    const void *got;
    int64_t heads, seq, width, head_begin, head_count;
    const attn_segments *rows;
} gradient;

static double gradient_error(const fixture *f, const gradient *of)
{
    const attn_dtype dtype = f->problem.dtype;
    const double tolerance =
        attn_dtype_size(dtype) == 2 ? INFINITY : attn_tolerance_backward(attn_dtype_epsilon(dtype), f->max_score);
    double most = 0;
    size_t n = 0;

    for (int64_t b = 0; b < f->problem.shape.batch; b++)
        for (int64_t h = 0; h < of->head_count; h++)
            for (int64_t r = 0; r < of->rows->rows; r++)
                for (int64_t d = 0; d < of->width; d++, n++) {
                    const int64_t row =
                        (b * of->heads + of->head_begin + h) * of->seq + attn_segments_global(of->rows, r);
                    const double error = attn_check_error(attn_load(dtype, of->got, n), of->want[row * of->width + d]);

                    most = fmax(most, isinf(error) ? error : error / tolerance);
                }
    return most;
}

double pass_gradient_error(const fixture *f, const pass *run)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(run->dist);
    const gradient dq = {f->dq,       run->backward.dq, s->heads,         s->seq,
                         s->head_dim, part->head_begin, part->head_count, part->q_rows};
    const gradient dk = {f->dk,       run->backward.dk,    s->kv_heads,         s->kv_seq,
                         s->head_dim, part->kv_head_begin, part->kv_head_count, part->kv_rows};
    gradient dv = dk;

    dv.want = f->dv;
    dv.got = run->backward.dv;
    dv.width = s->v_head_dim;
    return fmax(gradient_error(f, &dq), fmax(gradient_error(f, &dk), gradient_error(f, &dv)));
}

bool pass_same(const fixture *f, const pass *a, const pass *b)
{
    const attn_shape *s = &f->problem.shape;
    const attn_part *part = attn_dist_part(a->dist);
    const int64_t rows = part->q_rows->rows, kv_rows = part->kv_rows->rows;
    const size_t element = attn_dtype_size(f->problem.dtype);
    const size_t sum_element = attn_dtype_size(attn_dtype_accumulator(f->problem.dtype));
    const struct {
        const void *a, *b;
        int64_t heads, rows, width;
        size_t element;
    } arrays[] = {{a->buffers.o, b->buffers.o, attn_dist_output_heads(a->dist), rows, s->v_head_dim, element},
                  {a->buffers.lse, b->buffers.lse, part->head_count, rows, 1, sum_element},
                  {a->backward.dq, b->backward.dq, part->head_count, rows, s->head_dim, element},
                  {a->backward.dk, b->backward.dk, part->kv_head_count, kv_rows, s->head_dim, element},
                  {a->backward.dv, b->backward.dv, part->kv_head_count, kv_rows, s->v_head_dim, element}};

    for (size_t n = 0; n < sizeof arrays / sizeof arrays[0]; n++) {
        const size_t count = (size_t)fixture_elements(s, arrays[n].heads, arrays[n].rows, arrays[n].width);

        if (arrays[n].a != NULL && memcmp(arrays[n].a, arrays[n].b, count * arrays[n].element) != 0)
            return false;
    }
    return true;
}

void pass_finish(pass *run)
{
    attn_dist_destroy(run->dist);
    free(run->q);
    free(run->k);
    free(run->v);
    free(run->buffers.o);
    free(run->buffers.lse);
    free(run->d_o);
    free(run->backward.dq);
    free(run->backward.dk);
    free(run->backward.dv);
}
