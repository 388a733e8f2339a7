#include "peers/peer.h"

#include <attn/kernel.h>
#include <attn/version.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer_plan {
    attn_problem problem;
    const attn_kernel *kernel;
    attn_segments *q_rows, *kv_rows;
    const attn_segments *parts[1]; /* kv_rows: all keys are one part */
    attn_forward *forward;         /* one of the two is NULL */
    attn_backward *backward;
};

static attn_status set_problem(attn_problem *problem, const char *dtype_name, const int64_t *extents, int causal,
                               const int64_t *windows, attn_error *error)
{
    const attn_shape shape = {.batch = extents[0],
                              .heads = extents[1],
                              .kv_heads = extents[2],
                              .seq = extents[3],
                              .kv_seq = extents[4],
                              .head_dim = extents[5],
                              .v_head_dim = extents[6]};
    attn_dtype dtype = ATTN_FLOAT32;
    attn_status status = attn_dtype_parse(dtype_name, &dtype, error);

    if (status == ATTN_OK)
        status = attn_shape_check(&shape, error);
    if (status != ATTN_OK)
        return status;
    *problem = attn_problem_init(shape, dtype);
    problem->mask.causal = causal != 0;
    problem->mask.window_left = windows[0];
    problem->mask.window_right = windows[1];
    return attn_problem_check(problem, error);
}

static attn_status choose_kernel(const char *name, attn_pass pass, attn_dtype dtype, const attn_kernel **kernel,
                                 attn_error *error)
{
    if (strcmp(name, "auto") == 0)
        *kernel = attn_kernel_best(pass, dtype);
    else
        *kernel = attn_kernel_find(name);
    if (*kernel == NULL)
        return attn_error_set(error, ATTN_ARGUMENT, "kernel '%s': not one of those that attnbench list names", name);
    return ATTN_OK;
}

static attn_status plan_rows(peer_plan *plan, attn_error *error)
{
    const attn_shape *const shape = &plan->problem.shape;
    const int64_t begin = 0;
    attn_status status = attn_segments_create(1, &begin, &shape->seq, &plan->q_rows, error);

    if (status == ATTN_OK)
        status = attn_segments_create(1, &begin, &shape->kv_seq, &plan->kv_rows, error);
    plan->parts[0] = plan->kv_rows;
    return status;
}

static attn_status plan_forward(peer_plan *plan, int threads, attn_error *error)
{
    const attn_forward_setup setup = {.problem = &plan->problem,
                                      .head_count = plan->problem.shape.heads,
                                      .q_rows = plan->q_rows,
                                      .part_count = 1,
                                      .part_rows = plan->parts,
                                      .o_dtype = plan->problem.dtype,
                                      .add_sinks = true,
                                      .threads = threads};

    return attn_forward_create(plan->kernel, &setup, &plan->forward, error);
}

static attn_status plan_backward(peer_plan *plan, int threads, attn_error *error)
{
    const attn_problem *const problem = &plan->problem;
    const attn_backward_setup setup = {.problem = problem,
                                       .head_count = problem->shape.heads,
                                       .kv_head_count = problem->shape.kv_heads,
                                       .q_rows = plan->q_rows,
                                       .part_count = 1,
                                       .part_rows = plan->parts,
                                       .dq_dtype = problem->dtype,
                                       .dkv_dtype = problem->dtype,
                                       .threads = threads};

    return attn_backward_create(plan->kernel, &setup, &plan->backward, error);
}

peer_plan *peer_create(const char *pass_name, const char *kernel, const char *dtype, const int64_t *extents, int causal,
                       const int64_t *windows, int threads, char *message, size_t size)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_status status = ATTN_OK;
    attn_pass pass = ATTN_PASS_FORWARD;
    peer_plan *plan = calloc(1, sizeof *plan);

    if (plan == NULL)
        status = attn_error_set(&error, ATTN_MEMORY, "no memory for a plan");
    else if (!attn_pass_find(pass_name, &pass))
        status = attn_error_set(&error, ATTN_ARGUMENT, "pass '%s': forward, backward or decode is accepted", pass_name);
    if (status == ATTN_OK)
        status = set_problem(&plan->problem, dtype, extents, causal, windows, &error);
    if (status == ATTN_OK)
        status = choose_kernel(kernel, pass, plan->problem.dtype, &plan->kernel, &error);
    if (status == ATTN_OK)
        status = plan_rows(plan, &error);
    if (status == ATTN_OK)
        status =
            pass == ATTN_PASS_BACKWARD ? plan_backward(plan, threads, &error) : plan_forward(plan, threads, &error);
    if (status != ATTN_OK) {
        snprintf(message, size, "%s", error.message);
        peer_destroy(plan);
        return NULL;
    }
    return plan;
}

void peer_destroy(peer_plan *plan)
{
    if (plan == NULL)
        return;
    attn_forward_destroy(plan->forward);
    attn_backward_destroy(plan->backward);
    attn_segments_destroy(plan->q_rows);
    attn_segments_destroy(plan->kv_rows);
    free(plan);
}

const char *peer_version(void)
{
    return ATTN_VERSION;
}

const char *peer_kernel(const peer_plan *plan)
{
    return attn_kernel_name(plan->kernel);
}

void peer_forward(peer_plan *plan, const void *q, const void *k, const void *v, void *o, void *lse)
{
    const attn_shape *const s = &plan->problem.shape;
    const attn_array keys = attn_array_of_const(k, s->kv_heads, s->kv_seq, s->head_dim);
    const attn_array values = attn_array_of_const(v, s->kv_heads, s->kv_seq, s->v_head_dim);
    const attn_forward_buffers buffers = {.q = attn_array_of_const(q, s->heads, s->seq, s->head_dim),
                                          .k = &keys,
                                          .v = &values,
                                          .o = attn_array_dense(o, s->heads, s->seq, s->v_head_dim),
                                          .lse = attn_array_dense(lse, s->heads, s->seq, 1)};

    assert(plan->forward != NULL);
    attn_forward_execute(plan->forward, &buffers);
}

void peer_backward(peer_plan *plan, const void *q, const void *k, const void *v, const void *o, const void *lse,
                   const void *d_o, void *dq, void *dk, void *dv)
{
    const attn_shape *const s = &plan->problem.shape;
    const attn_array keys = attn_array_of_const(k, s->kv_heads, s->kv_seq, s->head_dim);
    const attn_array values = attn_array_of_const(v, s->kv_heads, s->kv_seq, s->v_head_dim);
    const attn_array d_keys = attn_array_dense(dk, s->kv_heads, s->kv_seq, s->head_dim);
    const attn_array d_values = attn_array_dense(dv, s->kv_heads, s->kv_seq, s->v_head_dim);
    const attn_backward_buffers buffers = {.q = attn_array_of_const(q, s->heads, s->seq, s->head_dim),
                                           .o = attn_array_of_const(o, s->heads, s->seq, s->v_head_dim),
                                           .d_o = attn_array_of_const(d_o, s->heads, s->seq, s->v_head_dim),
                                           .lse = attn_array_of_const(lse, s->heads, s->seq, 1),
                                           .k = &keys,
                                           .v = &values,
                                           .dq = attn_array_dense(dq, s->heads, s->seq, s->head_dim),
                                           .dk = &d_keys,
                                           .dv = &d_values};

    assert(plan->backward != NULL);
    attn_backward_execute(plan->backward, &buffers);
}
