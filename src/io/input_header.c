#include "io/input_file.h"

#include <attn/comm.h>

#include <stddef.h>

/* The dimensions: symbol in the papers, name for people, and place of the extent in a shape. */
enum { AXIS_B, AXIS_HQ, AXIS_HKV, AXIS_SQ, AXIS_SKV, AXIS_D, AXIS_DV, AXIS_COUNT };

static const struct {
    const char *symbol, *name;
    size_t extent;
} axes[AXIS_COUNT] = {
    [AXIS_B] = {"B", "batch", offsetof(attn_shape, batch)},
    [AXIS_HQ] = {"Hq", "query head", offsetof(attn_shape, heads)},
    [AXIS_HKV] = {"Hkv", "key-value head", offsetof(attn_shape, kv_heads)},
    [AXIS_SQ] = {"Sq", "query row", offsetof(attn_shape, seq)},
    [AXIS_SKV] = {"Skv", "key row", offsetof(attn_shape, kv_seq)},
    [AXIS_D] = {"D", "head dimension", offsetof(attn_shape, head_dim)},
    [AXIS_DV] = {"Dv", "value head dimension", offsetof(attn_shape, v_head_dim)},
};

static const struct {
    const char *meaning;
    int rank;
    int axes[4];
} arrays[ATTN_INPUT_ARRAY_COUNT] = {
    [ATTN_INPUT_Q] = {"queries", 4, {AXIS_B, AXIS_HQ, AXIS_SQ, AXIS_D}},
    [ATTN_INPUT_K] = {"keys", 4, {AXIS_B, AXIS_HKV, AXIS_SKV, AXIS_D}},
    [ATTN_INPUT_V] = {"values", 4, {AXIS_B, AXIS_HKV, AXIS_SKV, AXIS_DV}},
    [ATTN_INPUT_DO] = {"gradient of the output", 4, {AXIS_B, AXIS_HQ, AXIS_SQ, AXIS_DV}},
    [ATTN_INPUT_EXPECTED_O] = {"expected output", 4, {AXIS_B, AXIS_HQ, AXIS_SQ, AXIS_DV}},
    [ATTN_INPUT_EXPECTED_LSE] = {"expected natural-log log-sum-exp", 3, {AXIS_B, AXIS_HQ, AXIS_SQ}},
    [ATTN_INPUT_EXPECTED_DQ] = {"expected gradient of the queries", 4, {AXIS_B, AXIS_HQ, AXIS_SQ, AXIS_D}},
    [ATTN_INPUT_EXPECTED_DK] = {"expected gradient of the keys", 4, {AXIS_B, AXIS_HKV, AXIS_SKV, AXIS_D}},
    [ATTN_INPUT_EXPECTED_DV] = {"expected gradient of the values", 4, {AXIS_B, AXIS_HKV, AXIS_SKV, AXIS_DV}},
};

const char *attn_input_array_path(attn_input_array array)
{
    static const char *const paths[] = {
#define ARRAY_PATH(name, path) [ATTN_INPUT_##name] = path,
        ATTN_INPUT_ARRAY_LIST(ARRAY_PATH)
#undef ARRAY_PATH
    };

    return (unsigned)array < ATTN_INPUT_ARRAY_COUNT ? paths[array] : "unknown array";
}

int attn_input_rank(attn_input_array array)
{
    return arrays[array].rank;
}

const char *attn_input_symbol(attn_input_array array, int dimension)
{
    return axes[arrays[array].axes[dimension]].symbol;
}

const char *attn_input_dimension(attn_input_array array, int dimension)
{
    return axes[arrays[array].axes[dimension]].name;
}

const char *attn_input_meaning(attn_input_array array)
{
    return arrays[array].meaning;
}

int64_t *attn_input_extent(attn_shape *shape, attn_input_array array, int dimension)
{
    return (int64_t *)(void *)((char *)shape + axes[arrays[array].axes[dimension]].extent);
}

size_t attn_input_extent_place(attn_input_array array, int dimension)
{
    return axes[arrays[array].axes[dimension]].extent / sizeof(int64_t);
}

int attn_input_extents(const attn_shape *shape, attn_input_array array, int64_t extents[4])
{
    attn_shape copy = *shape;

    for (int d = 0; d < arrays[array].rank; d++)
        extents[d] = *attn_input_extent(&copy, array, d);
    return arrays[array].rank;
}

attn_status attn_input_header_share(MPI_Comm comm, attn_input_header *header, attn_error *error)
{
    attn_input_header sent = *header;
    const attn_status status = attn_comm_broadcast(comm, 0, &sent, sizeof sent, error);

    if (status != ATTN_OK)
        return status;
    if (attn_comm_rank(comm) != 0)
        *header = sent;
    return attn_settings_share(comm, &header->settings, &header->problem, error);
}
