/* Sums of columns. A task has some columns, a cache line or more of each row; it sums some rows at a time, so that the
 * error grows with the root of their number at most. */
#include "layer/linear_sums.h"

#include "core/half.h"

#include <string.h>

enum { SUM_COLUMNS = 64, SUM_ROWS = 128 };

/* SUM(name, sum type, element type, expression in x): one loop for each type, small enough to vectorise. */
#define SUM(name, sum_type, element, expression)                                                                       \
    static void name(const void *from, int64_t rows, int columns, int64_t stride, void *sums)                          \
    {                                                                                                                  \
        sum_type all[SUM_COLUMNS] = {0};                                                                               \
                                                                                                                       \
        for (int64_t begin = 0; begin < rows; begin += SUM_ROWS) {                                                     \
            const int64_t end = rows - begin < SUM_ROWS ? rows : begin + SUM_ROWS;                                     \
            sum_type some[SUM_COLUMNS] = {0};                                                                          \
                                                                                                                       \
            for (int64_t i = begin; i < end; i++) {                                                                    \
                const element *const row = (const element *)from + i * stride;                                         \
                                                                                                                       \
                for (int j = 0; j < columns; j++) {                                                                    \
                    const element x = row[j];                                                                          \
                    some[j] += (expression);                                                                           \
                }                                                                                                      \
            }                                                                                                          \
            for (int j = 0; j < SUM_COLUMNS; j++)                                                                      \
                all[j] += some[j];                                                                                     \
        }                                                                                                              \
        memcpy(sums, all, (size_t)columns * sizeof all[0]);                                                            \
    }

SUM(sum_float64, double, double, x)
SUM(sum_float32, float, float, x)
SUM(sum_float16, float, uint16_t, attn_float_from_float16(x))
SUM(sum_bfloat16, float, uint16_t, attn_float_from_bfloat16(x))

typedef void sum_loop(const void *from, int64_t rows, int columns, int64_t stride, void *sums);

static sum_loop *const loops[ATTN_DTYPE_COUNT] = {
    [ATTN_FLOAT64] = sum_float64,
    [ATTN_FLOAT32] = sum_float32,
    [ATTN_FLOAT16] = sum_float16,
    [ATTN_BFLOAT16] = sum_bfloat16,
};

void attn_linear_sum_columns(attn_dtype dtype, const void *from, int64_t rows, int64_t columns, int64_t stride,
                             int threads, void *sums)
{
    const size_t size = attn_dtype_size(dtype), sum_size = attn_dtype_size(attn_dtype_accumulator(dtype));

#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t j = 0; j < columns; j += SUM_COLUMNS)
        loops[dtype]((const char *)from + (size_t)j * size, rows,
                     (int)(columns - j < SUM_COLUMNS ? columns - j : SUM_COLUMNS), stride,
                     (char *)sums + (size_t)j * sum_size);
}
