/* Exchange `ring-q`: queries travel from rank to rank, and keys and values stay (pass-Q of Yang et al. 2024, "Context
 * Parallelism for Scalable Million-Token Inference"). For few new rows over many kept keys.
 *
 * At step s rank r computes the rows of rank j = r - s (mod p) over its own keys, while it sends their q on to r + 1
 * and receives that of the next step from r - 1. The partial results (o, lse) travel one step behind: r receives what
 * the ranks j + 1 ... r - 1 made of the rows while it computes, merges its own into it and hands it on, and the last
 * rank that has keys which the rows see sends it straight home. What a rank makes of its own rows stays there, and gets
 * the rest at the end: so the order of merges is that of the ring from the rank after the owner on, and then the owner.
 * A sink is added at home.
 *
 * Volume: q stops at the last rank with keys that its rows see, `reach` steps away, and partial results begin at the
 * first such, `first` steps away: reach times hq X, and reach - first + 1 times B S/p hq a (Dv + 1) bytes of
 * accumulators of a bytes; a full mask has reach = p - 1, first = 1. So it hands over less than the ring where q rows
 * are few beside kv rows, or query heads share theirs with none. */
#include "dist/exchange.h"
#include "dist/own_keys.h"
#include "dist/pieces.h"
#include "dist/transfers.h"

#include <attn/memory.h>

#include <stdlib.h>

enum { TAG_Q = 1, TAG_PARTIAL, TAG_HOME };

typedef struct ring_q_state {
    attn_exchange_state base;
    int ranks, mine, next, before;
    void *q[2];         /* of two ranks on their way */
    void *partials[2];  /* packed results of two ranks on their way */
    void *share, *home; /* this rank's part in one of them; what comes back for its own rows */
    attn_own_keys *keys;
    attn_transfers travels, comes_home;
} ring_q_state;

/* Bytes that a buffer of q, and one of partial results, must hold: of all ranks whose q travels the most. */
static void most_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int64_t *q,
                       int64_t *packed)
{
    *q = *packed = 0;
    for (int j = 0; j < needs->parts; j++) {
        const int64_t j_q = attn_own_keys_q_bytes(plan, needs, part, j);
        const int64_t j_packed = attn_own_keys_packed_bytes(plan, needs, part, j);

        if (needs->q_reach[j] == 0)
            continue;
        *q = j_q > *q ? j_q : *q;
        *packed = j_packed > *packed ? j_packed : *packed;
    }
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const int ranks = needs->parts;
    int64_t q, packed;

    (void)error;
    for (int s = 0; s < ranks; s++) {
        const int j = (part->seq_index - s + ranks) % ranks;

        q = attn_own_keys_q_bytes(plan, needs, part, j);
        packed = attn_own_keys_packed_bytes(plan, needs, part, j);
        if (s < needs->q_reach[j]) {
            out->exchange_bytes += (double)q;
            out->messages += (double)attn_transfers_messages(q, ATTN_MESSAGE_BYTES);
        }
        if (s > 0 && s >= needs->q_first[j] && s <= needs->q_reach[j]) {
            out->exchange_bytes += (double)packed;
            out->messages += (double)attn_transfers_messages(packed, ATTN_MESSAGE_BYTES);
        }
    }
    most_bytes(plan, needs, part, &q, &packed);
    out->extra_bytes += 2 * (double)q + 3 * (double)packed + attn_own_keys_extra_bytes(plan, needs, part);
    if (needs->q_reach[part->seq_index] > 0)
        out->extra_bytes += (double)attn_own_keys_packed_bytes(plan, needs, part, part->seq_index);
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    ring_q_state *state = (ring_q_state *)base;

    if (state == NULL)
        return;
    for (int n = 0; n < 2; n++) {
        free(state->q[n]);
        free(state->partials[n]);
    }
    free(state->share);
    free(state->home);
    attn_own_keys_destroy(state->keys);
    attn_transfers_release(&state->travels);
    attn_transfers_release(&state->comes_home);
    free(state);
}

