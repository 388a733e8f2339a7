/* Attention weights on request, from q, k and lse. */
#include "core/checked.h"
#include "kernel/reference.h"

#include <math.h>
#include <stdlib.h>

/* A row of an array in float64. */
static void read_row(const attn_array *from, attn_dtype dtype, int64_t b, int64_t head, int64_t row, int64_t width,
                     double *to)
{
    const int64_t place = b * from->batch_stride + head * from->head_stride + row * from->row_stride;

    attn_convert(ATTN_FLOAT64, to, dtype, (const char *)from->data + (size_t)place * attn_dtype_size(dtype),
                 (size_t)width);
}

/* The weights of one row; buffer [2 D]. */
static void weigh_row(const attn_problem *problem, const attn_array *q, const attn_array *k, double lse, int64_t b,
                      int64_t h, int64_t i, double *buffer, double *p)
{
    const attn_shape *shape = &problem->shape;
    const attn_interval seen = attn_mask_row(&problem->mask, shape, b, i);
    double *const q_row = buffer, *const key = buffer + shape->head_dim;

    read_row(q, problem->dtype, b, h, i, shape->head_dim, q_row);
    for (int64_t j = 0; j < shape->kv_seq; j++) {
        p[j] = 0;
        if (j < seen.lo || j >= seen.hi || lse == -INFINITY)
            continue;
        read_row(k, problem->dtype, b, h / attn_shape_group(shape), j, shape->head_dim, key);
        p[j] = exp(attn_reference_score(problem, q_row, h, i, j, key) - lse);
    }
}

attn_status attn_weights(const attn_problem *problem, const attn_array *q, const attn_array *k, const attn_array *lse,
                         double *p, attn_error *error)
{
    const attn_shape *shape = &problem->shape;
    const int64_t factors[] = {shape->batch, shape->heads, shape->seq, shape->kv_seq};
    int64_t elements;
    double *buffer;

    if (!attn_int64_product(factors, 4, &elements) || elements > ATTN_WEIGHTS_MAX)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "weights of %lld x %lld x %lld x %lld elements: at most %d are computed",
                              (long long)shape->batch, (long long)shape->heads, (long long)shape->seq,
                              (long long)shape->kv_seq, ATTN_WEIGHTS_MAX);
    buffer = attn_calloc_array(2 * shape->head_dim, sizeof *buffer);
    if (buffer == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for two rows of %lld elements",
                              (long long)shape->head_dim);
    for (int64_t b = 0; b < shape->batch; b++)
        for (int64_t h = 0; h < shape->heads; h++)
            for (int64_t i = 0; i < shape->seq; i++) {
                const int64_t place = b * lse->batch_stride + h * lse->head_stride + i * lse->row_stride;

                weigh_row(problem, q, k, attn_load(attn_dtype_accumulator(problem->dtype), lse->data, (size_t)place), b,
                          h, i, buffer, p + ((b * shape->heads + h) * shape->seq + i) * shape->kv_seq);
            }
    free(buffer);
    return ATTN_OK;
}
