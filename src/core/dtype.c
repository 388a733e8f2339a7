#include <attn/dtype.h>

#include "core/half.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    double epsilon;
} types[ATTN_DTYPE_COUNT] = {
    [ATTN_FLOAT64] = {"float64", 8, 0x1p-52},
    [ATTN_FLOAT32] = {"float32", 4, 0x1p-23},
    [ATTN_FLOAT16] = {"float16", 2, 0x1p-10},
    [ATTN_BFLOAT16] = {"bfloat16", 2, 0x1p-7},
};

const char *attn_dtype_name(attn_dtype dtype)
{
    return (unsigned)dtype < ATTN_DTYPE_COUNT ? types[dtype].name : "unknown";
}

attn_status attn_dtype_parse(const char *name, attn_dtype *out, attn_error *error)
{
    for (int t = 0; t < ATTN_DTYPE_COUNT; t++) {
        if (strcmp(name, types[t].name) == 0) {
            *out = (attn_dtype)t;
            return ATTN_OK;
        }
    }
    return attn_error_set(error, ATTN_ARGUMENT, "dtype '%s': must be float64, float32, float16 or bfloat16", name);
}

size_t attn_dtype_size(attn_dtype dtype)
{
    assert((unsigned)dtype < ATTN_DTYPE_COUNT);
    return types[dtype].size;
}

double attn_dtype_epsilon(attn_dtype dtype)
{
    assert((unsigned)dtype < ATTN_DTYPE_COUNT);
    return types[dtype].epsilon;
}

attn_dtype attn_dtype_accumulator(attn_dtype dtype)
{
    return dtype == ATTN_FLOAT64 ? ATTN_FLOAT64 : ATTN_FLOAT32;
}

/* CONVERT(name, to_type, from_type, expression in x): one loop for each pair of types, small enough to vectorise. */
#define CONVERT(name, to_type, from_type, expression)                                                                  \
    static void name(void *restrict to, const void *restrict from, size_t count)                                       \
    {                                                                                                                  \
        to_type *const t = to;                                                                                         \
        const from_type *const f = from;                                                                               \
                                                                                                                       \
        for (size_t i = 0; i < count; i++) {                                                                           \
            const from_type x = f[i];                                                                                  \
            t[i] = (expression);                                                                                       \
        }                                                                                                              \
    }

CONVERT(float64_from_float32, double, float, (double)x)
CONVERT(float64_from_float16, double, uint16_t, (double)attn_float_from_float16(x))
CONVERT(float64_from_bfloat16, double, uint16_t, (double)attn_float_from_bfloat16(x))
CONVERT(float32_from_float64, float, double, (float)x)
CONVERT(float32_from_float16, float, uint16_t, attn_float_from_float16(x))
CONVERT(float32_from_bfloat16, float, uint16_t, attn_float_from_bfloat16(x))
CONVERT(float16_from_float64, uint16_t, double, attn_float16_from_double(x))
CONVERT(float16_from_float32, uint16_t, float, attn_float16_from_float(x))
CONVERT(float16_from_bfloat16, uint16_t, uint16_t, attn_float16_from_float(attn_float_from_bfloat16(x)))
CONVERT(bfloat16_from_float64, uint16_t, double, attn_bfloat16_from_double(x))
CONVERT(bfloat16_from_float32, uint16_t, float, attn_bfloat16_from_float(x))
CONVERT(bfloat16_from_float16, uint16_t, uint16_t, attn_bfloat16_from_float(attn_float_from_float16(x)))

typedef void convert_loop(void *restrict to, const void *restrict from, size_t count);

/* [to][from]; equal types are a copy. */
static convert_loop *const conversions[ATTN_DTYPE_COUNT][ATTN_DTYPE_COUNT] = {
    [ATTN_FLOAT64] = {NULL, float64_from_float32, float64_from_float16, float64_from_bfloat16},
    [ATTN_FLOAT32] = {float32_from_float64, NULL, float32_from_float16, float32_from_bfloat16},
    [ATTN_FLOAT16] = {float16_from_float64, float16_from_float32, NULL, float16_from_bfloat16},
    [ATTN_BFLOAT16] = {bfloat16_from_float64, bfloat16_from_float32, bfloat16_from_float16, NULL},
};

void attn_convert(attn_dtype to_dtype, void *to, attn_dtype from_dtype, const void *from, size_t count)
{
    assert((unsigned)to_dtype < ATTN_DTYPE_COUNT && (unsigned)from_dtype < ATTN_DTYPE_COUNT);
    if (count == 0)
        return;
    if (to_dtype != from_dtype)
        conversions[to_dtype][from_dtype](to, from, count);
    else if (to != from)
        memcpy(to, from, count * types[to_dtype].size);
}

double attn_load(attn_dtype dtype, const void *array, size_t index)
{
    double value;

    attn_convert(ATTN_FLOAT64, &value, dtype, (const char *)array + index * attn_dtype_size(dtype), 1);
    return value;
}

void attn_store(attn_dtype dtype, void *array, size_t index, double value)
{
    attn_convert(dtype, (char *)array + index * attn_dtype_size(dtype), ATTN_FLOAT64, &value, 1);
}