static attn_status make_buffers(ring_q_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    int64_t q, packed, home = 0;
    attn_status status;

    most_bytes(group->plan, group->needs, group->part, &q, &packed);
    if (group->needs->q_reach[state->mine] > 0)
        home = attn_own_keys_packed_bytes(group->plan, group->needs, group->part, state->mine);
    for (int n = 0; n < 2; n++) {
        state->q[n] = attn_aligned_alloc((size_t)q);
        state->partials[n] = attn_aligned_alloc((size_t)packed);
    }
    state->share = attn_aligned_alloc((size_t)packed);
    state->home = attn_aligned_alloc((size_t)home);
    if (state->q[0] == NULL || state->q[1] == NULL || state->partials[0] == NULL || state->partials[1] == NULL ||
        state->share == NULL || state->home == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for queries and partial results on their way, %lld bytes",
                              (long long)(2 * q + 3 * packed + home));
    status = attn_transfers_create(group->comm, group->message_bytes, 4, 2 * (q + packed), &state->travels, error);
    if (status == ATTN_OK)
        status = attn_transfers_create(group->comm, group->message_bytes, 1, home, &state->comes_home, error);
    if (status == ATTN_OK)
        status = attn_transfers_choose(&state->travels, group->plan->transfer, state->ranks + 1, error);
    return status == ATTN_OK ? attn_transfers_choose(&state->comes_home, group->plan->transfer, 1, error) : status;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    ring_q_state *state = calloc(1, sizeof *state);
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
        status = attn_own_keys_create(group, &state->keys, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

static int64_t q_bytes(const ring_q_state *state, int j)
{
    return attn_own_keys_q_bytes(state->base.group.plan, state->base.group.needs, state->base.group.part, j);
}

static int64_t packed_bytes(const ring_q_state *state, int j)
{
    return attn_own_keys_packed_bytes(state->base.group.plan, state->base.group.needs, state->base.group.part, j);
}

/* Sends the q of step s on, receives that of the next step, and what the ranks before made of the rows of this one. */
static void start_step(ring_q_state *state, const void *q, int j, int s)
{
    const attn_needs *needs = state->base.group.needs;
    const int coming = (j + state->ranks - 1) % state->ranks;

    if (s + 1 < state->ranks && s + 1 <= needs->q_reach[coming])
        attn_transfers_receive(&state->travels, state->q[s % 2], q_bytes(state, coming), state->before, TAG_Q);
    if (s < needs->q_reach[j])
        attn_transfers_send(&state->travels, q, q_bytes(state, j), state->next, TAG_Q);
    if (s > needs->q_first[j] && s <= needs->q_reach[j])
        attn_transfers_receive(&state->travels, state->partials[s % 2], packed_bytes(state, j), state->before,
                               TAG_PARTIAL);
}

/* Computes the rows of step s. The first rank that has keys for them begins their result; a later one has a share. */
static void compute_step(ring_q_state *state, const attn_exchange_call *call, const void *q, int j, int s,
                         attn_laps *laps)
{
    const attn_needs *needs = state->base.group.needs;
    const attn_progress progress = attn_transfers_progress(&state->travels);
    void *const to = s == needs->q_first[j] ? state->partials[s % 2] : state->share;

    if (s == 0)
        attn_own_keys_begin(state->keys, call, &progress, laps);
    else if (attn_needs_see(needs, j, state->mine))
        attn_own_keys_compute(state->keys, j, q, to, &progress, laps);
}

/* Merges this rank's share of the rows of step s into what has come, and hands it on. */
static void hand_on(ring_q_state *state, int j, int s, attn_laps *laps)
{
    const attn_needs *needs = state->base.group.needs;
    const bool last = s == needs->q_reach[j];

    if (s == 0 || s < needs->q_first[j] || s > needs->q_reach[j])
        return;
    if (s > needs->q_first[j] && attn_needs_see(needs, j, state->mine))
        attn_own_keys_merge(state->keys, j, state->partials[s % 2], state->share, laps);
    attn_transfers_send(&state->travels, state->partials[s % 2], packed_bytes(state, j), last ? j : state->next,
                        last ? TAG_HOME : TAG_PARTIAL);
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    ring_q_state *state = (ring_q_state *)base;
    const int reach = base->group.needs->q_reach[state->mine];
    attn_status status = ATTN_OK;

    attn_transfers_begin(&state->travels);
    attn_transfers_begin(&state->comes_home);
    if (reach > 0) /* before anybody may wait for having sent it */
        attn_transfers_receive(&state->comes_home, state->home, packed_bytes(state, state->mine),
                               (state->mine + reach) % state->ranks, TAG_HOME);
    for (int s = 0; s < state->ranks && status == ATTN_OK; s++) {
        const int j = (state->mine - s + state->ranks) % state->ranks;
        const void *const q = s == 0 ? call->q.data : state->q[(s - 1) % 2];

        start_step(state, q, j, s);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
        status = attn_transfers_ready(&state->travels, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
        if (status != ATTN_OK)
            break;
        compute_step(state, call, q, j, s, laps);
        /* What was handed on in the step before leaves from the other buffer, which the next step may take. */
        status = attn_transfers_wait(&state->travels, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
        if (status == ATTN_OK)
            hand_on(state, j, s, laps);
    }
    if (status == ATTN_OK)
        status = attn_transfers_wait(&state->travels, error);
    if (status == ATTN_OK)
        status = attn_transfers_wait(&state->comes_home, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    if (reach > 0)
        attn_own_keys_gather(state->keys, state->home, laps);
    attn_own_keys_end(state->keys, laps);
    return ATTN_OK;
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward};

const attn_exchange attn_exchange_ring_q = {
    .name = "ring-q",
    .summary = "queries and partial results travel from rank to rank, keys and values stay",
    .transfers = 1U << ATTN_TRANSFER_BLOCKING | 1U << ATTN_TRANSFER_NONBLOCKING | 1U << ATTN_TRANSFER_PERSISTENT,
    .transfer = ATTN_TRANSFER_NONBLOCKING,
    .predict = predict,
    .cost = {.overlaps = ~(1U << ATTN_TRANSFER_BLOCKING), .merges = ~0U, .far_share = attn_far_neighbour},
    .ops = &ops};
