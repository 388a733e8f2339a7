/* Exchange `none`: every rank already holds all keys of its heads, because the sequence is not split. */
#include "dist/exchange.h"
#include "dist/share_heads.h"
#include "dist/steps.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct none_state {
    attn_exchange_state base;
    attn_steps *steps;
} none_state;

static bool applicable(const attn_plan *plan, char *reason, size_t size)
{
    if (plan->grid.seq == 1)
        return true;
    snprintf(reason, size, "grid %dx%d splits the sequence over %d ranks; it needs a grid 1xPH or another exchange",
             plan->grid.seq, plan->grid.head, plan->grid.seq);
    return false;
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    (void)plan, (void)needs, (void)part, (void)out, (void)error;
    return ATTN_OK;
}

static attn_status predict_backward(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                    attn_prediction *out, attn_error *error)
{
    (void)needs, (void)error;
    attn_share_predict(plan, part, out);
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    none_state *state = (none_state *)base;

    if (state == NULL)
        return;
    attn_steps_destroy(state->steps);
    free(state);
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    const attn_segments *const rows[] = {group->part->kv_rows};
    const attn_step_parts step = {1, rows};
    attn_steps_setup setup = attn_steps_of_group(group);
    none_state *state = calloc(1, sizeof *state);
    attn_status status;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    setup.step_count = 1;
    setup.steps = &step;
    status = attn_steps_create(&setup, &state->steps, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    none_state *state = (none_state *)base;
    const attn_part *part = base->group.part;
    const attn_shape *shape = &base->group.plan->problem.shape;
    const attn_array k = attn_array_of_const(call->k, part->kv_head_count, part->kv_rows->rows, shape->head_dim);
    const attn_array v = attn_array_of_const(call->v, part->kv_head_count, part->kv_rows->rows, shape->v_head_dim);

    (void)error;
    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    attn_steps_forward_step(state->steps, 0, &k, &v, NULL, laps);
    attn_steps_forward_end(state->steps, laps);
    return ATTN_OK;
}

static attn_status backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error)
{
    none_state *state = (none_state *)base;
    const attn_part *part = base->group.part;
    const attn_shape *shape = &base->group.plan->problem.shape;
    const int64_t heads = part->kv_head_count, rows = part->kv_rows->rows;
    const attn_array k = attn_array_of_const(call->k, heads, rows, shape->head_dim);
    const attn_array v = attn_array_of_const(call->v, heads, rows, shape->v_head_dim);
    const attn_array dk = attn_array_dense(call->dk, heads, rows, shape->head_dim);
    const attn_array dv = attn_array_dense(call->dv, heads, rows, shape->v_head_dim);

    (void)error;
    attn_steps_backward(state->steps, &(attn_steps_rows){call->q, call->o, call->lse, call->d_o, call->dq});
    attn_steps_backward_step(state->steps, 0, &k, &v, &dk, &dv, NULL, laps);
    attn_steps_backward_end(state->steps, laps);
    return ATTN_OK;
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward, .backward = backward};

const attn_exchange attn_exchange_none = {.name = "none",
                                          .summary = "heads only: the sequence is not split and nothing is exchanged",
                                          .one_step = 1U << ATTN_TRANSFER_AUTO,
                                          .applicable = applicable,
                                          .predict = predict,
                                          .predict_backward = predict_backward,
                                          .ops = &ops};
