#include "core/checked.h"

#include <stdlib.h>

bool attn_int64_product(const int64_t *factors, int count, int64_t *out)
{
    int64_t product = 1;

    for (int i = 0; i < count; i++)
        if (!attn_int64_multiply(product, factors[i], &product))
            return false;
    *out = product;
    return true;
}

static bool array_bytes(int64_t count, size_t size, size_t *bytes)
{
    size_t n;

    if (!attn_size_from_int64(count, &n) || !attn_size_multiply(n, size, bytes))
        return false;
    if (*bytes == 0)
        *bytes = 1;
    return true;
}

void *attn_calloc_array(int64_t count, size_t size)
{
    size_t bytes;

    return array_bytes(count, size, &bytes) ? calloc(1, bytes) : NULL;
}

void *attn_realloc_array(void *memory, int64_t count, size_t size)
{
    size_t bytes;

    return array_bytes(count, size, &bytes) ? realloc(memory, bytes) : NULL;
}
