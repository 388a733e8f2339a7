/* Exchange `tree`: keys and values stay; few query rows go to all of them, and partial results are reduced in a tree
 * (Shyam et al. 2024, "Tree Attention: Topology-aware Decoding for Long-Context Attention on GPU clusters"). For
 * decoding: a step takes 2 ceil(log2 p) rounds of small messages, where a ring takes p.
 *
 * The rows of each owner have a binomial tree of their own: the owner has seat 0, and the ranks that have keys which
 * its rows see have seats 1 ... n - 1 in the order of the ring from the owner on. Downwards q goes from seat t to t + d
 * in rounds d = ..., 4, 2, 1 (t a multiple of 2 d); each seat computes a partial result (o, lse) of the rows over its
 * own keys; upwards, d = 1, 2, 4, ..., seat t + d hands its packed result to t, which merges it. So the order of merges
 * is that of the seats, whatever arrives when. A sink is added at the owner. The trees of all owners take their rounds
 * together.
 *
 * Volume: for T rows of an owner every other seat receives q once, B T hq D e bytes, and sends B T hq a (Dv + 1) bytes
 * once, a bytes an accumulator; so each tree hands over n - 1 times their sum. */
#include "core/checked.h"
#include "dist/exchange.h"
#include "dist/own_keys.h"
#include "dist/pieces.h"
#include "dist/transfers.h"

#include <attn/memory.h>

#include <assert.h>
#include <stdlib.h>

enum { TAG_Q = 1, TAG_PARTIAL };

/* This rank's place in the tree of one owner. */
typedef struct tree_place {
    int seats, seat; /* of the tree; this rank's, -1: none */
    char *q;         /* of the owner's rows; NULL: the caller's */
    char *packed;    /* this rank's partial result of them; NULL at the owner */
    char *incoming;  /* what is merged into it in the round under way */
} tree_place;

typedef struct tree_state {
    attn_exchange_state base;
    int ranks, mine, rounds;
    tree_place *places;    /* [ranks] by owner */
    char *kept, *incoming; /* memory of q and packed results, and of those of a round */
    attn_own_keys *keys;
    attn_transfers transfers; /* of one round */
} tree_state;

/* Seats in the tree of owner j, and that of rank i. */
static tree_place place_of(const attn_needs *needs, int j, int i)
{
    tree_place place = {.seats = 1, .seat = i == j ? 0 : -1};

    for (int away = 1; away < needs->parts; away++) {
        const int rank = (j + away) % needs->parts;

        if (!attn_needs_see(needs, j, rank))
            continue;
        if (rank == i)
            place.seat = place.seats;
        place.seats++;
    }
    return place;
}

/* The rank on a seat in the tree of owner j. */
static int rank_at(const attn_needs *needs, int j, int seat)
{
    int away = 0;

    for (int found = 0; found < seat; away++)
        found += attn_needs_see(needs, j, (j + away + 1) % needs->parts);
    return (j + away) % needs->parts;
}

/* Whether a seat has another one d above it that it shares an edge with, or one d below it. */
static bool has_child(const tree_place *place, int d)
{
    return place->seat >= 0 && place->seat % (2 * d) == 0 && place->seat + d < place->seats;
}

static bool has_parent(const tree_place *place, int d)
{
    return place->seat >= 0 && place->seat % (2 * d) == d;
}

/* Bytes of the buffers of one rank: what it keeps of other owners, and what comes in the round that brings most. */
static void buffer_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int64_t *kept,
                         int64_t *incoming)
{
    *kept = *incoming = 0;
    for (int d = 1; d < needs->parts; d *= 2) {
        int64_t round = 0;

        for (int j = 0; j < needs->parts; j++) {
            const tree_place place = place_of(needs, j, part->seq_index);

            if (has_child(&place, d))
                round += attn_own_keys_packed_bytes(plan, needs, part, j);
            if (has_parent(&place, d))
                *kept += attn_own_keys_q_bytes(plan, needs, part, j) + attn_own_keys_packed_bytes(plan, needs, part, j);
        }
        *incoming = round > *incoming ? round : *incoming;
    }
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    int64_t kept, incoming;

    (void)error;
    for (int j = 0; j < needs->parts; j++) {
        const tree_place place = place_of(needs, j, part->seq_index);
        const int64_t q = attn_own_keys_q_bytes(plan, needs, part, j);
        const int64_t packed = attn_own_keys_packed_bytes(plan, needs, part, j);

        for (int d = 1; d < place.seats; d *= 2) {
            out->exchange_bytes += (double)(has_child(&place, d) * q + has_parent(&place, d) * packed);
            out->messages += (double)(has_child(&place, d) * attn_transfers_messages(q, ATTN_MESSAGE_BYTES) +
                                      has_parent(&place, d) * attn_transfers_messages(packed, ATTN_MESSAGE_BYTES));
        }
    }
    buffer_bytes(plan, needs, part, &kept, &incoming);
    out->extra_bytes += (double)kept + (double)incoming + attn_own_keys_extra_bytes(plan, needs, part);
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    tree_state *state = (tree_state *)base;

    if (state == NULL)
        return;
    attn_own_keys_destroy(state->keys);
    attn_transfers_release(&state->transfers);
    free(state->places);
    free(state->kept);
    free(state->incoming);
    free(state);
}

