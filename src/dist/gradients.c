#include "dist/gradients.h"

#include <attn/memory.h>

#include "dist/share_heads.h"

#include <stdlib.h>
#include <string.h>

struct attn_gradients {
    attn_group group;
    const attn_exchange_state *exchange;
    attn_backward *backward;
    attn_share *share;     /* NULL where no head is shared */
    void *dk_sum, *dv_sum; /* dk and dv of all heads in the accumulator type; NULL: they are made in place */
};

attn_status attn_gradients_create(const attn_group *group, const attn_exchange_state *exchange, attn_gradients **out,
                                  attn_error *error)
{
    const attn_problem *problem = &group->plan->problem;
    const attn_part *part = group->part;
    const attn_dtype sum_dtype = attn_dtype_accumulator(problem->dtype);
    const bool shared = attn_share_needed(group->plan, part);
    const size_t lines = (size_t)(problem->shape.batch * part->kv_head_count * part->kv_rows->rows);
    const attn_backward_setup setup = {.problem = &group->plan->problem,
                                       .head_begin = part->head_begin,
                                       .head_count = part->head_count,
                                       .kv_head_begin = part->kv_head_begin,
                                       .kv_head_count = part->kv_head_count,
                                       .q_rows = part->q_rows,
                                       .part_count = exchange->part_count,
                                       .part_rows = exchange->part_rows,
                                       .dq_dtype = problem->dtype,
                                       .dkv_dtype = shared ? sum_dtype : problem->dtype,
                                       .threads = group->plan->threads};
    attn_gradients *gradients = calloc(1, sizeof *gradients);
    attn_status status = ATTN_OK;

    *out = NULL;
    if (gradients == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the backward pass");
    gradients->group = *group;
    gradients->exchange = exchange;
    if (shared && sum_dtype != problem->dtype) {
        gradients->dk_sum = attn_aligned_alloc(lines * (size_t)problem->shape.head_dim * attn_dtype_size(sum_dtype));
        gradients->dv_sum = attn_aligned_alloc(lines * (size_t)problem->shape.v_head_dim * attn_dtype_size(sum_dtype));
        if (gradients->dk_sum == NULL || gradients->dv_sum == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for the sums of dk and dv");
    }
    if (status == ATTN_OK && shared)
        status = attn_share_create(group, &gradients->share, error);
    if (status == ATTN_OK)
        status = attn_backward_create(group->plan->kernel, &setup, &gradients->backward, error);
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
    attn_backward_destroy(gradients->backward);
    attn_share_destroy(gradients->share);
    free(gradients->dk_sum);
    free(gradients->dv_sum);
    free(gradients);
}

void attn_gradients_compute(attn_gradients *gradients, const attn_dist_backward_buffers *buffers, attn_array o)
{
    const attn_shape *shape = &gradients->group.plan->problem.shape;
    const attn_part *part = gradients->group.part;
    const int64_t heads = part->head_count, rows = part->q_rows->rows;
    const int64_t kv_heads = part->kv_head_count, kv_rows = part->kv_rows->rows;
    void *const dk_data = gradients->dk_sum != NULL ? gradients->dk_sum : buffers->dk;
    void *const dv_data = gradients->dv_sum != NULL ? gradients->dv_sum : buffers->dv;
    const attn_array dk = attn_array_dense(dk_data, kv_heads, kv_rows, shape->head_dim);
    const attn_array dv = attn_array_dense(dv_data, kv_heads, kv_rows, shape->v_head_dim);
    const attn_backward_buffers local = {.q = attn_array_of_const(buffers->q, heads, rows, shape->head_dim),
                                         .o = o,
                                         .d_o = attn_array_of_const(buffers->d_o, heads, rows, shape->v_head_dim),
                                         .lse = attn_array_of_const(buffers->lse, heads, rows, 1),
                                         .k = gradients->exchange->k,
                                         .v = gradients->exchange->v,
                                         .dq = attn_array_dense(buffers->dq, heads, rows, shape->head_dim),
                                         .dk = &dk,
                                         .dv = &dv};

    attn_backward_execute(gradients->backward, &local);
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
