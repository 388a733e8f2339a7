#include "dist/hybrid.h"

#include "dist/pieces.h"
#include "dist/redistribute.h"
#include "dist/ring.h"
#include "dist/share_heads.h"
#include "plan/hybrid.h"

#include "core/checked.h"

#include <stdlib.h>

/* A rank among its two dimensions. */
typedef struct dimensions {
    attn_hybrid of;
    attn_hybrid_place place;
    attn_needs *needs;                       /* between the PR groups */
    const attn_segments **q_rows, **kv_rows; /* [PR][PU] of each rank */
    bool *seen;                              /* [PU] whether anybody sees a key of a rank of this group */
    attn_step_parts *parts;                  /* [PR] the arrays of a group's keys */
} dimensions;

typedef struct hybrid_state {
    attn_exchange_state base;
    dimensions dims;
    attn_redistribute *redistribute; /* NULL: PU = 1 */
    attn_ring *ring;
} hybrid_state;

static void drop_dimensions(dimensions *dims)
{
    attn_needs_destroy(dims->needs);
    free(dims->q_rows);
    free(dims->kv_rows);
    free(dims->seen);
    free(dims->parts);
}

static attn_status make_dimensions(const attn_hybrid *hybrid, const attn_needs *needs, const attn_part *part,
                                   dimensions *dims, attn_error *error)
{
    const int ranks = needs->parts;
    int *group_of = attn_calloc_array(ranks, sizeof *group_of);
    attn_status status;

    *dims = (dimensions){.of = *hybrid,
                         .place = attn_hybrid_place_of(hybrid, part->seq_index),
                         .q_rows = attn_calloc_array(ranks, sizeof(attn_segments *)),
                         .kv_rows = attn_calloc_array(ranks, sizeof(attn_segments *)),
                         .seen = attn_calloc_array(hybrid->alltoall, sizeof(bool)),
                         .parts = attn_calloc_array(hybrid->ring, sizeof(attn_step_parts))};
    if (group_of == NULL || dims->q_rows == NULL || dims->kv_rows == NULL || dims->seen == NULL ||
        dims->parts == NULL) {
        free(group_of);
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d ranks in two dimensions", ranks);
    }
    for (int w = 0; w < hybrid->ring; w++) {
        for (int u = 0; u < hybrid->alltoall; u++) {
            const int rank = attn_hybrid_rank(hybrid, u, w);

            dims->q_rows[w * hybrid->alltoall + u] = needs->q_rows[rank];
            dims->kv_rows[w * hybrid->alltoall + u] = needs->kv_rows[rank];
            group_of[rank] = w;
            if (w == dims->place.w)
                dims->seen[u] = needs->reach[rank] >= 0;
        }
        dims->parts[w] = (attn_step_parts){hybrid->alltoall, &dims->kv_rows[w * hybrid->alltoall]};
    }
    status = attn_needs_merge(needs, hybrid->ring, group_of, &dims->needs, error);
    free(group_of);
    return status;
}

/* Rows that a buffer of keys has room for: with a ring, those of any group that may come. */
static int64_t key_room(const dimensions *dims)
{
    int64_t rows = dims->needs->kv_rows[dims->place.w]->rows;

    for (int w = 0; w < dims->of.ring; w++)
        rows = dims->needs->kv_rows[w]->rows > rows ? dims->needs->kv_rows[w]->rows : rows;
    return rows;
}

static attn_redistribute_setup redistribute_setup(const attn_group *group, const dimensions *dims)
{
    const int first = dims->place.w * dims->of.alltoall;

    return (attn_redistribute_setup){.plan = group->plan,
                                     .members = dims->of.alltoall,
                                     .mine = dims->place.u,
                                     .part = group->part,
                                     .q_rows = &dims->q_rows[first],
                                     .kv_rows = &dims->kv_rows[first],
                                     .kv_seen = dims->seen,
                                     .all_q_rows = dims->needs->q_rows[dims->place.w],
                                     .kv_room = key_room(dims),
                                     .dkv_dtype = group->dkv_dtype,
                                     .message_bytes = group->message_bytes,
                                     .comm = group->alltoall_comm};
}

/* The ring of this rank's share; what has come by all-to-all may be written over. */
static attn_ring_setup ring_setup(const attn_group *group, const dimensions *dims)
{
    const attn_redistribute_setup redistribute = redistribute_setup(group, dims);
    const attn_head_share share =
        attn_redistribute_share(&group->plan->problem, group->part, dims->of.alltoall, dims->place.u);

    return (attn_ring_setup){.plan = group->plan,
                             .needs = dims->needs,
                             .mine = dims->place.w,
                             .head_begin = share.head_begin,
                             .head_count = share.head_count,
                             .kv_head_begin = share.kv_head_begin,
                             .kv_head_count = share.kv_head_count,
                             .parts = dims->parts,
                             .dkv_dtype =
                                 dims->of.alltoall > 1 ? attn_redistribute_sum_dtype(&redistribute) : group->dkv_dtype,
                             .lent = dims->of.alltoall > 1,
                             .message_bytes = group->message_bytes,
                             .comm = group->ring_comm};
}

