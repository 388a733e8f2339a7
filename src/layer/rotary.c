/* Rotary position embedding. */
#include "layer/rotary.h"

#include <attn/memory.h>

#include "core/checked.h"
#include "core/half.h"

#include <math.h>
#include <stdlib.h>

struct attn_rotary_table {
    attn_rotary rotary;
    attn_dtype dtype;
    int64_t rows;
    void *cosines, *sines; /* [rows,dim/2], accumulator type */
};

static void fill(attn_rotary_table *table, const attn_segments *rows, int64_t shift)
{
    const attn_dtype dtype = attn_dtype_accumulator(table->dtype);
    const int64_t pairs = table->rotary.dim / 2;

    for (int64_t d = 0; d < pairs; d++) {
        const double step = pow(table->rotary.theta, -2 * (double)d / (double)table->rotary.dim);

        for (int64_t n = 0; n < rows->count; n++)
            for (int64_t i = 0; i < rows->list[n].length; i++) {
                const double angle = (double)(rows->list[n].begin + i + shift) * step;
                const size_t at = (size_t)((rows->list[n].offset + i) * pairs + d);

                attn_store(dtype, table->cosines, at, cos(angle));
                attn_store(dtype, table->sines, at, sin(angle));
            }
    }
}

attn_status attn_rotary_create(const attn_rotary *rotary, const attn_segments *rows, int64_t shift, attn_dtype dtype,
                               attn_rotary_table **out, attn_error *error)
{
    attn_rotary_table *const table = attn_calloc_array(1, sizeof *table);
    const size_t size = attn_dtype_size(attn_dtype_accumulator(dtype));
    int64_t count;
    size_t elements, bytes;

    *out = NULL;
    if (table != NULL && attn_int64_multiply(rows->rows, rotary->dim / 2, &count) &&
        attn_size_from_int64(count, &elements) && attn_size_multiply(elements, size, &bytes)) {
        *table = (attn_rotary_table){*rotary, dtype, rows->rows, attn_aligned_alloc(bytes), attn_aligned_alloc(bytes)};
        if (table->cosines != NULL && table->sines != NULL) {
            fill(table, rows, shift);
            *out = table;
            return ATTN_OK;
        }
    }
    attn_rotary_destroy(table);
    return attn_error_set(error, ATTN_MEMORY, "no memory for the rotary embedding of %lld rows", (long long)rows->rows);
}

void attn_rotary_destroy(attn_rotary_table *table)
{
    if (table == NULL)
        return;
    free(table->cosines);
    free(table->sines);
    free(table);
}

/* TURN(name, type of numbers, of elements, number of an element, element of a number): a row of one head. In the style
 * HALF pairs are `pairs` apart, interleaved ones stand side by side: a loop each, as they vectorise differently. */
#define PAIR(real, from, to, first, second)                                                                            \
    {                                                                                                                  \
        const real a = from(x[first]), b = from(x[second]), c = cosines[d], s = sign * sines[d];                       \
                                                                                                                       \
        x[first] = to(a * c - b * s);                                                                                  \
        x[second] = to(a * s + b * c);                                                                                 \
    }
#define TURN(name, real, element, from, to)                                                                            \
    static void name(attn_rotary_style style, int64_t pairs, bool back, const void *row_cosines,                       \
                     const void *row_sines, void *row)                                                                 \
    {                                                                                                                  \
        const real *restrict const cosines = row_cosines, *restrict const sines = row_sines;                           \
        const real sign = back ? -1 : 1;                                                                               \
        element *restrict const x = row;                                                                               \
                                                                                                                       \
        if (style == ATTN_ROTARY_HALF)                                                                                 \
            for (int64_t d = 0; d < pairs; d++)                                                                        \
                PAIR(real, from, to, d, d + pairs)                                                                     \
        else                                                                                                           \
            for (int64_t d = 0; d < pairs; d++)                                                                        \
                PAIR(real, from, to, 2 * d, 2 * d + 1)                                                                 \
    }
#define AS_IT_IS(x) (x)

TURN(turn_float64, double, double, AS_IT_IS, AS_IT_IS)
TURN(turn_float32, float, float, AS_IT_IS, AS_IT_IS)
TURN(turn_float16, float, uint16_t, attn_float_from_float16, attn_float16_from_float)
TURN(turn_bfloat16, float, uint16_t, attn_float_from_bfloat16, attn_bfloat16_from_float)

typedef void turn_row(attn_rotary_style style, int64_t pairs, bool back, const void *row_cosines, const void *row_sines,
                      void *row);

static turn_row *const turns[ATTN_DTYPE_COUNT] = {
    [ATTN_FLOAT64] = turn_float64,
    [ATTN_FLOAT32] = turn_float32,
    [ATTN_FLOAT16] = turn_float16,
    [ATTN_BFLOAT16] = turn_bfloat16,
};

void attn_rotary_turn(const attn_rotary_table *table, bool back, int64_t batch, int64_t heads, const attn_array *x,
                      int threads)
{
    const int64_t pairs = table->rotary.dim / 2, lines = batch * heads * table->rows;
    const size_t size = attn_dtype_size(table->dtype);
    const size_t row_bytes = (size_t)pairs * attn_dtype_size(attn_dtype_accumulator(table->dtype));

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < lines; line++) {
        const int64_t i = line % table->rows, h = line / table->rows % heads, b = line / table->rows / heads;
        const int64_t at = b * x->batch_stride + h * x->head_stride + i * x->row_stride;

        turns[table->dtype](table->rotary.style, pairs, back, (const char *)table->cosines + (size_t)i * row_bytes,
                            (const char *)table->sines + (size_t)i * row_bytes, (char *)x->data + (size_t)at * size);
    }
}