static int64_t q_bytes(const tree_state *state, int j)
{
    return attn_own_keys_q_bytes(state->base.group.plan, state->base.group.needs, state->base.group.part, j);
}

static int64_t packed_bytes(const tree_state *state, int j)
{
    return attn_own_keys_packed_bytes(state->base.group.plan, state->base.group.needs, state->base.group.part, j);
}

/* Takes the seats, and makes room for what other owners' rows need. Packed results stand before q, whose elements may
 * be smaller. */
static attn_status take_places(tree_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    int64_t kept, incoming;
    char *room;

    buffer_bytes(group->plan, group->needs, group->part, &kept, &incoming);
    state->kept = attn_aligned_alloc((size_t)kept);
    state->incoming = attn_aligned_alloc((size_t)incoming);
    state->places = attn_calloc_array(state->ranks, sizeof *state->places);
    if (state->kept == NULL || state->incoming == NULL || state->places == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for queries and partial results, %lld bytes",
                              (long long)(kept + incoming));
    room = state->kept;
    for (int j = 0; j < state->ranks; j++) {
        state->places[j] = place_of(group->needs, j, state->mine);
        if (state->places[j].seat <= 0)
            continue;
        state->places[j].packed = room;
        room += packed_bytes(state, j);
    }
    for (int j = 0; j < state->ranks; j++) {
        if (state->places[j].seat <= 0)
            continue;
        state->places[j].q = room;
        room += q_bytes(state, j);
    }
    for (state->rounds = 1; state->rounds < state->ranks; state->rounds *= 2)
        continue;
    /* In a round each tree has one send or receive here, of its q or of its result. */
    return attn_transfers_create(group->comm, group->message_bytes, state->ranks,
                                 kept + q_bytes(state, state->mine) + packed_bytes(state, state->mine),
                                 &state->transfers, error);
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    tree_state *state = calloc(1, sizeof *state);
    attn_status status;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    state->ranks = group->plan->grid.seq;
    state->mine = group->part->seq_index;
    status = take_places(state, error);
    if (status == ATTN_OK)
        status = attn_own_keys_create(group, &state->keys, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

/* Starts the round d downwards: q of every owner goes from its seats to those d above. */
static void start_down(tree_state *state, const attn_exchange_call *call, int d)
{
    const attn_needs *needs = state->base.group.needs;

    for (int j = 0; j < state->ranks; j++) {
        const tree_place *const place = &state->places[j];

        if (has_parent(place, d))
            attn_transfers_receive(&state->transfers, place->q, q_bytes(state, j), rank_at(needs, j, place->seat - d),
                                   TAG_Q);
        if (has_child(place, d))
            attn_transfers_send(&state->transfers, j == state->mine ? call->q.data : place->q, q_bytes(state, j),
                                rank_at(needs, j, place->seat + d), TAG_Q);
    }
}

/* Starts the round d upwards: partial results go from the seats to those d below. */
static void start_up(tree_state *state, int d)
{
    const attn_needs *needs = state->base.group.needs;
    char *room = state->incoming;

    for (int j = 0; j < state->ranks; j++) {
        tree_place *const place = &state->places[j];

        if (has_child(place, d)) {
            place->incoming = room;
            room += packed_bytes(state, j);
            attn_transfers_receive(&state->transfers, place->incoming, packed_bytes(state, j),
                                   rank_at(needs, j, place->seat + d), TAG_PARTIAL);
        }
        if (has_parent(place, d))
            attn_transfers_send(&state->transfers, place->packed, packed_bytes(state, j),
                                rank_at(needs, j, place->seat - d), TAG_PARTIAL);
    }
}

static void merge(tree_state *state, int d, attn_laps *laps)
{
    for (int j = 0; j < state->ranks; j++) {
        const tree_place *const place = &state->places[j];

        if (!has_child(place, d))
            continue;
        if (j == state->mine)
            attn_own_keys_gather(state->keys, place->incoming, laps);
        else
            attn_own_keys_merge(state->keys, j, place->packed, place->incoming, laps);
    }
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    tree_state *state = (tree_state *)base;
    const attn_progress progress = attn_transfers_progress(&state->transfers);
    attn_status status = ATTN_OK;

    for (int d = state->rounds / 2; d >= 1 && status == ATTN_OK; d /= 2) {
        start_down(state, call, d);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
        if (d == state->rounds / 2) /* own rows need not wait */
            attn_own_keys_begin(state->keys, call, &progress, laps);
        status = attn_transfers_wait(&state->transfers, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    }
    for (int j = 0; j < state->ranks && status == ATTN_OK; j++)
        if (state->places[j].seat > 0)
            attn_own_keys_compute(state->keys, j, state->places[j].q, state->places[j].packed, &progress, laps);
    for (int d = 1; d < state->rounds && status == ATTN_OK; d *= 2) {
        start_up(state, d);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
        status = attn_transfers_wait(&state->transfers, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
        if (status == ATTN_OK)
            merge(state, d, laps);
    }
    if (status == ATTN_OK)
        attn_own_keys_end(state->keys, laps);
    return status;
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward};

const attn_exchange attn_exchange_tree = {
    .name = "tree",
    .summary = "queries go to the keys, partial results come back merged in a binary tree: for few rows",
    .transfers = 1U << ATTN_TRANSFER_NONBLOCKING,
    .transfer = ATTN_TRANSFER_NONBLOCKING,
    .predict = predict,
    .ops = &ops};
