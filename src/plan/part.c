#include "plan/part.h"

#include <stdlib.h>

void attn_part_assign_heads(attn_part *part, const attn_problem *problem, attn_grid grid, int head_index)
{
    const attn_shape *shape = &problem->shape;
    const int64_t group = attn_shape_group(shape);

    part->head_index = head_index;
    part->rank = part->seq_index * grid.head + head_index;
    part->head_begin = attn_share_begin(shape->heads, grid.head, head_index);
    part->head_count = attn_share_begin(shape->heads, grid.head, head_index + 1) - part->head_begin;
    part->kv_head_begin = part->head_begin / group;
    part->kv_head_count = 0;
    if (part->head_count > 0)
        part->kv_head_count = (part->head_begin + part->head_count - 1) / group + 1 - part->kv_head_begin;
}

attn_status attn_part_create(const attn_problem *problem, attn_grid grid, const attn_layout *layout, int rank,
                             attn_part **out, attn_error *error)
{
    attn_part *part = calloc(1, sizeof *part);
    attn_status status;

    *out = NULL;
    if (part == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the part of rank %d", rank);
    part->seq_index = rank / grid.head;
    attn_part_assign_heads(part, problem, grid, rank % grid.head);
    status = attn_layout_queries(layout, problem, grid.seq, part->seq_index, &part->q_rows, error);
    if (status == ATTN_OK)
        status = attn_layout_keys(layout, problem, grid.seq, part->seq_index, &part->kv_rows, error);
    if (status != ATTN_OK) {
        attn_part_destroy(part);
        return status;
    }
    *out = part;
    return ATTN_OK;
}

void attn_part_destroy(attn_part *part)
{
    if (part == NULL)
        return;
    attn_segments_destroy(part->q_rows);
    attn_segments_destroy(part->kv_rows);
    free(part);
}

double attn_part_head_pairs(const attn_problem *problem, const attn_segments *rows)
{
    /* Only key padding differs between batches. */
    const int64_t batches = problem->mask.kv_len != NULL ? problem->shape.batch : 1;
    double pairs = 0;

    for (int64_t b = 0; b < batches; b++)
        for (int64_t s = 0; s < rows->count; s++)
            for (int64_t i = rows->list[s].begin; i < rows->list[s].begin + rows->list[s].length; i++) {
                const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, b, i);

                pairs += (double)(keys.hi - keys.lo);
            }
    return pairs * (double)(problem->shape.batch / batches);
}
