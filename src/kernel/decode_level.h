/* One instruction-set level of decoding. Included once by each decode_*.c, which is compiled with the flags of its
 * level and defines
 *   DECODE_LEVEL                           name of the attn_decode_level
 *   VECTOR_BYTES                           width of a vector register
 *   SUMS                                   vectors of sums in a register tile of values
 *   MAX_FLOAT(x, y), MAX_DOUBLE(x, y)      optional: x > y ? x : y in one instruction
 *   KEEP(v)                                optional: keeps v in its register, where a compiler would load it for each
 *                                          use
 *   FLOAT_OF_FLOAT16(half)                 optional: a vector of float from float16, in one instruction
 *   LOAD_PART(from, bytes)                 optional: a vector whose first bytes are read, the others 0
 */
#include "core/half.h"
#include "core/log2.h"
#include "kernel/decode.h"
#include "kernel/shuffle.h"

#include <math.h>
#include <string.h>

/* Lines are prefetched into the second-level cache. */
enum { MOST_ROWS = 8, PREFETCH = 2 };

static inline size_t decode_round(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* A line of VECTOR_BYTES of keys or values, as it comes from memory. Elements of 16 bits make two vectors of float of
 * it. */
typedef uint8_t line __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2)));

static inline line load_line(const char *from)
{
    line l;

    memcpy(&l, from, sizeof l);
    return l;
}

/* The first bytes of a line, the others 0. */
static inline line load_part(const char *from, int64_t bytes)
{
#ifdef LOAD_PART
    return (line)LOAD_PART(from, bytes);
#else
    line l = {0};

    memcpy(&l, from, (size_t)bytes);
    return l;
#endif
}

#ifndef KEEP
#define KEEP(v) (void)(v)
#endif

#define REAL float
#ifdef MAX_FLOAT
#define VECTOR_MAX MAX_FLOAT
#endif
#define WORD uint32_t
#define SWORD int32_t
#define MANTISSA 23
#define FN(name) name##_float
#define ZIP ZIP_FLOAT
#define EACH_LANES LANES_FLOAT
#define EACH_PAIRS PAIRS_FLOAT
#include "core/vector.h"

static inline vec_float float_of_float16(halves half)
{
#ifdef FLOAT_OF_FLOAT16
    return (vec_float)FLOAT_OF_FLOAT16(half);
#else
    /* attn_float_from_float16 */
    const bits_float wide = __builtin_convertvector(half, bits_float);
    const bits_float magnitude = (wide & 0x7fff) << 13, exponent = magnitude & (0x1fu << 23);
    const vec_float smallest = (vec_float)((bits_float){0} + (113u << 23));
    const vec_float subnormal = (vec_float)(magnitude + (113u << 23)) - smallest;
    const bits_float special = (bits_float)(exponent == 0x1fu << 23) & (112u << 23);
    const vec_float large = (vec_float)(magnitude + special + (112u << 23));
    const bits_float finite = (bits_float)select_float(exponent == 0, subnormal, large);

    return (vec_float)((wide & 0x8000) << 16 | finite);
#endif
}

/* The elements of a line. A bfloat16 is the upper half of a float: the even ones come first, then the odd ones. */
static inline __attribute__((always_inline)) void widen_float(const attn_dtype type, line l, vec_float to[2])
{
    if (type == ATTN_FLOAT32) {
        to[0] = (vec_float)l;
    } else if (type == ATTN_BFLOAT16) {
        to[0] = (vec_float)((bits_float)l << 16);
        to[1] = (vec_float)((bits_float)l & 0xffff0000u);
    } else {
        halves half[2];

        memcpy(half, &l, sizeof half);
        to[0] = float_of_float16(half[0]);
        to[1] = float_of_float16(half[1]);
    }
}

/* The elements of a whole line in memory. Halves of float16 are read one by one, as the conversion takes them. */
static inline __attribute__((always_inline)) void read_line_float(const attn_dtype type, const char *from,
                                                                  vec_float to[2])
{
    halves half[2];

    if (type != ATTN_FLOAT16) {
        widen_float(type, load_line(from), to);
        return;
    }
    memcpy(&half[0], from, sizeof half[0]);
    memcpy(&half[1], from + sizeof half[0], sizeof half[1]);
    to[0] = float_of_float16(half[0]);
    to[1] = float_of_float16(half[1]);
}
#include "kernel/decode_task.h"
#undef REAL
#undef VECTOR_MAX
#undef WORD
#undef SWORD
#undef MANTISSA
#undef FN
#undef ZIP
#undef EACH_LANES
#undef EACH_PAIRS
#undef VEC
#undef BITS
#undef INTS

#define REAL double
#ifdef MAX_DOUBLE
#define VECTOR_MAX MAX_DOUBLE
#endif
#define WORD uint64_t
#define SWORD int64_t
#define MANTISSA 52
#define FN(name) name##_double
#define ZIP ZIP_DOUBLE
#define EACH_LANES LANES_DOUBLE
#define EACH_PAIRS PAIRS_DOUBLE
#include "core/vector.h"

static inline __attribute__((always_inline)) void widen_double(const attn_dtype type, line l, vec_double to[2])
{
    (void)type;
    to[0] = (vec_double)l;
}

static inline __attribute__((always_inline)) void read_line_double(const attn_dtype type, const char *from,
                                                                   vec_double to[2])
{
    widen_double(type, load_line(from), to);
}
#include "kernel/decode_task.h"

static void decode_float32(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                           const attn_decode_task *task, void *o, int64_t stride, void *lse, void *scratch)
{
    decode_float(ATTN_FLOAT32, setup, buffers, task, o, stride, lse, scratch);
}

static void decode_float16(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                           const attn_decode_task *task, void *o, int64_t stride, void *lse, void *scratch)
{
    decode_float(ATTN_FLOAT16, setup, buffers, task, o, stride, lse, scratch);
}

static void decode_bfloat16(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                            const attn_decode_task *task, void *o, int64_t stride, void *lse, void *scratch)
{
    decode_float(ATTN_BFLOAT16, setup, buffers, task, o, stride, lse, scratch);
}

static void decode_float64(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                           const attn_decode_task *task, void *o, int64_t stride, void *lse, void *scratch)
{
    decode_double(ATTN_FLOAT64, setup, buffers, task, o, stride, lse, scratch);
}

static size_t scratch_bytes(const attn_shape *shape, attn_dtype dtype, int64_t rows)
{
    return dtype == ATTN_FLOAT64 ? scratch_bytes_double(dtype, shape->head_dim, shape->v_head_dim, rows)
                                 : scratch_bytes_float(dtype, shape->head_dim, shape->v_head_dim, rows);
}

const attn_decode_level DECODE_LEVEL = {
    .decode = {[ATTN_FLOAT64] = decode_float64,
               [ATTN_FLOAT32] = decode_float32,
               [ATTN_FLOAT16] = decode_float16,
               [ATTN_BFLOAT16] = decode_bfloat16},
    .scratch_bytes = scratch_bytes,
};
