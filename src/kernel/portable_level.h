/* One instruction-set level of the portable kernel. Included once by each portable*.c, which is compiled with the flags
 * of its level and defines
 *   PORTABLE_SYMBOL                                       name of the table row
 *   PORTABLE_NAME, PORTABLE_SUMMARY, PORTABLE_NEEDS       its texts
 *   PORTABLE_CPU_HAS                                      the run-time probe
 *   PORTABLE_DECODE                                       what decodes at this level
 *   VECTOR_BYTES, VECTORS, KEY_TILE, VALUE_TILE           see portable_task.h; a register tile is KEY_TILE or
 *                                                         VALUE_TILE times VECTORS sums, as many as the registers hold
 *   MAX_FLOAT(x, y), MAX_DOUBLE(x, y)                     optional: x > y ? x : y in one instruction
 *   MULTIPLY_WORDS(x, y)                                  optional, see kernel/dropout.h
 */
#include "core/cpu.h"
#include "core/half.h"
#include "core/log2.h"
#include "kernel/backward.h"
#include "kernel/decode.h"
#include "kernel/shuffle.h"
#include "kernel/walk.h"

#include <math.h>
#include <string.h>
/* after them */
#include "kernel/dropout.h"

enum { KEY_BLOCK = 128, BLOCK_ROWS = 384, UNROLLED = 4 };

static inline size_t portable_round(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Columns of V up to whole register tiles. */
static inline int64_t portable_pad(int64_t Dv)
{
    return (Dv + VALUE_TILE - 1) / VALUE_TILE * VALUE_TILE;
}

typedef enum finite_values { FINITE_UNKNOWN, FINITE_ALL, FINITE_NOT_ALL } finite_values;

/* count elements as float: where they stand when they are float, converted into `to` otherwise. */
static const float *row_to_float(attn_dtype dtype, const void *from, float *to, int64_t count)
{
    const uint16_t *half = from;

    if (dtype == ATTN_FLOAT32)
        return from;
    if (dtype == ATTN_FLOAT16)
        for (int64_t n = 0; n < count; n++)
            to[n] = attn_float_from_float16(half[n]);
    else
        for (int64_t n = 0; n < count; n++)
            to[n] = attn_float_from_bfloat16(half[n]);
    return to;
}

static void row_from_float(attn_dtype dtype, void *to, const float *from, int64_t count)
{
    uint16_t *half = to;

    if (dtype == ATTN_FLOAT16)
        for (int64_t n = 0; n < count; n++)
            half[n] = attn_float16_from_float(from[n]);
    else
        for (int64_t n = 0; n < count; n++)
            half[n] = attn_bfloat16_from_float(from[n]);
}

static const double *row_to_double(attn_dtype dtype, const void *from, double *to, int64_t count)
{
    (void)dtype, (void)to, (void)count;
    return from;
}

static void row_from_double(attn_dtype dtype, void *to, const double *from, int64_t count)
{
    (void)dtype;
    memcpy(to, from, (size_t)count * sizeof *from);
}

#define REAL float
#ifdef MAX_FLOAT
#define VECTOR_MAX MAX_FLOAT
#endif
#define WORD uint32_t
#define SWORD int32_t
#define FN(name) name##_float
#define MANTISSA 23
#define ZIP ZIP_FLOAT
#define CONVERT_FROM row_to_float
#define CONVERT_TO row_from_float
#include "kernel/portable_task.h"
/* after it */
#include "kernel/portable_backward.h"
#undef REAL
#undef VECTOR_MAX
#undef WORD
#undef SWORD
#undef FN
#undef MANTISSA
#undef ZIP
#undef CONVERT_FROM
#undef CONVERT_TO

#define REAL double
#ifdef MAX_DOUBLE
#define VECTOR_MAX MAX_DOUBLE
#endif
#define WORD uint64_t
#define SWORD int64_t
#define FN(name) name##_double
#define MANTISSA 52
#define ZIP ZIP_DOUBLE
#define CONVERT_FROM row_to_double
#define CONVERT_TO row_from_double
#include "kernel/portable_task.h"
/* after it */
#include "kernel/portable_backward.h"

static int64_t panel_rows(attn_dtype dtype)
{
    return (int64_t)(VECTORS * VECTOR_BYTES / attn_dtype_size(attn_dtype_accumulator(dtype)));
}

static int64_t block_rows(const attn_shape *shape, attn_dtype dtype)
{
    (void)shape;
    return BLOCK_ROWS / panel_rows(dtype) * panel_rows(dtype);
}

static size_t scratch_bytes(const attn_shape *shape, attn_dtype dtype, int64_t rows)
{
    return dtype == ATTN_FLOAT64 ? scratch_bytes_double(shape->head_dim, shape->v_head_dim, rows)
                                 : scratch_bytes_float(shape->head_dim, shape->v_head_dim, rows);
}

static int64_t backward_keys(const attn_shape *shape, attn_dtype dtype)
{
    return panel_rows(dtype) * (dtype == ATTN_FLOAT64 ? backward_panels_double(shape->head_dim, shape->v_head_dim)
                                                      : backward_panels_float(shape->head_dim, shape->v_head_dim));
}

static size_t backward_bytes(const attn_shape *shape, attn_dtype dtype)
{
    return dtype == ATTN_FLOAT64 ? backward_bytes_double(shape->head_dim, shape->v_head_dim)
                                 : backward_bytes_float(shape->head_dim, shape->v_head_dim);
}

const attn_kernel PORTABLE_SYMBOL = {
    .name = PORTABLE_NAME,
    .summary = PORTABLE_SUMMARY,
    .needs = PORTABLE_NEEDS,
    .cpu_has = PORTABLE_CPU_HAS,
    .forward = {[ATTN_FLOAT64] = forward_double,
                [ATTN_FLOAT32] = forward_float,
                [ATTN_FLOAT16] = forward_float,
                [ATTN_BFLOAT16] = forward_float},
    .block_rows = block_rows,
    .panel_rows = panel_rows,
    .key_block = KEY_BLOCK,
    .scratch_bytes = scratch_bytes,
    .backward = {[ATTN_FLOAT64] = backward_double,
                 [ATTN_FLOAT32] = backward_float,
                 [ATTN_FLOAT16] = backward_float,
                 [ATTN_BFLOAT16] = backward_float},
    .backward_keys = backward_keys,
    .backward_bytes = backward_bytes,
    .decode = &PORTABLE_DECODE,
    .paged = true,
    .dropout = true,
};
