/* Exchange `allgather`: every rank of a sequence group receives all keys and values of its heads.
 *
 * With p ranks that hold hkv heads of S/p rows, each rank hands its 2 hkv X bytes (X = B S/p D e) to p - 1 others, and
 * holds all 2 hkv p X in one buffer. A call gathers as many rows as keep a rank's message below its limit, at least
 * one. What comes from rank r stays as it was there, one part a rank, so nothing is unpacked: the kernel reads the
 * parts in place. */
#include "core/checked.h"
#include "dist/exchange.h"
#include "dist/pieces.h"
#include "dist/steps.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <limits.h>
#include <stdlib.h>

typedef struct allgather_state {
    attn_exchange_state base;
    int ranks;
    attn_segments *const *rows; /* [ranks] */
    int64_t most;               /* rows of the rank that has most */
    int *counts, *places;       /* [ranks] rows of each rank in the piece under way, and rows before them */
    MPI_Datatype k_row, v_row;  /* one row of all batches and heads of the group */
    void *k_all, *v_all;        /* [ranks] of [B,kv heads,rows,D] (Dv) */
    attn_array *k, *v;          /* [ranks] the parts in them */
    attn_steps *steps;          /* one, of all parts */
} allgather_state;

static int64_t message_count(int64_t rows, int64_t row_bytes)
{
    return attn_piece_count(rows, attn_piece_items(ATTN_MESSAGE_BYTES, row_bytes));
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const int64_t line = shape->batch * part->kv_head_count * (int64_t)attn_dtype_size(plan->problem.dtype);
    const double row = (double)line * (double)(shape->head_dim + shape->v_head_dim);
    const int others = plan->grid.seq - 1;

    (void)needs, (void)error;
    if (part->kv_head_count == 0)
        return ATTN_OK;
    out->exchange_bytes += row * (double)part->kv_rows->rows * others;
    out->messages += (double)(message_count(part->kv_rows->rows, line * shape->head_dim) +
                              message_count(part->kv_rows->rows, line * shape->v_head_dim)) *
                     others;
    out->extra_bytes += row * (double)shape->kv_seq;
    return ATTN_OK;
}

static void destroy(attn_exchange_state *base)
{
    allgather_state *state = (allgather_state *)base;

    if (state == NULL)
        return;
    attn_steps_destroy(state->steps);
    if (state->k_row != MPI_DATATYPE_NULL)
        MPI_Type_free(&state->k_row);
    if (state->v_row != MPI_DATATYPE_NULL)
        MPI_Type_free(&state->v_row);
    free(state->counts);
    free(state->places);
    free(state->k_all);
    free(state->v_all);
    free(state->k);
    free(state->v);
    free(state);
}

/* Places of all ranks' parts in the two buffers. */
static void lay_out(allgather_state *state)
{
    const attn_plan *plan = state->base.group.plan;
    const attn_shape *shape = &plan->problem.shape;
    const int64_t heads = state->base.group.part->kv_head_count;
    const size_t element = attn_dtype_size(plan->problem.dtype);
    int64_t before = 0;

    for (int r = 0; r < state->ranks; r++) {
        char *k = (char *)state->k_all + (size_t)(shape->batch * heads * before * shape->head_dim) * element;
        char *v = (char *)state->v_all + (size_t)(shape->batch * heads * before * shape->v_head_dim) * element;

        state->k[r] = attn_array_dense(k, heads, state->rows[r]->rows, shape->head_dim);
        state->v[r] = attn_array_dense(v, heads, state->rows[r]->rows, shape->v_head_dim);
        before += state->rows[r]->rows;
        state->most = state->rows[r]->rows > state->most ? state->rows[r]->rows : state->most;
    }
}

