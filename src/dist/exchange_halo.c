/* Exchange `halo`: a rank sends to each other one only the keys and values that the rows there see.
 *
 * Which rows these are follows from the mask's intervals and the layout, for each pair of ranks, in the batch that sees
 * most. They travel while the rank computes on its own keys, and are then computed on together. With n(i) of its rows
 * seen by rank i a rank sends the sum over i of n(i) B hkv (D + Dv) e bytes, at most what `allgather` sends. With a
 * causal window on a contiguous layout that is window_left rows to the next rank, 2 B window_left hkv D e bytes, while
 * window_left <= S/p. Memory: the rows that are sent, packed unless they stand together, and those that come.
 *
 * Backward, gradients of the rows that came go home: so many rows of D + Dv accumulators, and as much memory again for
 * them and for those of the rows that were sent (owner_sums.h). */
#include "core/checked.h"
#include "dist/exchange.h"
#include "dist/owner_sums.h"
#include "dist/pack.h"
#include "dist/pieces.h"
#include "dist/share_heads.h"
#include "dist/steps.h"
#include "dist/transfers.h"

#include <attn/memory.h>

#include <stdlib.h>

enum { TAG_KEYS = 1, TAG_VALUES };

/* What passes between a rank and the others, [ranks] each; NULL where nothing does, and for the rank itself. */
typedef struct halo_rows {
    int ranks, mine;
    attn_segments **sent;  /* local rows that rank i sees */
    attn_segments **got;   /* local rows of rank j that are seen here */
    attn_segments **parts; /* the same as rows of the sequence */
    int64_t *counts;       /* rows of got */
    int64_t seen;          /* steps that are seen: own rows, rows of others */
} halo_rows;

typedef struct halo_state {
    attn_exchange_state base;
    halo_rows rows;
    char *packed, *received; /* K and V of all ranks that need packing, and of all that send, in rank order */
    attn_array *k, *v;       /* [ranks] what came, packed: the parts of the second step */
    attn_array *dk, *dv;     /* [ranks] gradients of these */
    int parts;
    attn_steps *steps; /* own rows; those of others */
    attn_transfers transfers;
    attn_owner_sums *sums; /* NULL: forward only */
} halo_state;

/* Bytes of some rows of all batches and heads, of D or Dv elements. */
static int64_t row_bytes(const attn_plan *plan, const attn_part *part, int64_t rows, int64_t width)
{
    return plan->problem.shape.batch * part->kv_head_count * rows * width *
           (int64_t)attn_dtype_size(plan->problem.dtype);
}

static int64_t both_bytes(const attn_plan *plan, const attn_part *part, const attn_segments *rows)
{
    const attn_shape *shape = &plan->problem.shape;

    return rows == NULL ? 0 : row_bytes(plan, part, rows->rows, shape->head_dim + shape->v_head_dim);
}

/* Whether the rows of all batches and heads stand together, so that they are sent from where they are. */
static bool together(const attn_plan *plan, const attn_part *part, const attn_segments *rows)
{
    return rows->count == 1 &&
           (plan->problem.shape.batch * part->kv_head_count == 1 || rows->rows == part->kv_rows->rows);
}

static int64_t packed_bytes(const attn_plan *plan, const attn_part *part, const attn_segments *rows)
{
    return rows == NULL || together(plan, part, rows) ? 0 : both_bytes(plan, part, rows);
}

static void release_rows(halo_rows *rows)
{
    for (int r = 0; r < rows->ranks; r++) {
        if (rows->sent != NULL)
            attn_segments_destroy(rows->sent[r]);
        if (rows->got != NULL)
            attn_segments_destroy(rows->got[r]);
        if (rows->parts != NULL)
            attn_segments_destroy(rows->parts[r]);
    }
    free(rows->sent);
    free(rows->got);
    free(rows->parts);
    free(rows->counts);
}

