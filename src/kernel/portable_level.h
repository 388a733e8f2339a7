/* One instruction-set level of the portable kernel. Included once by each portable*.c, which is compiled with the flags
 * of its level and defines
 *   PORTABLE_SYMBOL                                       name of the table row
 *   PORTABLE_NAME, PORTABLE_SUMMARY, PORTABLE_NEEDS       its texts
 *   PORTABLE_CPU_HAS                                      the run-time probe
 *   PORTABLE_DECODE                                       what decodes at this level
 *   VECTOR_BYTES, VECTORS, KEY_TILE, VALUE_TILE           see portable_task.h; a register tile is KEY_TILE or
 *                                                         VALUE_TILE times VECTORS sums, as many as the registers hold
 *   MAX_FLOAT(x, y), MAX_DOUBLE(x, y)                     optional: x > y ? x : y in one instruction
 */
#include "core/cpu.h"
#include "core/half.h"
#include "kernel/backward.h"
#include "kernel/decode.h"

#include <math.h>
#include <string.h>

#define LOG2_E 1.44269504088896340736
#define LN_2 0.69314718055994530942

enum { KEY_BLOCK = 128, BLOCK_ROWS = 384, UNROLLED = 4 };

#if defined(__clang__)
#define PORTABLE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PORTABLE_UNROLL _Pragma("GCC unroll 16")
#endif

/* Two vectors interleaved: the low halves, and the high halves. */
#define ZIP_2_LOW 0, 2
#define ZIP_2_HIGH 1, 3
#define ZIP_4_LOW 0, 4, 1, 5
#define ZIP_4_HIGH 2, 6, 3, 7
#define ZIP_8_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_8_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define ZIP_16_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_16_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#if VECTOR_BYTES == 16
#define ZIP_FLOAT(half) ZIP_4_##half
#define ZIP_DOUBLE(half) ZIP_2_##half
#elif VECTOR_BYTES == 32
#define ZIP_FLOAT(half) ZIP_8_##half
#define ZIP_DOUBLE(half) ZIP_4_##half
#else
#define ZIP_FLOAT(half) ZIP_16_##half
#define ZIP_DOUBLE(half) ZIP_8_##half
#endif

static inline size_t portable_round(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Columns of V up to whole register tiles. */
static inline int64_t portable_pad(int64_t Dv)
{
    return (Dv + VALUE_TILE - 1) / VALUE_TILE * VALUE_TILE;
}

/* Global numbers of the local rows begin .. begin + count - 1 of a part. */
static void find_positions(const attn_segments *part, int64_t begin, int64_t count, int64_t *positions)
{
    const attn_segment *s = &part->list[attn_segments_find(part, begin)];

    for (int64_t j = 0; j < count; j++) {
        if (begin + j == s->offset + s->length)
            s++;
        positions[j] = s->begin + (begin + j - s->offset);
    }
}

/* attn_segments_below for rising global numbers: *next segments began below the last one asked for. Neighbouring rows
 * of a striped layout end a segment apart, which a step finds faster than a search. */
static int64_t find_below(const attn_segments *part, int64_t global, int64_t *next)
{
    enum { STEPS = 4 };
    const attn_segment *s;

    for (int step = 0; step < STEPS && *next < part->count && part->list[*next].begin < global; step++)
        ++*next;
    if (*next < part->count && part->list[*next].begin < global) {
        const int64_t row = attn_segments_below(part, global); /* > 0: a segment begins below */

        *next = attn_segments_find(part, row - 1) + 1;
        return row;
    }
    if (*next == 0)
        return 0;
    s = &part->list[*next - 1];
    return s->offset + (global - s->begin < s->length ? global - s->begin : s->length);
}

typedef enum finite_values { FINITE_UNKNOWN, FINITE_ALL, FINITE_NOT_ALL } finite_values;

/* Rows of an array that are to be brought into a cache before they are used, a few lines beside each register tile,
 * since a burst of them would keep the loads of the tiles waiting. Row n stands at
 * first + n / folded * step + n % folded * fold_step. */
typedef struct row_stream {
    const char *first;
    size_t step, fold_step; /* bytes */
    size_t bytes;           /* of a row */
    int64_t folded, rows;
    int64_t row;
    size_t at; /* the next line to come, in that row */
} row_stream;

typedef struct row_streams {
    row_stream of[2]; /* one after the other */
    int64_t lines;    /* to prefetch at a time */
    bool to_write;
} row_streams;

enum { CACHE_LINE = 64 };

static inline void prefetch_lines(row_streams *streams)
{
    row_stream *s = streams->of[0].row < streams->of[0].rows ? &streams->of[0] : &streams->of[1];
    const char *row = s->first + (size_t)(s->row / s->folded) * s->step + (size_t)(s->row % s->folded) * s->fold_step;

    for (int64_t line = 0; line < streams->lines && s->row < s->rows; line++) {
        if (streams->to_write)
            __builtin_prefetch(row + s->at, 1, 2);
        else
            __builtin_prefetch(row + s->at, 0, 2);
        s->at += CACHE_LINE;
        if (s->at >= s->bytes) {
            s->at = 0;
            s->row++;
            row = s->first + (size_t)(s->row / s->folded) * s->step + (size_t)(s->row % s->folded) * s->fold_step;
        }
    }
}

/* Portions so that all lines come in `times` of them. */
static void share_lines(row_streams *streams, int64_t times)
{
    int64_t lines = 0;

    for (int n = 0; n < 2; n++)
        lines += (streams->of[n].rows - streams->of[n].row) *
                 (int64_t)((streams->of[n].bytes + CACHE_LINE - 1) / CACHE_LINE);
    streams->lines = (lines + times - 1) / times;
}

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
    .scratch_bytes = scratch_bytes,
    .backward = {[ATTN_FLOAT64] = backward_double,
                 [ATTN_FLOAT32] = backward_float,
                 [ATTN_FLOAT16] = backward_float,
                 [ATTN_BFLOAT16] = backward_float},
    .backward_keys = backward_keys,
    .backward_bytes = backward_bytes,
    .decode = &PORTABLE_DECODE,
    .paged = true,
};
