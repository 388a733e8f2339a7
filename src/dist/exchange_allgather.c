/* Exchange `allgather`: every rank of a sequence group receives all keys and values of its heads.
 *
 * With p ranks that hold hkv heads of S/p rows, each rank hands its 2 hkv X bytes (X = B S/p D e) to p - 1 others, and
 * holds all 2 hkv p X in one buffer. What comes from rank r stays as it was there, so nothing is unpacked: the kernel
 * reads the parts in place, and a rank's own where the caller has it.
 *
 * `blocking` gathers first and computes then. A call gathers as many rows as keep a rank's message below its limit, at
 * least one. `nonblocking` gathers chunk by chunk, each some rows of every rank: a rank computes on its own part while
 * the first arrives, and on each chunk while the next does. Its own rows of a chunk are packed, and the results of the
 * chunks are merged.
 *
 * Backward, K and V are gathered in the same way. Each rank computes its share of dk and dv of all rows that it sees,
 * and sends it to their owner (owner_sums.h): up to 2 hkv (p - 1) X a / e more bytes, with accumulators of a bytes. */
#include "core/checked.h"
#include "dist/exchange.h"
#include "dist/owner_sums.h"
#include "dist/pack.h"
#include "dist/pieces.h"
#include "dist/share_heads.h"
#include "dist/steps.h"
#include "dist/touch.h"
#include "dist/transfers.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <limits.h>
#include <stdlib.h>

enum { CHUNKS = 4 }; /* the transfer of the first is hidden by the rank's own part, each other by a chunk */

/* Rows [first, first + rows) of the part of rank j, which a step reads. */
typedef struct gathered_rows {
    int j;
    int64_t first;
    attn_segments *rows; /* rows of the sequence */
} gathered_rows;

typedef struct allgather_state {
    attn_exchange_state base;
    int ranks, mine;
    bool chunked;
    attn_segments *const *rows; /* [ranks] */
    int64_t most;               /* rows of the rank that has most */
    int64_t chunk;              /* most rows of a rank in a chunk; all, when not chunked */
    int64_t chunks;
    int *counts, *places;      /* [chunks][ranks] rows of each rank in a chunk, and rows before them in the buffers */
    MPI_Datatype k_row, v_row; /* one row of all batches and heads of the group */
    void *k_all, *v_all;       /* chunk by chunk, of each rank [B,kv heads,rows of the chunk,D] (Dv) */
    int64_t step_count;
    int64_t *begins;     /* [step_count + 1] of steps in what follows */
    gathered_rows *read; /* what the steps read */
    attn_array *k, *v;   /* the same; the own part's are the caller's */
    attn_array *dk, *dv; /* of a backward pass */
    attn_segments **own; /* [chunks] local rows of this rank in a chunk */
    attn_steps *steps;   /* chunked: the own part, then each chunk; otherwise one */
    attn_transfers transfers;
    attn_segments *whole;
    attn_owner_sums *sums; /* NULL: forward only */
} allgather_state;

/* ---- Prediction ---- */

static int64_t row_bytes(const attn_plan *plan, const attn_part *part, int64_t width)
{
    return plan->problem.shape.batch * part->kv_head_count * width * (int64_t)attn_dtype_size(plan->problem.dtype);
}

static int64_t most_rows(const attn_needs *needs)
{
    int64_t most = 0;

    for (int r = 0; r < needs->parts; r++)
        most = needs->kv_rows[r]->rows > most ? needs->kv_rows[r]->rows : most;
    return most;
}

/* Most rows of a rank in a chunk: a chunk is one call for keys and one for values. */
static int64_t chunk_rows(const attn_plan *plan, const attn_part *part, int64_t most, int64_t limit)
{
    const attn_shape *shape = &plan->problem.shape;
    const int64_t wide = shape->head_dim > shape->v_head_dim ? shape->head_dim : shape->v_head_dim;
    const int64_t fit = attn_piece_items(limit, row_bytes(plan, part, wide)), even = (most + CHUNKS - 1) / CHUNKS;

    if (plan->transfer != ATTN_TRANSFER_NONBLOCKING || part->kv_head_count == 0)
        return most > 0 ? most : 1;
    return most == 0 ? 1 : fit < even ? fit : even;
}

