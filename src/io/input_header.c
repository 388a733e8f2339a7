#include "io/input_file.h"

#include "core/checked.h"

#include <attn/comm.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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

static const struct {
    const char *name;
    bool real;
    const char *extents;
} settings[ATTN_SETTING_COUNT] = {
#define SETTING_ROW(name, dataset, real, extents) [ATTN_SETTING_##name] = {dataset, real, extents},
    ATTN_SETTING_LIST(SETTING_ROW)
#undef SETTING_ROW
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

const char *attn_setting_name(attn_setting setting)
{
    return settings[setting].name;
}

bool attn_setting_is_real(attn_setting setting)
{
    return settings[setting].real;
}

const char *attn_setting_extents(attn_setting setting)
{
    return settings[setting].extents;
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

void attn_input_header_link(attn_input_header *header)
{
    attn_problem *const p = &header->problem;

    p->score.alibi_slopes = header->settings[ATTN_SETTING_ALIBI_SLOPES].values;
    p->score.sinks = header->settings[ATTN_SETTING_SINKS].values;
    p->mask.kv_len = header->settings[ATTN_SETTING_KV_LEN].values;
    p->mask.cu_seqlens = header->settings[ATTN_SETTING_CU_SEQLENS].values;
    p->mask.documents = p->mask.cu_seqlens != NULL ? header->settings[ATTN_SETTING_CU_SEQLENS].count - 1 : 0;
}

attn_status attn_input_header_set(attn_input_header *header, const attn_problem *problem, attn_error *error)
{
    const struct {
        const void *values;
        int64_t count;
    } lists[ATTN_SETTING_COUNT] = {
        [ATTN_SETTING_ALIBI_SLOPES] = {problem->score.alibi_slopes, problem->shape.heads},
        [ATTN_SETTING_SINKS] = {problem->score.sinks, problem->shape.heads},
        [ATTN_SETTING_KV_LEN] = {problem->mask.kv_len, problem->shape.batch},
        [ATTN_SETTING_CU_SEQLENS] = {problem->mask.cu_seqlens, problem->mask.documents + 1},
    };

    header->problem = *problem;
    for (int s = 0; s < ATTN_SETTING_COUNT; s++) {
        attn_setting_values *const to = &header->settings[s];

        if (lists[s].values == NULL)
            continue;
        to->values = attn_calloc_array(lists[s].count, sizeof(int64_t));
        if (to->values == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for %lld values of %s", (long long)lists[s].count,
                                  settings[s].name);
        to->count = lists[s].count;
        memcpy(to->values, lists[s].values, (size_t)to->count * sizeof(int64_t));
    }
    attn_input_header_link(header);
    return ATTN_OK;
}

attn_status attn_input_header_share(MPI_Comm comm, attn_input_header *header, attn_error *error)
{
    const bool root = attn_comm_rank(comm) == 0;
    attn_input_header sent = *header;
    attn_status status = attn_comm_broadcast(comm, 0, &sent, sizeof sent, error);

    if (status != ATTN_OK)
        return status;
    if (!root) {
        *header = sent;
        for (int s = 0; s < ATTN_SETTING_COUNT; s++) {
            attn_setting_values *const values = &header->settings[s];

            values->values = values->count > 0 ? attn_calloc_array(values->count, sizeof(int64_t)) : NULL;
            if (values->count > 0 && values->values == NULL)
                status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld values of %s", (long long)values->count,
                                        settings[s].name);
        }
    }
    status = attn_comm_agree(comm, status, error);
    for (int s = 0; s < ATTN_SETTING_COUNT && status == ATTN_OK; s++)
        status = attn_comm_broadcast(comm, 0, header->settings[s].values,
                                     (size_t)header->settings[s].count * sizeof(int64_t), error);
    attn_input_header_link(header);
    return status;
}

void attn_input_header_release(attn_input_header *header)
{
    for (int s = 0; s < ATTN_SETTING_COUNT; s++)
        free(header->settings[s].values);
}
