/* The merge of partial results. Weights are computed in float64 for both types. */
#include "kernel/merge.h"

#include <math.h>
#include <string.h>

/* The weights of two partial results, of which not both are without a key, and their common lse. */
typedef struct merge_weights {
    double a, b, lse;
} merge_weights;

static merge_weights weigh(double lse_a, double lse_b)
{
    const double max = lse_a > lse_b ? lse_a : lse_b; /* a NaN of either reaches the sum */
    const double a = exp(lse_a - max), b = exp(lse_b - max), sum = a + b;

    return (merge_weights){a / sum, b / sum, max + log(sum)};
}

static void add_float(int64_t width, float a, float *restrict o, float b, const float *restrict other)
{
    for (int64_t d = 0; d < width; d++)
        o[d] = a * o[d] + b * other[d];
}

static void add_double(int64_t width, double a, double *restrict o, double b, const double *restrict other)
{
    for (int64_t d = 0; d < width; d++)
        o[d] = a * o[d] + b * other[d];
}

static void merge_row(attn_dtype dtype, int64_t width, char *o, char *lse, char *low, const char *other_o,
                      const char *other_lse)
{
    const double lse_a = attn_load(dtype, lse, 0), lse_b = attn_load(dtype, other_lse, 0);
    merge_weights w;

    if (lse_b == -INFINITY)
        return;
    if (lse_a == -INFINITY) {
        memcpy(o, other_o, (size_t)width * attn_dtype_size(dtype));
        memcpy(lse, other_lse, attn_dtype_size(dtype));
        return;
    }
    w = weigh(low != NULL ? lse_a + attn_load(dtype, low, 0) : lse_a, lse_b);
    if (dtype == ATTN_FLOAT64)
        add_double(width, w.a, (double *)(void *)o, w.b, (const double *)(const void *)other_o);
    else
        add_float(width, (float)w.a, (float *)(void *)o, (float)w.b, (const float *)(const void *)other_o);
    attn_store(dtype, lse, 0, w.lse);
    if (low != NULL)
        attn_store(dtype, low, 0, isfinite(w.lse) ? w.lse - attn_load(dtype, lse, 0) : 0);
}

void attn_merge(attn_dtype dtype, int64_t rows, int64_t width, void *o, int64_t o_stride, void *lse, void *lse_low,
                const void *other_o, int64_t other_stride, const void *other_lse)
{
    const size_t element = attn_dtype_size(dtype);

    for (int64_t r = 0; r < rows; r++)
        merge_row(dtype, width, (char *)o + (size_t)(r * o_stride) * element, (char *)lse + (size_t)r * element,
                  lse_low != NULL ? (char *)lse_low + (size_t)r * element : NULL,
                  (const char *)other_o + (size_t)(r * other_stride) * element,
                  (const char *)other_lse + (size_t)r * element);
}

void attn_merge_sink(attn_dtype dtype, int64_t width, void *o, void *lse, double sink)
{
    const merge_weights w = weigh(attn_load(dtype, lse, 0), sink);

    for (int64_t d = 0; d < width; d++)
        attn_store(dtype, o, (size_t)d, w.a * attn_load(dtype, o, (size_t)d));
    attn_store(dtype, lse, 0, w.lse);
}
