/* The query heads of a call that share a key-value head; the first and last group of a call may have less than all. */
#ifndef KERNEL_HEAD_GROUP_H
#define KERNEL_HEAD_GROUP_H

#include <attn/kernel.h>

typedef struct attn_head_group {
    int64_t kv_head, head, heads; /* local numbers */
} attn_head_group;

static inline int64_t attn_head_groups(const attn_forward_setup *setup)
{
    const int64_t group = attn_shape_group(&setup->problem->shape);

    if (setup->head_count == 0)
        return 0;
    return (setup->head_begin + setup->head_count - 1) / group - setup->head_begin / group + 1;
}

static inline attn_head_group attn_head_group_at(const attn_forward_setup *setup, int64_t index)
{
    const int64_t group = attn_shape_group(&setup->problem->shape), shared = setup->head_begin / group + index;
    const int64_t end = setup->head_begin + setup->head_count;
    const int64_t first = shared * group > setup->head_begin ? shared * group : setup->head_begin;
    const int64_t last = (shared + 1) * group < end ? (shared + 1) * group : end;

    return (attn_head_group){shared - setup->kv_head_begin, first - setup->head_begin, last - first};
}

#endif
