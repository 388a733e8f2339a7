/* Exchange `ring`: keys and values travel from rank to rank while they are computed on (Liu et al. 2023, "Ring Attention
 * with Blockwise Transformers").
 *
 * At step s rank r computes with the part of rank r - s (mod p), while it sends that part on to r + 1 and receives the
 * next one from r - 1. A part stops at the last rank on its way that sees it, so full attention hands over 2 hkv X bytes
 * in each of p - 1 steps, and a causal mask on a contiguous layout half of that on average. Two buffers take the parts in
 * turn.
 *
 * Backward, sums of dk and dv travel one step behind the part that they belong to, each rank adding its share, and
 * from the last rank straight home: p more messages of sums. So the order of the sum is that of the ring from the owner
 * on, whatever arrives when. */
#include "dist/exchange.h"
#include "dist/pieces.h"
#include "dist/share_heads.h"
#include "dist/steps.h"
#include "dist/transfers.h"

#include <attn/memory.h>

#include <stdlib.h>
#include <string.h>

enum { TAG_KEYS = 1, TAG_VALUES, TAG_SUMS, TAG_HOME };

typedef struct ring_state {
    attn_exchange_state base;
    int ranks, mine, next, before;
    void *k[2], *v[2]; /* two parts on their way */
    void *sums[4];     /* backward: dk and dv of two parts on their way, and this rank's share of one */
    attn_steps *steps; /* step s: the part of rank mine - s */
    attn_transfers parts, dkv, home;
} ring_state;

/* Bytes of a part's keys (of D elements) or values (Dv), or of their sums. */
static int64_t part_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j, int64_t width,
                          attn_dtype dtype)
{
    return plan->problem.shape.batch * part->kv_head_count * needs->kv_rows[j]->rows * width *
           (int64_t)attn_dtype_size(dtype);
}

static int64_t key_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j)
{
    return part_bytes(plan, needs, part, j, plan->problem.shape.head_dim, plan->problem.dtype);
}

static int64_t value_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j)
{
    return part_bytes(plan, needs, part, j, plan->problem.shape.v_head_dim, plan->problem.dtype);
}

static int64_t sum_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j)
{
    return part_bytes(plan, needs, part, j, plan->problem.shape.head_dim + plan->problem.shape.v_head_dim,
                      attn_dtype_accumulator(plan->problem.dtype));
}

/* The part with most rows among those that travel; -1: none does. */
static int largest_part(const attn_needs *needs)
{
    int largest = -1;

    for (int j = 0; j < needs->parts; j++)
        if (needs->reach[j] > 0 && (largest < 0 || needs->kv_rows[j]->rows > needs->kv_rows[largest]->rows))
            largest = j;
    return largest;
}

static int64_t seen_steps(const attn_needs *needs, int mine)
{
    int64_t seen = 0;

    for (int j = 0; j < needs->parts; j++)
        seen += attn_needs_see(needs, mine, j);
    return seen;
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const int ranks = needs->parts, largest = largest_part(needs);

    (void)error;
    for (int s = 0; s < ranks - 1; s++) {
        const int j = (part->seq_index - s + ranks) % ranks;

        if (s >= needs->reach[j])
            continue;
        out->exchange_bytes += (double)(key_bytes(plan, needs, part, j) + value_bytes(plan, needs, part, j));
        out->messages += (double)(attn_transfers_messages(key_bytes(plan, needs, part, j), ATTN_MESSAGE_BYTES) +
                                  attn_transfers_messages(value_bytes(plan, needs, part, j), ATTN_MESSAGE_BYTES));
    }
    if (largest >= 0)
        out->extra_bytes +=
            2 * (double)(key_bytes(plan, needs, part, largest) + value_bytes(plan, needs, part, largest));
    if (part->head_count > 0)
        out->extra_bytes +=
            attn_steps_extra_bytes(plan, part->head_count, part->q_rows->rows, seen_steps(needs, part->seq_index));
    return ATTN_OK;
}

