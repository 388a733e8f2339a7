#include "dist/partial.h"

#include "kernel/merge.h"

enum { ROWS_OF_A_THREAD = 64 };

static char *row_at(const attn_array *array, size_t element, int64_t b, int64_t h, int64_t row)
{
    return (char *)array->data +
           (size_t)(b * array->batch_stride + h * array->head_stride + row * array->row_stride) * element;
}

static attn_dtype sum_dtype(const attn_partial_rows *of)
{
    return attn_dtype_accumulator(of->plan->problem.dtype);
}

size_t attn_partial_o_bytes(const attn_partial_rows *of)
{
    const attn_shape *shape = &of->plan->problem.shape;

    return (size_t)(shape->batch * of->heads * of->rows * shape->v_head_dim) * attn_dtype_size(sum_dtype(of));
}

size_t attn_partial_lse_bytes(const attn_partial_rows *of)
{
    return (size_t)(of->plan->problem.shape.batch * of->heads * of->rows) * attn_dtype_size(sum_dtype(of));
}

void attn_partial_packed(const attn_partial_rows *of, const void *memory, attn_array *o, attn_array *lse)
{
    *o = attn_array_of_const(memory, of->heads, of->rows, of->plan->problem.shape.v_head_dim);
    *lse = attn_array_of_const((const char *)memory + attn_partial_o_bytes(of), of->heads, of->rows, 1);
}

void attn_partial_merge(const attn_partial_rows *of, const attn_array *o, const attn_array *lse,
                        const attn_array *lse_low, const attn_array *other_o, const attn_array *other_lse)
{
    const attn_dtype dtype = sum_dtype(of);
    const size_t element = attn_dtype_size(dtype);
    const attn_shape *shape = &of->plan->problem.shape;

#pragma omp parallel for collapse(3) schedule(static) num_threads(of->plan->threads)
    for (int64_t b = 0; b < shape->batch; b++)
        for (int64_t h = 0; h < of->heads; h++)
            for (int64_t row = 0; row < of->rows; row += ROWS_OF_A_THREAD) {
                const int64_t left = of->rows - row;

                attn_merge(dtype, left < ROWS_OF_A_THREAD ? left : ROWS_OF_A_THREAD, shape->v_head_dim,
                           row_at(o, element, b, h, row), o->row_stride, row_at(lse, element, b, h, row),
                           lse_low != NULL ? row_at(lse_low, element, b, h, row) : NULL,
                           row_at(other_o, element, b, h, row), other_o->row_stride,
                           row_at(other_lse, element, b, h, row));
            }
}

void attn_partial_finish(const attn_partial_rows *of, const attn_array *o, const attn_array *lse,
                         const attn_array *to_o, const attn_array *to_lse)
{
    const attn_problem *problem = &of->plan->problem;
    const attn_dtype dtype = sum_dtype(of);
    const size_t element = attn_dtype_size(dtype), to_element = attn_dtype_size(problem->dtype);
    const int64_t Dv = problem->shape.v_head_dim;
    const double *const sinks = problem->score.sinks;

    if (sinks == NULL && o->data == to_o->data && lse->data == to_lse->data)
        return;
#pragma omp parallel for collapse(3) schedule(static) num_threads(of->plan->threads)
    for (int64_t b = 0; b < problem->shape.batch; b++)
        for (int64_t h = 0; h < of->heads; h++)
            for (int64_t row = 0; row < of->rows; row++) {
                char *const o_row = row_at(o, element, b, h, row), *const lse_row = row_at(lse, element, b, h, row);
                char *const to_o_row = row_at(to_o, to_element, b, h, row);
                char *const to_lse_row = row_at(to_lse, element, b, h, row);

                if (sinks != NULL)
                    attn_merge_sink(dtype, Dv, o_row, lse_row, sinks[of->head_begin + h]);
                if (to_o_row != o_row)
                    attn_convert(problem->dtype, to_o_row, dtype, o_row, (size_t)Dv);
                if (to_lse_row != lse_row)
                    attn_convert(dtype, to_lse_row, dtype, lse_row, 1);
            }
}

void attn_partial_convert(const attn_plan *plan, int64_t count, attn_dtype to_dtype, void *to, const void *sums)
{
    enum { BLOCK = 4096 };
    const attn_dtype dtype = attn_dtype_accumulator(plan->problem.dtype);
    const size_t element = attn_dtype_size(dtype), to_element = attn_dtype_size(to_dtype);

#pragma omp parallel for schedule(static) num_threads(plan->threads)
    for (int64_t n = 0; n < count; n += BLOCK)
        attn_convert(to_dtype, (char *)to + (size_t)n * to_element, dtype, (const char *)sums + (size_t)n * element,
                     (size_t)(count - n < BLOCK ? count - n : BLOCK));
}

void attn_partial_add(const attn_plan *plan, int64_t bytes, void *to, const void *from)
{
    const attn_dtype dtype = attn_dtype_accumulator(plan->problem.dtype);
    const int64_t count = bytes / (int64_t)attn_dtype_size(dtype);

    if (dtype == ATTN_FLOAT64) {
        double *restrict sums = to;
        const double *restrict share = from;

#pragma omp parallel for simd schedule(static) num_threads(plan->threads)
        for (int64_t n = 0; n < count; n++)
            sums[n] += share[n];
    } else {
        float *restrict sums = to;
        const float *restrict share = from;

#pragma omp parallel for simd schedule(static) num_threads(plan->threads)
        for (int64_t n = 0; n < count; n++)
            sums[n] += share[n];
    }
}