/* A group that does not communicate. */
static attn_group group_of(const attn_plan *plan, const attn_needs *needs, const attn_part *part)
{
    return (attn_group){.comm = MPI_COMM_NULL,
                        .alltoall_comm = MPI_COMM_NULL,
                        .ring_comm = MPI_COMM_NULL,
                        .plan = plan,
                        .part = part,
                        .needs = needs,
                        .message_bytes = ATTN_MESSAGE_BYTES,
                        .dkv_dtype = attn_share_needed(plan, part) ? attn_dtype_accumulator(plan->problem.dtype)
                                                                   : plan->problem.dtype};
}

attn_status attn_hybrid_predict_ring(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                     attn_prediction *out, attn_error *error)
{
    const attn_group group = group_of(plan, needs, part);
    dimensions dims;
    const attn_status status = make_dimensions(&plan->hybrid, needs, part, &dims, error);

    if (status == ATTN_OK) {
        const attn_ring_setup ring = ring_setup(&group, &dims);

        attn_ring_predict(&ring, out);
        if (plan->pass == ATTN_PASS_BACKWARD)
            attn_ring_predict_sums(&ring, out);
    }
    drop_dimensions(&dims);
    return status;
}

attn_status attn_hybrid_predict(const attn_plan *plan, const attn_hybrid *hybrid, const attn_needs *needs,
                                const attn_part *part, attn_prediction *out, attn_error *error)
{
    const attn_group group = group_of(plan, needs, part);
    dimensions dims;
    attn_status status = make_dimensions(hybrid, needs, part, &dims, error);

    if (status == ATTN_OK) {
        const attn_redistribute_setup redistribute = redistribute_setup(&group, &dims);
        const attn_ring_setup ring = ring_setup(&group, &dims);

        if (hybrid->alltoall > 1)
            attn_redistribute_predict(&redistribute, out);
        attn_ring_predict(&ring, out);
        if (plan->pass == ATTN_PASS_BACKWARD) {
            attn_ring_predict_sums(&ring, out);
            attn_share_predict(plan, part, out);
        }
    }
    drop_dimensions(&dims);
    return status;
}

void attn_hybrid_destroy(attn_exchange_state *base)
{
    hybrid_state *state = (hybrid_state *)base;

    if (state == NULL)
        return;
    attn_ring_destroy(state->ring);
    attn_redistribute_destroy(state->redistribute);
    drop_dimensions(&state->dims);
    free(state);
}

static attn_status make_both(hybrid_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_redistribute_setup redistribute = redistribute_setup(group, &state->dims);
    attn_ring_setup ring = ring_setup(group, &state->dims);

    if (state->dims.of.alltoall > 1) {
        const attn_status status = attn_redistribute_create(&redistribute, &state->redistribute, error);

        if (status != ATTN_OK)
            return status;
        ring.k_lent = attn_redistribute_arrays(state->redistribute)->k;
        ring.v_lent = attn_redistribute_arrays(state->redistribute)->v;
    }
    return attn_ring_create(&ring, &state->ring, error);
}

attn_status attn_hybrid_create(const attn_group *group, const attn_hybrid *hybrid, attn_exchange_state **out,
                               attn_error *error)
{
    hybrid_state *state = calloc(1, sizeof *state);
    attn_status status;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    status = make_dimensions(hybrid, group->needs, group->part, &state->dims, error);
    if (status == ATTN_OK)
        status = make_both(state, error);
    if (status != ATTN_OK) {
        attn_hybrid_destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

attn_status attn_hybrid_forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                                attn_error *error)
{
    hybrid_state *state = (hybrid_state *)base;
    const attn_redistributed *here;
    attn_status status;

    if (state->redistribute == NULL)
        return attn_ring_forward(state->ring, &call->q, call->k, call->v, &call->o, &call->lse, laps, error);
    here = attn_redistribute_arrays(state->redistribute);
    status = attn_redistribute_forward_in(state->redistribute, call, laps, error);
    if (status == ATTN_OK)
        status = attn_ring_forward(state->ring, &here->q, here->k, here->v, &here->o, &here->lse, laps, error);
    return status == ATTN_OK ? attn_redistribute_forward_out(state->redistribute, call, laps, error) : status;
}

static attn_steps_rows rows_at_home(const attn_exchange_call *call)
{
    return (attn_steps_rows){call->q, call->o, call->lse, call->d_o, call->dq};
}

attn_status attn_hybrid_backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                                 attn_error *error)
{
    hybrid_state *state = (hybrid_state *)base;
    attn_steps_rows rows = rows_at_home(call);
    const attn_redistributed *here;
    attn_status status;

    if (state->redistribute == NULL)
        return attn_ring_backward(state->ring, &rows, call->k, call->v, call->dk, call->dv, laps, error);
    here = attn_redistribute_arrays(state->redistribute);
    status = attn_redistribute_backward_in(state->redistribute, call, laps, error);
    rows = (attn_steps_rows){here->q, here->o, here->lse, here->d_o, here->dq};
    if (status == ATTN_OK)
        status = attn_ring_backward(state->ring, &rows, here->k, here->v, here->dk, here->dv, laps, error);
    return status == ATTN_OK ? attn_redistribute_backward_out(state->redistribute, call, laps, error) : status;
}