static attn_status predict_backward(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                    attn_prediction *out, attn_error *error)
{
    const int ranks = needs->parts;
    double most = 0;

    for (int s = 0; s < ranks; s++) {
        const int j = (part->seq_index - s + ranks) % ranks;

        most = (double)sum_bytes(plan, needs, part, j) > most ? (double)sum_bytes(plan, needs, part, j) : most;
        if (needs->reach[j] <= 0 || s > needs->reach[j])
            continue;
        out->exchange_bytes += (double)sum_bytes(plan, needs, part, j);
        out->messages += (double)attn_transfers_messages(sum_bytes(plan, needs, part, j), ATTN_MESSAGE_BYTES);
    }
    out->extra_bytes += 4 * most;
    attn_share_predict(plan, part, out);
    return predict(plan, needs, part, out, error);
}

static void destroy(attn_exchange_state *base)
{
    ring_state *state = (ring_state *)base;

    if (state == NULL)
        return;
    for (int n = 0; n < 2; n++) {
        free(state->k[n]);
        free(state->v[n]);
    }
    for (int n = 0; n < 4; n++)
        free(state->sums[n]);
    attn_steps_destroy(state->steps);
    attn_transfers_release(&state->parts);
    attn_transfers_release(&state->dkv);
    attn_transfers_release(&state->home);
    free(state);
}

static attn_status make_steps(ring_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    attn_steps_setup setup = attn_steps_of_group(group);
    attn_step_parts *steps = calloc((size_t)state->ranks, sizeof *steps);
    const attn_segments **rows = calloc((size_t)state->ranks, sizeof(attn_segments *));
    attn_status status;

    if (steps == NULL || rows == NULL) {
        free(steps);
        free(rows);
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d steps", state->ranks);
    }
    for (int s = 0; s < state->ranks; s++) {
        rows[s] = group->needs->kv_rows[(state->mine - s + state->ranks) % state->ranks];
        steps[s] = (attn_step_parts){1, &rows[s]};
    }
    setup.step_count = state->ranks;
    setup.steps = steps;
    setup.dkv_dtype = attn_dtype_accumulator(group->plan->problem.dtype);
    status = attn_steps_create(&setup, &state->steps, error);
    free(steps);
    free(rows);
    return status;
}

