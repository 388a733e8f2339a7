#include <attn/shape.h>

#include "core/checked.h"

#include <inttypes.h>

static attn_status check_bytes(const char *array, int64_t batch, int64_t heads, int64_t rows, int64_t columns,
                               attn_error *error)
{
    const int64_t factors[] = {batch, heads, rows, columns, 8};
    int64_t bytes;

    if (attn_int64_product(factors, 5, &bytes))
        return ATTN_OK;
    return attn_error_set(error, ATTN_ARGUMENT,
                          "%s of %" PRId64 " x %" PRId64 " x %" PRId64 " x %" PRId64
                          " elements: too large; its bytes must fit in 63 bits",
                          array, batch, heads, rows, columns);
}

attn_status attn_shape_check(const attn_shape *shape, attn_error *error)
{
    const struct {
        const char *name;
        int64_t value;
    } extents[] = {
        {"batch", shape->batch},           {"heads", shape->heads},
        {"kv-heads", shape->kv_heads},     {"seq", shape->seq},
        {"kv-seq", shape->kv_seq},         {"head-dim", shape->head_dim},
        {"v-head-dim", shape->v_head_dim},
    };
    attn_status status;

    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++)
        if (extents[i].value <= 0)
            return attn_error_set(error, ATTN_ARGUMENT, "%s %" PRId64 ": must be a positive number", extents[i].name,
                                  extents[i].value);
    if (shape->heads % shape->kv_heads != 0)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "heads %" PRId64 " is not a multiple of kv-heads %" PRId64
                              "; use a number of kv-heads that divides heads",
                              shape->heads, shape->kv_heads);
    status = check_bytes("q", shape->batch, shape->heads, shape->seq, shape->head_dim, error);
    if (status == ATTN_OK)
        status = check_bytes("k", shape->batch, shape->kv_heads, shape->kv_seq, shape->head_dim, error);
    if (status == ATTN_OK)
        status = check_bytes("v", shape->batch, shape->kv_heads, shape->kv_seq, shape->v_head_dim, error);
    if (status == ATTN_OK)
        status = check_bytes("o", shape->batch, shape->heads, shape->seq, shape->v_head_dim, error);
    return status;
}

int64_t attn_shape_group(const attn_shape *shape)
{
    return shape->heads / shape->kv_heads;
}
