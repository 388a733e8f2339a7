/* Exchange `none`: every rank already holds all keys of its heads, because the sequence is not split. */
#include "dist/exchange.h"
#include "dist/share_heads.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct none_state {
    attn_exchange_state base;
    const attn_segments *rows[1];
    attn_array k[1], v[1];
} none_state;

static bool applicable(const attn_plan *plan, char *reason, size_t size)
{
    if (plan->grid.seq == 1)
        return true;
    snprintf(reason, size, "grid %dx%d splits the sequence over %d ranks; it needs a grid 1xPH or another exchange",
             plan->grid.seq, plan->grid.head, plan->grid.seq);
    return false;
}

static attn_status predict(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error)
{
    (void)plan, (void)part, (void)out, (void)error;
    return ATTN_OK;
}

static attn_status predict_backward(const attn_plan *plan, const attn_part *part, attn_prediction *out,
                                    attn_error *error)
{
    (void)error;
    attn_share_predict(plan, part, out);
    return ATTN_OK;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    none_state *state = calloc(1, sizeof *state);

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->rows[0] = group->part->kv_rows;
    state->base =
        (attn_exchange_state){.group = *group, .part_count = 1, .part_rows = state->rows, .k = state->k, .v = state->v};
    *out = &state->base;
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    free(base);
}

static attn_status start(attn_exchange_state *base, const void *k, const void *v, attn_error *error)
{
    none_state *state = (none_state *)base;
    const attn_part *part = base->group.part;
    const attn_shape *shape = &base->group.plan->problem.shape;

    (void)error;
    state->k[0] = attn_array_of_const(k, part->kv_head_count, part->kv_rows->rows, shape->head_dim);
    state->v[0] = attn_array_of_const(v, part->kv_head_count, part->kv_rows->rows, shape->v_head_dim);
    return ATTN_OK;
}

static attn_status finish(attn_exchange_state *base, attn_error *error)
{
    (void)base, (void)error;
    return ATTN_OK;
}

static const attn_exchange_ops ops = {create, destroy, start, finish};

const attn_exchange attn_exchange_none = {
    "none", "heads only: the sequence is not split and nothing is exchanged", applicable, predict, predict_backward,
    &ops};