static attn_status make_buffers(ring_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_plan *plan = group->plan;
    const int largest = largest_part(group->needs);
    int64_t k = 0, v = 0, sums = 0;
    attn_status status;

    if (largest >= 0) {
        k = key_bytes(plan, group->needs, group->part, largest);
        v = value_bytes(plan, group->needs, group->part, largest);
    }
    for (int j = 0; plan->pass == ATTN_PASS_BACKWARD && j < state->ranks; j++)
        sums =
            sum_bytes(plan, group->needs, group->part, j) > sums ? sum_bytes(plan, group->needs, group->part, j) : sums;
    for (int n = 0; n < 2 && k > 0; n++) {
        state->k[n] = attn_aligned_alloc((size_t)k);
        state->v[n] = attn_aligned_alloc((size_t)v);
        if (state->k[n] == NULL || state->v[n] == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for keys and values on their way, twice %lld bytes",
                                  (long long)(k + v));
    }
    for (int n = 0; n < 4 && sums > 0; n++) {
        state->sums[n] = attn_aligned_alloc((size_t)sums);
        if (state->sums[n] == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for sums of dk and dv, four times %lld bytes",
                                  (long long)sums);
    }
    status = attn_transfers_create(group->comm, group->message_bytes, 4, 2 * (k + v), &state->parts, error);
    if (status == ATTN_OK)
        status = attn_transfers_create(group->comm, group->message_bytes, 2, 2 * sums, &state->dkv, error);
    return status == ATTN_OK ? attn_transfers_create(group->comm, group->message_bytes, 1, sums, &state->home, error)
                             : status;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    ring_state *state = calloc(1, sizeof *state);
    attn_status status;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    state->ranks = group->plan->grid.seq;
    state->mine = group->part->seq_index;
    state->next = (state->mine + 1) % state->ranks;
    state->before = (state->mine + state->ranks - 1) % state->ranks;
    status = make_buffers(state, error);
    if (status == ATTN_OK)
        status = make_steps(state, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

/* A part, where it stands at step s. */
typedef struct ring_place {
    int j; /* its owner */
    const void *k, *v;
} ring_place;

static ring_place place_at(const ring_state *state, const attn_exchange_call *call, int s)
{
    const int j = (state->mine - s + state->ranks) % state->ranks;

    return s == 0 ? (ring_place){j, call->k, call->v} : (ring_place){j, state->k[(s - 1) % 2], state->v[(s - 1) % 2]};
}

/* Sends the part of step s on, and receives that of the next step, as far as anybody on the way sees them. */
static void start_step(ring_state *state, const ring_place *here, int s)
{
    const attn_group *group = &state->base.group;
    const attn_needs *needs = group->needs;
    const int coming = (state->mine - s - 1 + state->ranks) % state->ranks;

    if (s + 1 < state->ranks && s + 1 <= needs->reach[coming]) {
        attn_transfers_receive(&state->parts, state->k[s % 2], key_bytes(group->plan, needs, group->part, coming),
                               state->before, TAG_KEYS);
        attn_transfers_receive(&state->parts, state->v[s % 2], value_bytes(group->plan, needs, group->part, coming),
                               state->before, TAG_VALUES);
    }
    if (s < needs->reach[here->j]) {
        attn_transfers_send(&state->parts, here->k, key_bytes(group->plan, needs, group->part, here->j), state->next,
                            TAG_KEYS);
        attn_transfers_send(&state->parts, here->v, value_bytes(group->plan, needs, group->part, here->j), state->next,
                            TAG_VALUES);
    }
}

static attn_array part_array(const ring_state *state, int j, const void *data, int64_t width)
{
    return attn_array_of_const(data, state->base.group.part->kv_head_count, state->base.group.needs->kv_rows[j]->rows,
                               width);
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    ring_state *state = (ring_state *)base;
    const attn_shape *shape = &base->group.plan->problem.shape;
    const attn_progress progress = attn_transfers_progress(&state->parts);
    attn_status status = ATTN_OK;

    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    for (int s = 0; s < state->ranks && status == ATTN_OK; s++) {
        const ring_place here = place_at(state, call, s);
        const attn_array k = part_array(state, here.j, here.k, shape->head_dim);
        const attn_array v = part_array(state, here.j, here.v, shape->v_head_dim);

        start_step(state, &here, s);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
        attn_steps_forward_step(state->steps, s, &k, &v, &progress, laps);
        status = attn_transfers_wait(&state->parts, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    }
    if (status == ATTN_OK)
        attn_steps_forward_end(state->steps, laps);
    return status;
}

/* ---- Backward ---- */

/* Arrays of the sums of part j in a buffer: dk, then dv. */
static void sum_arrays(const ring_state *state, int j, void *buffer, attn_array *dk, attn_array *dv)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const attn_dtype dtype = attn_dtype_accumulator(group->plan->problem.dtype);

    *dk = part_array(state, j, buffer, shape->head_dim);
    *dv = part_array(state, j,
                     (char *)buffer + part_bytes(group->plan, group->needs, group->part, j, shape->head_dim, dtype),
                     shape->v_head_dim);
}

/* sums += share, element by element. */
static void add(attn_dtype dtype, int64_t bytes, void *sums, const void *share, int threads)
{
    const int64_t count = bytes / (int64_t)attn_dtype_size(dtype);

    if (dtype == ATTN_FLOAT64) {
        double *restrict to = sums;
        const double *restrict from = share;

#pragma omp parallel for simd schedule(static) num_threads(threads)
        for (int64_t n = 0; n < count; n++)
            to[n] += from[n];
    } else {
        float *restrict to = sums;
        const float *restrict from = share;

#pragma omp parallel for simd schedule(static) num_threads(threads)
        for (int64_t n = 0; n < count; n++)
            to[n] += from[n];
    }
}

/* The complete sums of this rank's part become dk and dv. */
static void store_home(const ring_state *state, const attn_exchange_call *call, void *sums)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const attn_dtype dtype = attn_dtype_accumulator(group->plan->problem.dtype);
    const int64_t lines = shape->batch * group->part->kv_head_count * group->part->kv_rows->rows;
    attn_array dk, dv;

    sum_arrays(state, state->mine, sums, &dk, &dv);
    attn_convert(group->dkv_dtype, call->dk, dtype, dk.data, (size_t)(lines * shape->head_dim));
    attn_convert(group->dkv_dtype, call->dv, dtype, dv.data, (size_t)(lines * shape->v_head_dim));
}

/* One step of the sums: this rank's share is computed, added to what comes along, and handed on. */
static attn_status step_sums(ring_state *state, const attn_exchange_call *call, const ring_place *here, int s,
                             attn_laps *laps, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int reach = group->needs->reach[here->j];
    const int64_t bytes = sum_bytes(group->plan, group->needs, group->part, here->j);
    const attn_array k = part_array(state, here->j, here->k, shape->head_dim);
    const attn_array v = part_array(state, here->j, here->v, shape->v_head_dim);
    const attn_progress progress = attn_transfers_progress(&state->parts);
    void *const sums = state->sums[s % 2], *const share = s == 0 ? sums : state->sums[2];
    attn_array dk, dv;
    attn_status status;

    if (s > (reach > 0 ? reach : 0))
        return attn_transfers_wait(&state->dkv, error);
    /* What was handed on in the step before leaves from the other buffer; this one is free since the wait there. */
    if (s > 0)
        attn_transfers_receive(&state->dkv, sums, bytes, state->before, TAG_SUMS);
    sum_arrays(state, here->j, share, &dk, &dv);
    if (s == 0 || attn_steps_see(state->steps, s))
        attn_steps_backward_step(state->steps, s, &k, &v, &dk, &dv, &progress, laps);
    status = attn_transfers_wait(&state->dkv, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    if (s > 0 && attn_steps_see(state->steps, s)) {
        add(attn_dtype_accumulator(group->plan->problem.dtype), bytes, sums, share, group->plan->threads);
        attn_lap(laps, ATTN_PHASE_MERGE);
    }
    if (reach <= 0)
        store_home(state, call, sums);
    else
        attn_transfers_send(&state->dkv, sums, bytes, s < reach ? state->next : here->j,
                            s < reach ? TAG_SUMS : TAG_HOME);
    return ATTN_OK;
}

static attn_status backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error)
{
    ring_state *state = (ring_state *)base;
    const attn_group *group = &base->group;
    const int reach = group->needs->reach[state->mine];
    attn_status status = ATTN_OK;

    if (reach > 0) /* before anybody may wait for having sent it */
        attn_transfers_receive(&state->home, state->sums[3],
                               sum_bytes(group->plan, group->needs, group->part, state->mine),
                               (state->mine + reach) % state->ranks, TAG_HOME);
    attn_steps_backward(state->steps, &(attn_steps_rows){call->q, call->o, call->lse, call->d_o, call->dq});
    for (int s = 0; s < state->ranks && status == ATTN_OK; s++) {
        const ring_place here = place_at(state, call, s);

        start_step(state, &here, s);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
        status = step_sums(state, call, &here, s, laps, error);
        if (status == ATTN_OK)
            status = attn_transfers_wait(&state->parts, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    }
    if (status != ATTN_OK)
        return status;
    status = attn_transfers_wait(&state->dkv, error);
    if (status == ATTN_OK)
        status = attn_transfers_wait(&state->home, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    if (reach > 0)
        store_home(state, call, state->sums[3]);
    attn_steps_backward_end(state->steps, laps);
    return ATTN_OK;
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward, .backward = backward};

const attn_exchange attn_exchange_ring = {
    .name = "ring",
    .summary = "keys and values travel from rank to rank, each step hidden behind the one before",
    .transfers = 1U << ATTN_TRANSFER_NONBLOCKING,
    .transfer = ATTN_TRANSFER_NONBLOCKING,
    .predict = predict,
    .predict_backward = predict_backward,
    .ops = &ops};
