#include "dist/gradients.h"

#include <attn/memory.h>

#include "dist/share_heads.h"

#include <stdlib.h>
#include <string.h>

struct attn_gradients {
    attn_group group;
    attn_dtype dtype;
    attn_share *share;     /* NULL where no head is shared */
    void *dk_sum, *dv_sum; /* dk and dv of all heads in the accumulator type; NULL: they are made in place */
};

attn_status attn_gradients_create(const attn_group *group, attn_gradients **out, attn_error *error)
{
    const attn_problem *problem = &group->plan->problem;
    const attn_part *part = group->part;
    const attn_dtype sum_dtype = attn_dtype_accumulator(problem->dtype);
    const bool shared = attn_share_needed(group->plan, part);
    const size_t lines = (size_t)(problem->shape.batch * part->kv_head_count * part->kv_rows->rows);
    attn_gradients *gradients = calloc(1, sizeof *gradients);
    attn_status status = ATTN_OK;

    *out = NULL;
    if (gradients == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the backward pass");
    gradients->group = *group;
    gradients->dtype = shared ? sum_dtype : problem->dtype;
    if (gradients->dtype != problem->dtype) {
        gradients->dk_sum = attn_aligned_alloc(lines * (size_t)problem->shape.head_dim * attn_dtype_size(sum_dtype));
        gradients->dv_sum = attn_aligned_alloc(lines * (size_t)problem->shape.v_head_dim * attn_dtype_size(sum_dtype));
        if (gradients->dk_sum == NULL || gradients->dv_sum == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for the sums of dk and dv");
    }
    if (status == ATTN_OK && shared)
        status = attn_share_create(group, &gradients->share, error);
    if (status != ATTN_OK) {
        attn_gradients_destroy(gradients);
        return status;
    }
    *out = gradients;
    return ATTN_OK;
}

void attn_gradients_destroy(attn_gradients *gradients)
{
    if (gradients == NULL)
        return;
    attn_share_destroy(gradients->share);
    free(gradients->dk_sum);
    free(gradients->dv_sum);
    free(gradients);
}

attn_dtype attn_gradients_dtype(const attn_gradients *gradients)
{
    return gradients->dtype;
}

void attn_gradients_place(const attn_gradients *gradients, const attn_dist_backward_buffers *buffers, void **dk,
                          void **dv)
{
    *dk = gradients->dk_sum != NULL ? gradients->dk_sum : buffers->dk;
    *dv = gradients->dv_sum != NULL ? gradients->dv_sum : buffers->dv;
}

attn_status attn_gradients_merge(attn_gradients *gradients, const attn_dist_backward_buffers *buffers,
                                 attn_error *error)
{
    const attn_problem *problem = &gradients->group.plan->problem;
    const attn_part *part = gradients->group.part;
    const size_t lines = (size_t)(problem->shape.batch * part->kv_head_count * part->kv_rows->rows);

    if (gradients->share == NULL)
        return ATTN_OK;
    if (gradients->dk_sum == NULL)
        return attn_share_run(gradients->share, buffers->dk, buffers->dv, buffers->dk, buffers->dv, error);
    /* Heads that are not shared are rounded as they are; the others then get their totals. */
    attn_convert(problem->dtype, buffers->dk, attn_dtype_accumulator(problem->dtype), gradients->dk_sum,
                 lines * (size_t)problem->shape.head_dim);
    attn_convert(problem->dtype, buffers->dv, attn_dtype_accumulator(problem->dtype), gradients->dv_sum,
                 lines * (size_t)problem->shape.v_head_dim);
    return attn_share_run(gradients->share, gradients->dk_sum, gradients->dv_sum, buffers->dk, buffers->dv, error);
}
