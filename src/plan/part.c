#include <attn/partition.h>

#include <stdlib.h>

attn_status attn_part_create(const attn_problem *problem, attn_grid grid, const attn_layout *layout, int rank,
                             attn_part **out, attn_error *error)
{
    const attn_shape *shape = &problem->shape;
    const int64_t group = attn_shape_group(shape);
    attn_part *part = calloc(1, sizeof *part);
    attn_status status;

    *out = NULL;
    if (part == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the part of rank %d", rank);
    part->rank = rank;
    part->seq_index = rank / grid.head;
    part->head_index = rank % grid.head;
    part->head_begin = attn_share_begin(shape->heads, grid.head, part->head_index);
    part->head_count = attn_share_begin(shape->heads, grid.head, part->head_index + 1) - part->head_begin;
    part->kv_head_begin = part->head_begin / group;
    if (part->head_count > 0)
        part->kv_head_count = (part->head_begin + part->head_count - 1) / group + 1 - part->kv_head_begin;
    status = attn_layout_rows(layout, shape->seq, grid.seq, part->seq_index, &part->q_rows, error);
    if (status == ATTN_OK)
        status = attn_layout_rows(layout, shape->kv_seq, grid.seq, part->seq_index, &part->kv_rows, error);
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

double attn_part_pairs(const attn_problem *problem, const attn_part *part)
{
    double pairs = 0;

    for (int64_t b = 0; b < problem->shape.batch; b++)
        for (int64_t s = 0; s < part->q_rows->count; s++) {
            const attn_segment *segment = &part->q_rows->list[s];

            for (int64_t i = segment->begin; i < segment->begin + segment->length; i++) {
                const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, b, i);

                pairs += (double)(keys.hi - keys.lo);
            }
        }
    return pairs * (double)part->head_count;
}

attn_status attn_partition_imbalance(const attn_problem *problem, attn_grid grid, const attn_layout *layout,
                                     double *out, attn_error *error)
{
    const int ranks = grid.seq * grid.head;
    double sum = 0, max = 0;

    for (int rank = 0; rank < ranks; rank++) {
        attn_part *part;
        double pairs;
        const attn_status status = attn_part_create(problem, grid, layout, rank, &part, error);

        if (status != ATTN_OK)
            return status;
        pairs = attn_part_pairs(problem, part);
        attn_part_destroy(part);
        sum += pairs;
        max = pairs > max ? pairs : max;
    }
    *out = sum > 0 ? max * ranks / sum : 1;
    return ATTN_OK;
}