/* All threads read all keys, so the pages are dealt to the memories of all of them by touching them first. */
static void touch(char *bytes, size_t count, int threads)
{
    enum { PAGE = 4096 };

#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int64_t page = 0; page < (int64_t)((count + PAGE - 1) / PAGE); page++)
        bytes[(size_t)page * PAGE] = 0;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    const attn_plan *plan = group->plan;
    const attn_shape *shape = &plan->problem.shape;
    const int ranks = plan->grid.seq;
    const int64_t lines = shape->batch * group->part->kv_head_count;
    const size_t element = attn_dtype_size(plan->problem.dtype);
    const size_t k_bytes = (size_t)(lines * shape->kv_seq * shape->head_dim) * element;
    const size_t v_bytes = (size_t)(lines * shape->kv_seq * shape->v_head_dim) * element;
    attn_steps_setup setup = attn_steps_of_group(group);
    allgather_state *state;
    attn_status status;

    *out = NULL;
    if (shape->kv_seq > INT_MAX) /* counts and places of all pieces are rows below it */
        return attn_error_set(error, ATTN_UNSUPPORTED, "kv-seq %lld: MPI counts rows up to %d",
                              (long long)shape->kv_seq, INT_MAX);
    state = calloc(1, sizeof *state);
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->ranks = ranks;
    state->k_row = state->v_row = MPI_DATATYPE_NULL;
    state->rows = group->needs->kv_rows;
    state->counts = attn_calloc_array(ranks, sizeof *state->counts);
    state->places = attn_calloc_array(ranks, sizeof *state->places);
    state->k = attn_calloc_array(ranks, sizeof *state->k);
    state->v = attn_calloc_array(ranks, sizeof *state->v);
    state->k_all = attn_aligned_alloc(k_bytes + 1);
    state->v_all = attn_aligned_alloc(v_bytes + 1);
    state->base.group = *group;
    if (state->counts == NULL || state->places == NULL || state->k == NULL || state->v == NULL ||
        state->k_all == NULL || state->v_all == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the keys and values of %lld rows and %lld heads",
                                (long long)shape->kv_seq, (long long)group->part->kv_head_count);
    } else {
        const attn_step_parts step = {ranks, (const attn_segments *const *)state->rows};

        lay_out(state);
        setup.step_count = 1;
        setup.steps = &step;
        status = attn_steps_create(&setup, &state->steps, error);
    }
    if (status == ATTN_OK)
        status = attn_mpi_run(plan->problem.dtype, lines * shape->head_dim, &state->k_row, error);
    if (status == ATTN_OK)
        status = attn_mpi_run(plan->problem.dtype, lines * shape->v_head_dim, &state->v_row, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    touch(state->k_all, k_bytes, plan->threads);
    touch(state->v_all, v_bytes, plan->threads);
    *out = &state->base;
    return ATTN_OK;
}

/* Gathers all parts of K or of V, piece by piece: some rows of every rank that still has some. */
static attn_status gather(allgather_state *state, const char *own, char *all, MPI_Datatype row, int64_t width,
                          attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_plan *plan = group->plan;
    const int mine = group->part->seq_index;
    const int64_t row_bytes =
        plan->problem.shape.batch * group->part->kv_head_count * width * (int64_t)attn_dtype_size(plan->problem.dtype);
    const int64_t piece = attn_piece_items(group->message_bytes, row_bytes);
    attn_status status = ATTN_OK;

    for (int64_t done = 0; done < state->most && status == ATTN_OK; done += piece) {
        int64_t before = 0;

        for (int r = 0; r < state->ranks; r++) {
            const int64_t rows = state->rows[r]->rows, now = attn_piece_length(rows, done, piece);

            state->counts[r] = (int)now;
            state->places[r] = (int)(before + (now > 0 ? done : 0));
            before += rows;
        }
        status = attn_comm_check(MPI_Allgatherv(state->counts[mine] > 0 ? own + (size_t)(done * row_bytes) : own,
                                                state->counts[mine], row, all, state->counts, state->places, row,
                                                group->comm),
                                 "MPI_Allgatherv", error);
    }
    return status;
}

/* The collective calls block, so their time counts as exposed. */
static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    allgather_state *state = (allgather_state *)base;
    const attn_shape *shape = &base->group.plan->problem.shape;
    attn_status status = ATTN_OK;

    if (base->group.part->kv_head_count > 0) { /* alike for the whole group */
        status = gather(state, call->k, state->k_all, state->k_row, shape->head_dim, error);
        if (status == ATTN_OK)
            status = gather(state, call->v, state->v_all, state->v_row, shape->v_head_dim, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    }
    if (status != ATTN_OK)
        return status;
    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    attn_steps_forward_step(state->steps, 0, state->k, state->v, NULL, laps);
    attn_steps_forward_end(state->steps, laps);
    return ATTN_OK;
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward};

const attn_exchange attn_exchange_allgather = {
    .name = "allgather",
    .summary = "all keys and values of the sequence group are gathered first, then computed on",
    .transfers = 1U << ATTN_TRANSFER_BLOCKING,
    .transfer = ATTN_TRANSFER_BLOCKING,
    .predict = predict,
    .ops = &ops};