/* Steps of which a rank's rows see a key: the own part and the chunks. */
static attn_status count_seen(const attn_plan *plan, const attn_needs *needs, int mine, int64_t chunk, int64_t *out,
                              attn_error *error)
{
    const int64_t chunks = attn_piece_count(most_rows(needs), chunk);
    bool *seen = attn_calloc_array(chunks + 1, sizeof *seen);
    attn_status status = ATTN_OK;

    if (seen == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld chunks", (long long)chunks);
    *out = attn_needs_see(needs, mine, mine);
    for (int j = 0; j < needs->parts && status == ATTN_OK; j++) {
        attn_segments *places;

        if (j == mine || !attn_needs_see(needs, mine, j))
            continue;
        status = attn_needs_places(&plan->problem, needs, mine, j, &places, error);
        for (int64_t c = 0; c < chunks && status == ATTN_OK; c++)
            seen[c] = seen[c] || attn_segments_below(places, (c + 1) * chunk) > attn_segments_below(places, c * chunk);
        attn_segments_destroy(places);
    }
    for (int64_t c = 0; c < chunks; c++)
        *out += seen[c];
    free(seen);
    return status;
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const int64_t k_row = row_bytes(plan, part, shape->head_dim), v_row = row_bytes(plan, part, shape->v_head_dim);
    const int64_t chunk = chunk_rows(plan, part, most_rows(needs), ATTN_MESSAGE_BYTES), rows = part->kv_rows->rows;
    const int others = plan->grid.seq - 1;
    int64_t seen = 1;

    if (part->kv_head_count == 0)
        return ATTN_OK;
    out->exchange_bytes += (double)(k_row + v_row) * (double)rows * others;
    out->extra_bytes += (double)(k_row + v_row) * (double)shape->kv_seq;
    if (plan->transfer != ATTN_TRANSFER_NONBLOCKING) {
        out->messages += (double)(attn_piece_count(rows, attn_piece_items(ATTN_MESSAGE_BYTES, k_row)) +
                                  attn_piece_count(rows, attn_piece_items(ATTN_MESSAGE_BYTES, v_row))) *
                         others;
    } else {
        const attn_status status = count_seen(plan, needs, part->seq_index, chunk, &seen, error);

        if (status != ATTN_OK)
            return status;
        out->messages += 2 * (double)attn_piece_count(rows, chunk) * others;
    }
    out->extra_bytes += attn_steps_extra_bytes(plan, part->head_count, part->q_rows->rows, seen);
    return ATTN_OK;
}

/* Who computes shares of whose rows: parts that are seen, whole. */
typedef struct whole_shares {
    int64_t *computed;
    const attn_segments **returned;
} whole_shares;

static void release_shares(whole_shares *shares)
{
    free(shares->computed);
    free(shares->returned);
}

static attn_status find_shares(const attn_needs *needs, int mine, const attn_segments *whole, whole_shares *out,
                               attn_error *error)
{
    out->computed = attn_calloc_array(needs->parts, sizeof *out->computed);
    out->returned = attn_calloc_array(needs->parts, sizeof(attn_segments *));
    if (out->computed == NULL || out->returned == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the gradients of %d parts", needs->parts);
    for (int r = 0; r < needs->parts; r++) {
        out->computed[r] = r != mine && attn_needs_see(needs, mine, r) ? needs->kv_rows[r]->rows : 0;
        out->returned[r] = r != mine && attn_needs_see(needs, r, mine) ? whole : NULL;
    }
    return ATTN_OK;
}

static attn_status predict_backward(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                    attn_prediction *out, attn_error *error)
{
    whole_shares shares;
    attn_segments *whole;
    attn_status status = attn_dkv_share_whole(part->kv_rows->rows, &whole, error);

    if (status != ATTN_OK)
        return status;
    status = find_shares(needs, part->seq_index, whole, &shares, error);
    if (status == ATTN_OK) {
        const attn_owner_setup setup = {shares.computed, shares.returned};

        attn_owner_sums_predict(plan, part, &setup, out);
        attn_share_predict(plan, part, out);
    }
    release_shares(&shares);
    attn_segments_destroy(whole);
    return status == ATTN_OK ? predict(plan, needs, part, out, error) : status;
}

/* ---- Creation ---- */

static void destroy(attn_exchange_state *base)
{
    allgather_state *state = (allgather_state *)base;

    if (state == NULL)
        return;
    attn_steps_destroy(state->steps);
    attn_owner_sums_destroy(state->sums);
    attn_transfers_release(&state->transfers);
    if (state->k_row != MPI_DATATYPE_NULL)
        MPI_Type_free(&state->k_row);
    if (state->v_row != MPI_DATATYPE_NULL)
        MPI_Type_free(&state->v_row);
    for (int64_t n = 0; state->read != NULL && state->begins != NULL && n < state->begins[state->step_count]; n++)
        attn_segments_destroy(state->read[n].rows);
    for (int64_t c = 0; state->own != NULL && c < state->chunks; c++)
        attn_segments_destroy(state->own[c]);
    attn_segments_destroy(state->whole);
    free(state->counts);
    free(state->places);
    free(state->k_all);
    free(state->v_all);
    free(state->begins);
    free(state->read);
    free(state->k);
    free(state->v);
    free(state->dk);
    free(state->dv);
    free(state->own);
    free(state);
}

/* Room for everything, and the place of each rank's rows of each chunk. */
static attn_status make_buffers(allgather_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const size_t k_bytes = (size_t)(row_bytes(group->plan, group->part, shape->head_dim) * shape->kv_seq);
    const size_t v_bytes = (size_t)(row_bytes(group->plan, group->part, shape->v_head_dim) * shape->kv_seq);
    const int64_t places = state->chunks * state->ranks, most_read = places + state->ranks;
    int before = 0;

    state->counts = attn_calloc_array(places, sizeof *state->counts);
    state->places = attn_calloc_array(places, sizeof *state->places);
    state->begins = attn_calloc_array(state->step_count + 1, sizeof *state->begins);
    state->read = attn_calloc_array(most_read, sizeof *state->read);
    state->k = attn_calloc_array(most_read, sizeof *state->k);
    state->v = attn_calloc_array(most_read, sizeof *state->v);
    state->dk = attn_calloc_array(most_read, sizeof *state->dk);
    state->dv = attn_calloc_array(most_read, sizeof *state->dv);
    state->own = attn_calloc_array(state->chunks, sizeof(attn_segments *));
    state->k_all = attn_aligned_alloc(k_bytes);
    state->v_all = attn_aligned_alloc(v_bytes);
    if (state->counts == NULL || state->places == NULL || state->begins == NULL || state->read == NULL ||
        state->k == NULL || state->v == NULL || state->dk == NULL || state->dv == NULL || state->own == NULL ||
        state->k_all == NULL || state->v_all == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the keys and values of %lld rows and %lld heads",
                              (long long)shape->kv_seq, (long long)group->part->kv_head_count);
    attn_touch_pages(state->k_all, k_bytes, group->plan->threads);
    attn_touch_pages(state->v_all, v_bytes, group->plan->threads);
    for (int64_t c = 0; c < state->chunks; c++)
        for (int r = 0; r < state->ranks; r++) {
            const int64_t n = c * state->ranks + r;

            state->counts[n] = (int)attn_piece_length(state->rows[r]->rows, c * state->chunk, state->chunk);
            state->places[n] = before;
            before += state->counts[n];
        }
    return ATTN_OK;
}

/* Adds rows [first, first + count) of the part of rank j to what is read. */
static attn_status read_rows(allgather_state *state, int64_t *n, int j, int64_t first, int64_t count, attn_error *error)
{
    attn_segments *places;
    attn_status status = attn_segments_create(1, &first, &count, &places, error);

    state->read[*n] = (gathered_rows){.j = j, .first = first};
    if (status == ATTN_OK)
        status = attn_needs_rows(state->rows[j], places, &state->read[*n].rows, error);
    *n += status == ATTN_OK;
    attn_segments_destroy(places);
    return status;
}

/* Adds what a step reads of a chunk: of each rank whose part is seen the rows that it has in the chunk. */
static attn_status read_chunk(allgather_state *state, int64_t *n, int64_t c, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t heads = group->part->kv_head_count;
    attn_status status = ATTN_OK;

    for (int j = 0; j < state->ranks && status == ATTN_OK; j++) {
        const int64_t count = state->counts[c * state->ranks + j], place = state->places[c * state->ranks + j];

        if (j == state->mine || count == 0 || !attn_needs_see(group->needs, state->mine, j))
            continue;
        state->k[*n] = attn_array_dense((char *)state->k_all +
                                            (size_t)(place * row_bytes(group->plan, group->part, shape->head_dim)),
                                        heads, count, shape->head_dim);
        state->v[*n] = attn_array_dense((char *)state->v_all +
                                            (size_t)(place * row_bytes(group->plan, group->part, shape->v_head_dim)),
                                        heads, count, shape->v_head_dim);
        status = read_rows(state, n, j, c * state->chunk, count, error);
    }
    return status;
}

/* The own part stands first, in the first step. */
static attn_status find_read(allgather_state *state, attn_error *error)
{
    int64_t n = 0;
    attn_status status = read_rows(state, &n, state->mine, 0, state->rows[state->mine]->rows, error);

    for (int64_t step = 0; step < state->step_count && status == ATTN_OK; step++) {
        const int64_t c = state->chunked ? step - 1 : step;

        if (c >= 0 && c < state->chunks)
            status = read_chunk(state, &n, c, error);
        state->begins[step + 1] = n;
    }
    state->begins[state->step_count] = n; /* for destroy, after a failure */
    for (int64_t c = 0; c < state->chunks && status == ATTN_OK; c++) {
        const int64_t first = c * state->chunk, count = state->counts[c * state->ranks + state->mine];

        status = attn_segments_create(1, &first, &count, &state->own[c], error);
    }
    return status;
}

static attn_status make_steps(allgather_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const int64_t count = state->begins[state->step_count];
    attn_steps_setup setup = attn_steps_of_group(group);
    attn_step_parts *steps = attn_calloc_array(state->step_count, sizeof *steps);
    const attn_segments **rows = attn_calloc_array(count + 1, sizeof(attn_segments *));
    attn_status status = ATTN_OK;

    if (steps == NULL || rows == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld steps", (long long)state->step_count);
    for (int64_t n = 0; n < count && status == ATTN_OK; n++)
        rows[n] = state->read[n].rows;
    for (int64_t step = 0; step < state->step_count && status == ATTN_OK; step++)
        steps[step] = (attn_step_parts){state->begins[step + 1] - state->begins[step], &rows[state->begins[step]]};
    setup.step_count = state->step_count;
    setup.steps = steps;
    setup.dkv_dtype = attn_dtype_accumulator(group->plan->problem.dtype);
    if (status == ATTN_OK)
        status = attn_steps_create(&setup, &state->steps, error);
    free(steps);
    free(rows);
    return status;
}

static attn_status make_sums(allgather_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    whole_shares shares;
    attn_status status = attn_dkv_share_whole(group->part->kv_rows->rows, &state->whole, error);

    if (status != ATTN_OK)
        return status;
    status = find_shares(group->needs, state->mine, state->whole, &shares, error);
    if (status == ATTN_OK) {
        const attn_owner_setup setup = {shares.computed, shares.returned};

        status = attn_owner_sums_create(group, &setup, &state->sums, error);
    }
    release_shares(&shares);
    return status;
}

static attn_status fill(allgather_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_plan *plan = group->plan;
    const int64_t lines = plan->problem.shape.batch * group->part->kv_head_count;
    attn_status status = make_buffers(state, error);

    if (status == ATTN_OK)
        status = find_read(state, error);
    if (status == ATTN_OK)
        status = make_steps(state, error);
    if (status == ATTN_OK)
        status = attn_mpi_run(plan->problem.dtype, lines * plan->problem.shape.head_dim, &state->k_row, error);
    if (status == ATTN_OK)
        status = attn_mpi_run(plan->problem.dtype, lines * plan->problem.shape.v_head_dim, &state->v_row, error);
    if (status == ATTN_OK)
        status = attn_transfers_create(group->comm, group->message_bytes, 2, 0, &state->transfers, error);
    return status == ATTN_OK && plan->pass == ATTN_PASS_BACKWARD ? make_sums(state, error) : status;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    const attn_plan *plan = group->plan;
    const int64_t kv_seq = plan->problem.shape.kv_seq;
    allgather_state *state;
    attn_status status;

    *out = NULL;
    if (kv_seq > INT_MAX) /* counts and places of all pieces are rows below it */
        return attn_error_set(error, ATTN_UNSUPPORTED, "kv-seq %lld: MPI counts rows up to %d", (long long)kv_seq,
                              INT_MAX);
    state = calloc(1, sizeof *state);
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    state->ranks = plan->grid.seq;
    state->mine = group->part->seq_index;
    state->chunked = plan->transfer == ATTN_TRANSFER_NONBLOCKING;
    state->k_row = state->v_row = MPI_DATATYPE_NULL;
    state->rows = group->needs->kv_rows;
    state->most = most_rows(group->needs);
    state->chunk = chunk_rows(plan, group->part, state->most, group->message_bytes);
    state->chunks = attn_piece_count(state->most, state->chunk);
    state->step_count = state->chunked ? 1 + state->chunks : 1;
    status = fill(state, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

/* ---- Passes ---- */

/* Gathers all parts of K or of V, piece by piece: some rows of every rank that still has some. */
static attn_status gather(allgather_state *state, const char *own, char *all, MPI_Datatype row, int64_t width,
                          attn_error *error)
{
    const attn_group *group = &state->base.group;
    const int64_t bytes = row_bytes(group->plan, group->part, width);
    const int64_t piece = attn_piece_items(group->message_bytes, bytes);
    attn_status status = ATTN_OK;

    for (int64_t done = 0; done < state->most && status == ATTN_OK; done += piece) {
        int64_t before = 0;

        for (int r = 0; r < state->ranks; r++) {
            const int64_t rows = state->rows[r]->rows, now = attn_piece_length(rows, done, piece);

            state->counts[r] = (int)now;
            state->places[r] = (int)(before + (now > 0 ? done : 0));
            before += rows;
        }
        status = attn_comm_check(MPI_Allgatherv(state->counts[state->mine] > 0 ? own + (size_t)(done * bytes) : own,
                                                state->counts[state->mine], row, all, state->counts, state->places, row,
                                                group->comm),
                                 "MPI_Allgatherv", error);
    }
    return status;
}

/* Packs this rank's rows of a chunk of K or of V, and starts to gather it. */
static void start_gather(allgather_state *state, int64_t c, const void *own, char *all, MPI_Datatype row, int64_t width,
                         attn_laps *laps)
{
    const attn_group *group = &state->base.group;
    const int *counts = &state->counts[c * state->ranks], *places = &state->places[c * state->ranks];
    MPI_Request request = MPI_REQUEST_NULL;
    int code;

    attn_pack_rows(group, state->own[c], own, width,
                   all + (size_t)(places[state->mine] * row_bytes(group->plan, group->part, width)));
    attn_lap(laps, ATTN_PHASE_PACK);
    code = MPI_Iallgatherv(MPI_IN_PLACE, 0, row, all, counts, places, row, group->comm, &request);
    attn_transfers_take(&state->transfers, request, code);
    attn_lap(laps, ATTN_PHASE_EXCHANGE);
}

static void start_chunk(allgather_state *state, const attn_exchange_call *call, int64_t c, attn_laps *laps)
{
    const attn_shape *shape = &state->base.group.plan->problem.shape;

    start_gather(state, c, call->k, state->k_all, state->k_row, shape->head_dim, laps);
    start_gather(state, c, call->v, state->v_all, state->v_row, shape->v_head_dim, laps);
}

/* The collective calls of `blocking` block, so their time counts as exposed. */
static attn_status gather_all(allgather_state *state, const attn_exchange_call *call, attn_laps *laps,
                              attn_error *error)
{
    const attn_shape *shape = &state->base.group.plan->problem.shape;
    attn_status status = gather(state, call->k, state->k_all, state->k_row, shape->head_dim, error);

    if (status == ATTN_OK)
        status = gather(state, call->v, state->v_all, state->v_row, shape->v_head_dim, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    return status;
}

static void compute(allgather_state *state, int64_t step, bool backward, attn_laps *laps)
{
    const attn_progress progress = attn_transfers_progress(&state->transfers);
    const int64_t n = state->begins[step];

    if (backward)
        attn_steps_backward_step(state->steps, step, &state->k[n], &state->v[n], &state->dk[n], &state->dv[n],
                                 &progress, laps);
    else
        attn_steps_forward_step(state->steps, step, &state->k[n], &state->v[n], &progress, laps);
}

/* All steps, each as soon as its keys are there. */
static attn_status run_steps(allgather_state *state, const attn_exchange_call *call, bool backward, attn_laps *laps,
                             attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const bool gathers = group->part->kv_head_count > 0; /* alike for the whole group */
    const int64_t heads = group->part->kv_head_count, rows = group->part->kv_rows->rows;
    attn_status status = ATTN_OK;

    state->k[0] = attn_array_of_const(call->k, heads, rows, shape->head_dim);
    state->v[0] = attn_array_of_const(call->v, heads, rows, shape->v_head_dim);
    if (gathers && !state->chunked)
        status = gather_all(state, call, laps, error);
    for (int64_t step = 0; step < state->step_count && status == ATTN_OK; step++) {
        status = attn_transfers_wait(&state->transfers, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
        if (status != ATTN_OK)
            return status;
        if (gathers && state->chunked && step < state->chunks)
            start_chunk(state, call, step, laps);
        compute(state, step, backward, laps);
    }
    return status;
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    allgather_state *state = (allgather_state *)base;
    attn_status status;

    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    status = run_steps(state, call, false, laps, error);
    if (status == ATTN_OK)
        attn_steps_forward_end(state->steps, laps);
    return status;
}

/* Where the gradients of what is read go: rows of whole shares. */
static void place_gradients(allgather_state *state, const attn_exchange_call *call)
{
    const attn_dtype dtype = attn_dtype_accumulator(state->base.group.plan->problem.dtype);

    for (int64_t n = 0; n < state->begins[state->step_count]; n++) {
        const gathered_rows *read = &state->read[n];
        attn_array *const dk = &state->dk[n], *const dv = &state->dv[n];

        attn_owner_sums_place(state->sums, call, read->j, dk, dv);
        dk->data = (char *)dk->data + (size_t)(read->first * dk->row_stride) * attn_dtype_size(dtype);
        dv->data = (char *)dv->data + (size_t)(read->first * dv->row_stride) * attn_dtype_size(dtype);
    }
}

static attn_status backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error)
{
    allgather_state *state = (allgather_state *)base;
    attn_status status;

    place_gradients(state, call);
    attn_owner_sums_expect(state->sums);
    attn_steps_backward(state->steps, &(attn_steps_rows){call->q, call->o, call->lse, call->d_o, call->dq});
    status = run_steps(state, call, true, laps, error);
    if (status != ATTN_OK)
        return status;
    attn_steps_backward_end(state->steps, laps);
    return attn_owner_sums_return(state->sums, call, laps, error);
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward, .backward = backward};

const attn_exchange attn_exchange_allgather = {
    .name = "allgather",
    .summary = "all keys and values of the sequence group are gathered, and computed on then or in chunks",
    .transfers = 1U << ATTN_TRANSFER_BLOCKING | 1U << ATTN_TRANSFER_NONBLOCKING,
    .transfer = ATTN_TRANSFER_BLOCKING,
    .one_step = 1U << ATTN_TRANSFER_BLOCKING,
    .predict = predict,
    .predict_backward = predict_backward,
    .cost = {.overlaps = 1U << ATTN_TRANSFER_NONBLOCKING, .merges = 1U << ATTN_TRANSFER_NONBLOCKING},
    .ops = &ops};
