/* Sizes that cannot overflow unnoticed, and memory by such sizes. */
#ifndef ATTN_CORE_CHECKED_H
#define ATTN_CORE_CHECKED_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The checked operations take operands >= 0 (sizes), return false when an operand is negative or the result does not
 * fit, and leave *out unchanged then. */
static inline bool attn_int64_add(int64_t a, int64_t b, int64_t *out)
{
    if (a < 0 || b < 0 || a > INT64_MAX - b)
        return false;
    *out = a + b;
    return true;
}

static inline bool attn_int64_multiply(int64_t a, int64_t b, int64_t *out)
{
    if (a < 0 || b < 0 || (b > 0 && a > INT64_MAX / b))
        return false;
    *out = a * b;
    return true;
}

static inline bool attn_size_multiply(size_t a, size_t b, size_t *out)
{
    if (b > 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

static inline bool attn_size_from_int64(int64_t value, size_t *out)
{
    if (value < 0 || (uint64_t)value > SIZE_MAX)
        return false;
    *out = (size_t)value;
    return true;
}

static inline bool attn_int_from_int64(int64_t value, int *out)
{
    if (value < INT_MIN || value > INT_MAX)
        return false;
    *out = (int)value;
    return true;
}

/* Product of count factors (1 when there are none). */
bool attn_int64_product(const int64_t *factors, int count, int64_t *out);

/* Zeroed memory for count elements of a size; not NULL for count 0. NULL when count is negative, the product overflows
 * or memory is short. Released with free. */
void *attn_calloc_array(int64_t count, size_t size);

/* The same, with room for count elements of a size, keeping what is in memory; `memory` stays valid on failure. */
void *attn_realloc_array(void *memory, int64_t count, size_t size);

#endif
