/* Combine `turns`: the ranks of a head group send the outputs of their heads to all others, one rank after the other,
 * a message for each batch. Each rank hands its hq X bytes to Ph - 1 others. */
#include "dist/exchange.h"
#include "dist/pieces.h"

#include <stdlib.h>

static int64_t output_heads(const attn_plan *plan, const attn_part *part)
{
    (void)part;
    return plan->problem.shape.heads;
}

static int64_t output_head_begin(const attn_plan *plan, const attn_part *part)
{
    (void)plan, (void)part;
    return 0;
}

/* Bytes of one head of one batch. */
static int64_t head_bytes(const attn_plan *plan, const attn_part *part)
{
    return part->q_rows->rows * plan->problem.shape.v_head_dim * (int64_t)attn_dtype_size(plan->problem.dtype);
}

static attn_status predict(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error)
{
    const int64_t bytes = head_bytes(plan, part) * part->head_count, batch = plan->problem.shape.batch;
    const double others = plan->grid.head - 1;

    (void)error;
    out->combine_bytes += (double)(bytes * batch) * others;
    out->messages += (double)(attn_piece_count(bytes, ATTN_MESSAGE_BYTES) * batch) * others;
    return ATTN_OK;
}

static attn_status create(const attn_group *group, attn_combine_state **out, attn_error *error)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the combine");
    (*out)->group = *group;
    return ATTN_OK;
}

static void destroy(attn_combine_state *state)
{
    free(state);
}

static attn_status run(attn_combine_state *state, void *o, attn_error *error)
{
    const attn_group *group = &state->group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t bytes = head_bytes(group->plan, group->part);
    const int ranks = group->plan->grid.head;
    attn_status status = ATTN_OK;

    for (int r = 0; r < ranks; r++) {
        const int64_t begin = attn_share_begin(shape->heads, ranks, r);
        const int64_t heads = attn_share_begin(shape->heads, ranks, r + 1) - begin;

        for (int64_t b = 0; b < shape->batch && status == ATTN_OK; b++)
            status = attn_comm_broadcast_limited(group->comm, r, (char *)o + (b * shape->heads + begin) * bytes,
                                                 (size_t)(heads * bytes), group->message_bytes, error);
    }
    return status;
}

static const attn_combine_ops ops = {create, destroy, run};

const attn_combine attn_combine_turns = {
    "turns", "each rank sends its heads to all others in turn", output_heads, output_head_begin, predict, &ops};