/* Release is for a failed one too. */
static attn_status find_rows(const attn_problem *problem, const attn_needs *needs, int mine, halo_rows *out,
                             attn_error *error)
{
    const int ranks = needs->parts;
    bool others = false;
    attn_status status = ATTN_OK;

    *out = (halo_rows){.ranks = ranks, .mine = mine};
    out->sent = attn_calloc_array(ranks, sizeof(attn_segments *));
    out->got = attn_calloc_array(ranks, sizeof(attn_segments *));
    out->parts = attn_calloc_array(ranks, sizeof(attn_segments *));
    out->counts = attn_calloc_array(ranks, sizeof *out->counts);
    if (out->sent == NULL || out->got == NULL || out->parts == NULL || out->counts == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for what %d ranks see of each other", ranks);
    for (int r = 0; r < ranks && status == ATTN_OK; r++) {
        if (r == mine)
            continue;
        if (attn_needs_see(needs, r, mine))
            status = attn_needs_places(problem, needs, r, mine, &out->sent[r], error);
        if (status != ATTN_OK || !attn_needs_see(needs, mine, r))
            continue;
        others = true;
        status = attn_needs_places(problem, needs, mine, r, &out->got[r], error);
        if (status == ATTN_OK)
            status = attn_needs_rows(needs->kv_rows[r], out->got[r], &out->parts[r], error);
        if (status == ATTN_OK)
            out->counts[r] = out->got[r]->rows;
    }
    out->seen = attn_needs_see(needs, mine, mine) + others;
    return status;
}

static attn_owner_setup owner_setup(const halo_rows *rows)
{
    return (attn_owner_setup){rows->counts, (const attn_segments *const *)rows->sent};
}

static void predict_rows(const attn_plan *plan, const attn_part *part, const halo_rows *rows, attn_prediction *out)
{
    const attn_shape *shape = &plan->problem.shape;

    for (int r = 0; r < rows->ranks; r++) {
        out->extra_bytes += (double)(packed_bytes(plan, part, rows->sent[r]) + both_bytes(plan, part, rows->got[r]));
        if (rows->sent[r] == NULL)
            continue;
        out->exchange_bytes += (double)both_bytes(plan, part, rows->sent[r]);
        out->messages += (double)(attn_transfers_messages(row_bytes(plan, part, rows->sent[r]->rows, shape->head_dim),
                                                          ATTN_MESSAGE_BYTES) +
                                  attn_transfers_messages(row_bytes(plan, part, rows->sent[r]->rows, shape->v_head_dim),
                                                          ATTN_MESSAGE_BYTES));
    }
    if (part->head_count > 0)
        out->extra_bytes += attn_steps_extra_bytes(plan, part->head_count, part->q_rows->rows, rows->seen);
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    halo_rows rows;
    const attn_status status = find_rows(&plan->problem, needs, part->seq_index, &rows, error);

    if (status == ATTN_OK)
        predict_rows(plan, part, &rows, out);
    release_rows(&rows);
    return status;
}

static attn_status predict_backward(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                    attn_prediction *out, attn_error *error)
{
    halo_rows rows;
    const attn_status status = find_rows(&plan->problem, needs, part->seq_index, &rows, error);

    if (status == ATTN_OK) {
        const attn_owner_setup setup = owner_setup(&rows);

        predict_rows(plan, part, &rows, out);
        attn_owner_sums_predict(plan, part, &setup, out);
        attn_share_predict(plan, part, out);
    }
    release_rows(&rows);
    return status;
}

static void destroy(attn_exchange_state *base)
{
    halo_state *state = (halo_state *)base;

    if (state == NULL)
        return;
    attn_steps_destroy(state->steps);
    attn_owner_sums_destroy(state->sums);
    attn_transfers_release(&state->transfers);
    release_rows(&state->rows);
    free(state->packed);
    free(state->received);
    free(state->k);
    free(state->v);
    free(state->dk);
    free(state->dv);
    free(state);
}

static attn_status make_buffers(halo_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const halo_rows *rows = &state->rows;
    int64_t packed = 0, received = 0, sent = 0, at = 0;

    for (int r = 0; r < rows->ranks; r++) {
        packed += packed_bytes(group->plan, group->part, rows->sent[r]);
        sent += both_bytes(group->plan, group->part, rows->sent[r]);
        received += both_bytes(group->plan, group->part, rows->got[r]);
    }
    state->packed = attn_aligned_alloc((size_t)packed);
    state->received = attn_aligned_alloc((size_t)received);
    state->k = attn_calloc_array(rows->ranks, sizeof *state->k);
    state->v = attn_calloc_array(rows->ranks, sizeof *state->v);
    state->dk = attn_calloc_array(rows->ranks, sizeof *state->dk);
    state->dv = attn_calloc_array(rows->ranks, sizeof *state->dv);
    if (state->packed == NULL || state->received == NULL || state->k == NULL || state->v == NULL || state->dk == NULL ||
        state->dv == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for keys and values of other ranks, %lld bytes",
                              (long long)(packed + received));
    for (int r = 0; r < rows->ranks; r++) {
        const int64_t heads = group->part->kv_head_count, count = rows->counts[r];

        if (rows->got[r] == NULL)
            continue;
        state->k[state->parts] = attn_array_dense(state->received + at, heads, count, shape->head_dim);
        at += row_bytes(group->plan, group->part, count, shape->head_dim);
        state->v[state->parts++] = attn_array_dense(state->received + at, heads, count, shape->v_head_dim);
        at += row_bytes(group->plan, group->part, count, shape->v_head_dim);
    }
    return attn_transfers_create(group->comm, group->message_bytes, 4 * (int64_t)rows->ranks, sent + received,
                                 &state->transfers, error);
}

static attn_status make_steps(halo_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_segments *const own[] = {group->part->kv_rows};
    const attn_segments **parts = attn_calloc_array(state->rows.ranks, sizeof(attn_segments *));
    attn_steps_setup setup = attn_steps_of_group(group);
    const attn_step_parts steps[] = {{1, own}, {state->parts, parts}};
    int64_t count = 0;
    attn_status status;

    if (parts == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d parts", state->parts);
    for (int r = 0; r < state->rows.ranks; r++)
        if (state->rows.parts[r] != NULL)
            parts[count++] = state->rows.parts[r];
    setup.step_count = 2;
    setup.steps = steps;
    setup.dkv_dtype = attn_dtype_accumulator(group->plan->problem.dtype);
    status = attn_steps_create(&setup, &state->steps, error);
    free(parts);
    return status;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    halo_state *state = calloc(1, sizeof *state);
    attn_status status;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    status = find_rows(&group->plan->problem, group->needs, group->part->seq_index, &state->rows, error);
    if (status == ATTN_OK)
        status = make_buffers(state, error);
    if (status == ATTN_OK)
        status = make_steps(state, error);
    if (status == ATTN_OK && group->plan->pass == ATTN_PASS_BACKWARD) {
        const attn_owner_setup setup = owner_setup(&state->rows);

        status = attn_owner_sums_create(&state->base.group, &setup, &state->sums, error);
    }
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

/* Starts all receives, and the sends rank by rank, each as soon as it is packed. */
static void start(halo_state *state, const attn_exchange_call *call, attn_laps *laps)
{
    const attn_group *group = &state->base.group;
    const attn_plan *plan = group->plan;
    const int64_t D = plan->problem.shape.head_dim, Dv = plan->problem.shape.v_head_dim;
    const halo_rows *rows = &state->rows;
    char *packed = state->packed;

    for (int r = 0, part = 0; r < rows->ranks; r++) {
        if (rows->got[r] == NULL)
            continue;
        attn_transfers_receive(&state->transfers, state->k[part].data, row_bytes(plan, group->part, rows->counts[r], D),
                               r, TAG_KEYS);
        attn_transfers_receive(&state->transfers, state->v[part++].data,
                               row_bytes(plan, group->part, rows->counts[r], Dv), r, TAG_VALUES);
    }
    attn_lap(laps, ATTN_PHASE_EXCHANGE);
    for (int r = 0; r < rows->ranks; r++) {
        const attn_segments *sent = rows->sent[r];
        const char *k = call->k, *v = call->v;

        if (sent == NULL)
            continue;
        if (together(plan, group->part, sent)) {
            k += (size_t)(sent->list[0].begin * D) * attn_dtype_size(plan->problem.dtype);
            v += (size_t)(sent->list[0].begin * Dv) * attn_dtype_size(plan->problem.dtype);
        } else {
            char *const k_packed = packed, *const v_packed = packed + row_bytes(plan, group->part, sent->rows, D);

            attn_pack_rows(group, sent, call->k, D, k_packed);
            attn_pack_rows(group, sent, call->v, Dv, v_packed);
            packed += both_bytes(plan, group->part, sent);
            k = k_packed;
            v = v_packed;
            attn_lap(laps, ATTN_PHASE_PACK);
        }
        attn_transfers_send(&state->transfers, k, row_bytes(plan, group->part, sent->rows, D), r, TAG_KEYS);
        attn_transfers_send(&state->transfers, v, row_bytes(plan, group->part, sent->rows, Dv), r, TAG_VALUES);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
    }
}

/* A rank's own keys or values. */
static attn_array own_array(const halo_state *state, const void *data, int64_t width)
{
    const attn_part *part = state->base.group.part;

    return attn_array_of_const(data, part->kv_head_count, part->kv_rows->rows, width);
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    halo_state *state = (halo_state *)base;
    const attn_shape *shape = &base->group.plan->problem.shape;
    const attn_array k = own_array(state, call->k, shape->head_dim), v = own_array(state, call->v, shape->v_head_dim);
    const attn_progress progress = attn_transfers_progress(&state->transfers);
    attn_status status;

    start(state, call, laps);
    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    attn_steps_forward_step(state->steps, 0, &k, &v, &progress, laps);
    status = attn_transfers_wait(&state->transfers, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    attn_steps_forward_step(state->steps, 1, state->k, state->v, NULL, laps);
    attn_steps_forward_end(state->steps, laps);
    return ATTN_OK;
}

static attn_status backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error)
{
    halo_state *state = (halo_state *)base;
    const attn_shape *shape = &base->group.plan->problem.shape;
    const attn_array k = own_array(state, call->k, shape->head_dim), v = own_array(state, call->v, shape->v_head_dim);
    const attn_progress progress = attn_transfers_progress(&state->transfers);
    attn_array dk, dv;
    attn_status status;

    for (int r = 0, part = 0; r < state->rows.ranks; r++)
        if (state->rows.got[r] != NULL) {
            attn_owner_sums_place(state->sums, call, r, &state->dk[part], &state->dv[part]);
            part++;
        }
    attn_owner_sums_place(state->sums, call, state->rows.mine, &dk, &dv);
    attn_owner_sums_expect(state->sums);
    start(state, call, laps);
    attn_steps_backward(state->steps, &(attn_steps_rows){call->q, call->o, call->lse, call->d_o, call->dq});
    attn_steps_backward_step(state->steps, 0, &k, &v, &dk, &dv, &progress, laps);
    status = attn_transfers_wait(&state->transfers, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    attn_steps_backward_step(state->steps, 1, state->k, state->v, state->dk, state->dv, NULL, laps);
    attn_steps_backward_end(state->steps, laps);
    return attn_owner_sums_return(state->sums, call, laps, error);
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward, .backward = backward};

const attn_exchange attn_exchange_halo = {
    .name = "halo",
    .summary = "each rank gets the keys and values that its rows see and no others: for windows",
    .transfers = 1U << ATTN_TRANSFER_NONBLOCKING,
    .transfer = ATTN_TRANSFER_NONBLOCKING,
    .predict = predict,
    .predict_backward = predict_backward,
    .cost = {.overlaps = ~(1U << ATTN_TRANSFER_BLOCKING), .copies = 1, .far_share = attn_far_seen},
    .ops = &ops};
