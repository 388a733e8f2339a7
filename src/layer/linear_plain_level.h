/* One instruction-set level of the plain products. Included once by each linear_plain_*.c, which is compiled with the
 * flags of its level and defines
 *   PLAIN_SYMBOL    name of the table row
 *   PLAIN_NAME      its text
 *   PLAIN_CPU_HAS   the run-time probe
 *   VECTOR_BYTES    width of a vector register
 *   VECTORS         vectors of columns of a register tile
 *   TILE_ROWS       its rows; it has TILE_ROWS times VECTORS sums, as many as the registers hold
 */
#include "core/cpu.h"
#include "core/half.h"
#include "core/unroll.h"
#include "layer/linear_plain.h"

#include <string.h>

static void row_to_float(attn_dtype dtype, float *to, const void *from, int64_t count)
{
    const uint16_t *half = from;

    if (dtype == ATTN_FLOAT32)
        memcpy(to, from, (size_t)count * sizeof *to);
    else if (dtype == ATTN_FLOAT16)
        for (int64_t n = 0; n < count; n++)
            to[n] = attn_float_from_float16(half[n]);
    else
        for (int64_t n = 0; n < count; n++)
            to[n] = attn_float_from_bfloat16(half[n]);
}

static void row_from_float(attn_dtype dtype, void *to, const float *from, int64_t count)
{
    uint16_t *half = to;

    if (dtype == ATTN_FLOAT32)
        memcpy(to, from, (size_t)count * sizeof *from);
    else if (dtype == ATTN_FLOAT16)
        for (int64_t n = 0; n < count; n++)
            half[n] = attn_float16_from_float(from[n]);
    else
        for (int64_t n = 0; n < count; n++)
            half[n] = attn_bfloat16_from_float(from[n]);
}

static void row_to_double(attn_dtype dtype, double *to, const void *from, int64_t count)
{
    (void)dtype;
    memcpy(to, from, (size_t)count * sizeof *to);
}

static void row_from_double(attn_dtype dtype, void *to, const double *from, int64_t count)
{
    (void)dtype;
    memcpy(to, from, (size_t)count * sizeof *from);
}

#define REAL float
#define OWN_DTYPE ATTN_FLOAT32
#define FN(name) name##_float
#define CONVERT_FROM row_to_float
#define CONVERT_TO row_from_float
#include "layer/linear_plain_task.h"
#undef REAL
#undef OWN_DTYPE
#undef FN
#undef CONVERT_FROM
#undef CONVERT_TO

#define REAL double
#define OWN_DTYPE ATTN_FLOAT64
#define FN(name) name##_double
#define CONVERT_FROM row_to_double
#define CONVERT_TO row_from_double
#include "layer/linear_plain_task.h"
#undef REAL
#undef OWN_DTYPE
#undef FN
#undef CONVERT_FROM
#undef CONVERT_TO

static int64_t unit_rows(attn_dtype accumulator)
{
    (void)accumulator;
    return TILE_ROWS;
}

static int64_t unit_columns(attn_dtype accumulator)
{
    return (int64_t)(VECTORS * VECTOR_BYTES / attn_dtype_size(accumulator));
}

static void task(const plain_product *product, int64_t tile, void *scratch)
{
    if (product->a.dtype == ATTN_FLOAT64)
        task_double(product, tile, scratch);
    else
        task_float(product, tile, scratch);
}

static const plain_level level = {unit_rows, unit_columns, task};

static bool computes(attn_dtype dtype)
{
    (void)dtype;
    return PLAIN_CPU_HAS();
}

static attn_status create(attn_linear *linear, attn_error *error)
{
    return attn_linear_plain_create(&level, linear, error);
}

const attn_linear_backend PLAIN_SYMBOL = {
    .name = PLAIN_NAME,
    .computes = computes,
    .create = create,
    .destroy = attn_linear_plain_destroy,
    .forward = attn_linear_plain_forward,
    .backward_data = attn_linear_plain_data,
    .backward_weights = attn_linear_plain_weights,
};
