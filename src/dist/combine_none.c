/* Combine `none`: the outputs stay split by heads, as tensor-parallel layers want them. */
#include "dist/exchange.h"

#include <stdlib.h>

static int64_t output_heads(const attn_plan *plan, const attn_part *part)
{
    (void)plan;
    return part->head_count;
}

static int64_t output_head_begin(const attn_plan *plan, const attn_part *part)
{
    (void)plan;
    return part->head_begin;
}

static attn_status predict(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error)
{
    (void)plan, (void)part, (void)out, (void)error;
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
    (void)state, (void)o, (void)error;
    return ATTN_OK;
}

static const attn_combine_ops ops = {create, destroy, run};

const attn_combine attn_combine_none = {
    "none", "each rank keeps the outputs of its own heads", output_heads, output_head_begin, predict, &ops};
