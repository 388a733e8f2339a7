/* Exchange `shared`: the ranks of a sequence group are on one node and read each other's keys and values where they
 * are, in windows of shared memory (MPI 3.1, section 11.2.3; Hoefler et al. 2013, "MPI + MPI").
 *
 * Nothing is sent: 0 bytes, 0 messages. Each rank's segment of the window has its k and v, touched first by its own
 * threads: B hkv S/p (D + Dv) e bytes. A caller that keeps k and v there (attn_dist_own_memory) has them nowhere else
 * and nothing is copied; otherwise they are copied into it once a pass. The kernel computes with the parts of all ranks
 * that its rows see in one step. One barrier before it tells that all is written, one after it that all has been read.
 *
 * Backward, the segment also has this rank's shares of dk and dv of the parts of others that it sees: up to
 * B hkv S (p - 1)/p (D + Dv) a bytes, with accumulators of a bytes. The barrier after computing tells that they are
 * written, and each owner adds up those of its own rows (owner_sums.h). They are written again only after the first
 * barrier of the next pass, so no third one is needed. To let ranks add to each other's sums in turn would need memory
 * for one part alone, but p steps with a barrier each, all as long as their slowest rank. */
#include "core/checked.h"
#include "core/pages.h"
#include "dist/exchange.h"
#include "dist/owner_sums.h"
#include "dist/share_heads.h"
#include "dist/steps.h"
#include "dist/touch.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shared_state {
    attn_exchange_state base;
    int ranks, mine;
    MPI_Win window;
    char **segments;     /* [ranks] of the window, as this rank sees them: k, v, shares of other parts */
    attn_array *k, *v;   /* [parts] the own part, then the others that are seen, in rank order */
    attn_array *dk, *dv; /* the same of a backward pass; the own part's are the caller's or the sums' */
    int parts;
    attn_steps *steps; /* one */
    attn_segments *whole;
    attn_own_sums sums;
} shared_state;

static bool applicable(const attn_plan *plan, char *reason, size_t size)
{
    const attn_grid grid = plan->grid;

    for (int ph = 0; ph < grid.head; ph++) {
        const int first = ph, last = (grid.seq - 1) * grid.head + ph;

        if (first / plan->node_ranks == last / plan->node_ranks)
            continue;
        snprintf(reason, size,
                 "ranks %d and %d of a sequence group are on different nodes, of %d ranks each; it needs the group on "
                 "one",
                 first, last, plan->node_ranks);
        return false;
    }
    return true;
}

/* ---- What a segment has ---- */

/* Each array begins at a cache line of its own. */
static int64_t aligned(int64_t bytes)
{
    return (bytes + ATTN_ALIGNMENT - 1) / ATTN_ALIGNMENT * ATTN_ALIGNMENT;
}

static int64_t array_bytes(const attn_plan *plan, const attn_part *part, int64_t rows, int64_t width)
{
    return aligned(plan->problem.shape.batch * part->kv_head_count * rows * width *
                   (int64_t)attn_dtype_size(plan->problem.dtype));
}

/* Where v begins in the segment of rank r. */
static int64_t v_place(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int r)
{
    return array_bytes(plan, part, needs->kv_rows[r]->rows, plan->problem.shape.head_dim);
}

/* Where rank r's share of part j begins in its segment; with j = ranks, the end. */
static int64_t share_place(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int r, int j)
{
    int64_t place = v_place(plan, needs, part, r) +
                    array_bytes(plan, part, needs->kv_rows[r]->rows, plan->problem.shape.v_head_dim);

    for (int before = 0; before < j && plan->pass == ATTN_PASS_BACKWARD; before++)
        if (before != r && attn_needs_see(needs, r, before))
            place += aligned(attn_dkv_share_bytes(plan, part, needs->kv_rows[before]->rows));
    return place;
}

static int64_t segment_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part)
{
    return share_place(plan, needs, part, part->seq_index, needs->parts);
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    (void)error;
    out->extra_bytes += (double)segment_bytes(plan, needs, part);
    return ATTN_OK;
}

static attn_status predict_backward(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                    attn_prediction *out, attn_error *error)
{
    out->extra_bytes += (double)attn_own_sums_bytes(plan, part);
    attn_share_predict(plan, part, out);
    return predict(plan, needs, part, out, error);
}

/* ---- Creation: collective, so that failures are agreed on before the next collective call ---- */

static void destroy(attn_exchange_state *base)
{
    shared_state *state = (shared_state *)base;

    if (state == NULL)
        return;
    attn_steps_destroy(state->steps);
    attn_own_sums_release(&state->sums);
    attn_segments_destroy(state->whole);
    if (state->window != MPI_WIN_NULL) {
        MPI_Win_unlock_all(state->window);
        MPI_Win_free(&state->window);
    }
    free(state->segments);
    free(state->k);
    free(state->v);
    free(state->dk);
    free(state->dv);
    free(state);
}

/* Whether all ranks of the group can share memory in fact: the plan was told how many ranks a node has. */
static attn_status check_node(const attn_group *group, attn_error *error)
{
    const int ranks = group->plan->grid.seq;
    MPI_Comm node = MPI_COMM_NULL;
    double least;
    attn_status status = attn_comm_check(
        MPI_Comm_split_type(group->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type", error);

    if (status != ATTN_OK)
        return status;
    least = attn_comm_size(node);
    attn_comm_free(&node);
    status = attn_comm_min(group->comm, &least, 1, error);
    if (status == ATTN_OK && (int)least < ranks)
        return attn_error_set(
            error, ATTN_UNSUPPORTED,
            "exchange shared: a sequence group has %d ranks, of which one shares memory with %d only; "
            "all must be on one node",
            ranks, (int)least);
    return status;
}

/* The memory that a system has for sharing is often less than its memory: another exchange may run all the same. */
static attn_status allocate_window(shared_state *state, int64_t bytes, MPI_Info info, attn_error *error)
{
    char text[MPI_MAX_ERROR_STRING];
    void *own = NULL;
    int length = 0;
    const int code =
        MPI_Win_allocate_shared(bytes > 0 ? (MPI_Aint)bytes : 1, 1, info, state->base.group.comm, &own, &state->window);

    if (code == MPI_SUCCESS)
        return ATTN_OK;
    MPI_Error_string(code, text, &length);
    return attn_error_set(error, ATTN_MEMORY, "exchange shared: MPI shares no window of %lld bytes: %.*s",
                          (long long)bytes, length, text);
}

static attn_status make_window(shared_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const int64_t bytes = segment_bytes(group->plan, group->needs, group->part);
    MPI_Info info = MPI_INFO_NULL;
    attn_status status = attn_comm_check(MPI_Info_create(&info), "MPI_Info_create", error);

    if (status != ATTN_OK)
        return status;
    /* Each segment has pages of its own, which its rank touches first. */
    status = attn_comm_check(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "MPI_Info_set", error);
    if (status == ATTN_OK)
        status = attn_comm_agree(group->comm, allocate_window(state, bytes, info, error), error);
    MPI_Info_free(&info);
    if (status != ATTN_OK)
        state->window = MPI_WIN_NULL; /* freeing it is collective, and others may have none */
    if (status == ATTN_OK)
        status =
            attn_comm_check(MPI_Win_set_errhandler(state->window, MPI_ERRORS_RETURN), "MPI_Win_set_errhandler", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, state->window), "MPI_Win_lock_all", error);
    for (int r = 0; r < state->ranks && status == ATTN_OK; r++) {
        MPI_Aint size;
        int unit;

        status = attn_comm_check(MPI_Win_shared_query(state->window, r, &size, &unit, &state->segments[r]),
                                 "MPI_Win_shared_query", error);
    }
    if (status == ATTN_OK) {
        attn_pages_advise(state->segments[state->mine], (size_t)bytes);
        attn_touch_pages(state->segments[state->mine], (size_t)bytes, group->plan->threads);
    }
    return status;
}

/* The arrays of rank j's part in its segment. */
static void part_arrays(const shared_state *state, int j, attn_array *k, attn_array *v)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t heads = group->part->kv_head_count, rows = group->needs->kv_rows[j]->rows;
    char *const segment = state->segments[j];

    *k = attn_array_dense(segment, heads, rows, shape->head_dim);
    *v = attn_array_dense(segment + v_place(group->plan, group->needs, group->part, j), heads, rows, shape->v_head_dim);
}

/* Where rank i has its share of part j. */
static char *share_of(const shared_state *state, int i, int j)
{
    const attn_group *group = &state->base.group;

    return state->segments[i] + share_place(group->plan, group->needs, group->part, i, j);
}

static void add_part(shared_state *state, int j, const attn_segments **rows)
{
    const attn_group *group = &state->base.group;
    const int n = state->parts++;

    rows[n] = group->needs->kv_rows[j];
    part_arrays(state, j, &state->k[n], &state->v[n]);
    if (j != state->mine && group->plan->pass == ATTN_PASS_BACKWARD)
        attn_dkv_share_arrays(group, share_of(state, state->mine, j), rows[n]->rows, &state->dk[n], &state->dv[n]);
}

/* What a rank does alone, with the window at hand. */
static attn_status make_steps(shared_state *state, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_segments **rows = attn_calloc_array(state->ranks, sizeof(attn_segments *));
    attn_steps_setup setup = attn_steps_of_group(group);
    attn_step_parts step;
    attn_status status;

    if (rows == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d parts", state->ranks);
    add_part(state, state->mine, rows);
    for (int j = 0; j < state->ranks; j++)
        if (j != state->mine && attn_needs_see(group->needs, state->mine, j))
            add_part(state, j, rows);
    step = (attn_step_parts){state->parts, rows};
    setup.step_count = 1;
    setup.steps = &step;
    setup.dkv_dtype = attn_dtype_accumulator(group->plan->problem.dtype);
    status = attn_steps_create(&setup, &state->steps, error);
    free(rows);
    if (status != ATTN_OK || group->plan->pass != ATTN_PASS_BACKWARD)
        return status;
    status = attn_dkv_share_whole(group->part->kv_rows->rows, &state->whole, error);
    return status == ATTN_OK ? attn_own_sums_create(&state->base.group, &state->sums, error) : status;
}

static attn_status allocate(const attn_group *group, shared_state **out, attn_error *error)
{
    const int ranks = group->plan->grid.seq;
    shared_state *state = calloc(1, sizeof *state);

    *out = state;
    if (state != NULL) {
        state->base.group = *group;
        state->ranks = ranks;
        state->mine = group->part->seq_index;
        state->window = MPI_WIN_NULL;
        state->segments = attn_calloc_array(ranks, sizeof *state->segments);
        state->k = attn_calloc_array(ranks, sizeof *state->k);
        state->v = attn_calloc_array(ranks, sizeof *state->v);
        state->dk = attn_calloc_array(ranks, sizeof *state->dk);
        state->dv = attn_calloc_array(ranks, sizeof *state->dv);
    }
    if (state == NULL || state->segments == NULL || state->k == NULL || state->v == NULL || state->dk == NULL ||
        state->dv == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    return ATTN_OK;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    shared_state *state;
    attn_status status = allocate(group, &state, error);

    *out = NULL;
    status = attn_comm_agree(group->comm, status, error);
    if (status == ATTN_OK)
        status = check_node(group, error);
    if (status == ATTN_OK)
        status = make_window(state, error);
    if (status == ATTN_OK) /* freeing the window is collective */
        status = attn_comm_agree(group->comm, make_steps(state, error), error);
    if (status == ATTN_MPI && state != NULL)
        state->window = MPI_WIN_NULL; /* freeing it would wait for others, who may be elsewhere */
    if (status != ATTN_OK) {
        destroy(state != NULL ? &state->base : NULL);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

static void own_memory(attn_exchange_state *base, void **k, void **v)
{
    const shared_state *state = (shared_state *)base;

    *k = state->k[0].data;
    *v = state->v[0].data;
}

/* ---- Passes ---- */

static void copy(void *to, const void *from, size_t bytes, int threads)
{
    enum { BLOCK = 65536 };
    const int64_t blocks = (int64_t)((bytes + BLOCK - 1) / BLOCK);

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < blocks; n++) {
        const size_t at = (size_t)n * BLOCK;

        memcpy((char *)to + at, (const char *)from + at, bytes - at < BLOCK ? bytes - at : BLOCK);
    }
}

/* All ranks have come here; what each wrote before is seen by the others after. */
static attn_status meet(const shared_state *state, attn_laps *laps, attn_error *error)
{
    attn_status status = attn_comm_check(MPI_Win_sync(state->window), "MPI_Win_sync", error);

    if (status == ATTN_OK)
        status = attn_comm_barrier(state->base.group.comm, error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Win_sync(state->window), "MPI_Win_sync", error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    return status;
}

/* Brings k and v to where the others read them, and waits until all have. */
static attn_status show(shared_state *state, const attn_exchange_call *call, attn_laps *laps, attn_error *error)
{
    const attn_group *group = &state->base.group;
    const attn_shape *shape = &group->plan->problem.shape;
    const size_t lines = (size_t)(shape->batch * group->part->kv_head_count * group->part->kv_rows->rows);
    const size_t element = attn_dtype_size(group->plan->problem.dtype);
    const bool moved = call->k != state->k[0].data || call->v != state->v[0].data;

    if (call->k != state->k[0].data)
        copy(state->k[0].data, call->k, lines * (size_t)shape->head_dim * element, group->plan->threads);
    if (call->v != state->v[0].data)
        copy(state->v[0].data, call->v, lines * (size_t)shape->v_head_dim * element, group->plan->threads);
    if (moved)
        attn_lap(laps, ATTN_PHASE_PACK);
    return meet(state, laps, error);
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    shared_state *state = (shared_state *)base;
    const attn_status status = show(state, call, laps, error);

    if (status != ATTN_OK)
        return status;
    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    attn_steps_forward_step(state->steps, 0, state->k, state->v, NULL, laps);
    attn_steps_forward_end(state->steps, laps);
    return meet(state, laps, error);
}

static attn_status backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error)
{
    shared_state *state = (shared_state *)base;
    const attn_needs *needs = base->group.needs;
    attn_status status = show(state, call, laps, error);

    if (status != ATTN_OK)
        return status;
    attn_own_sums_place(&state->sums, call, &state->dk[0], &state->dv[0]);
    attn_steps_backward(state->steps, &(attn_steps_rows){call->q, call->o, call->lse, call->d_o, call->dq});
    attn_steps_backward_step(state->steps, 0, state->k, state->v, state->dk, state->dv, NULL, laps);
    attn_steps_backward_end(state->steps, laps);
    status = meet(state, laps, error);
    if (status != ATTN_OK)
        return status;
    for (int n = 1; n < state->ranks; n++) {
        const int i = (state->mine + n) % state->ranks;

        if (attn_needs_see(needs, i, state->mine))
            attn_own_sums_add(&state->sums, call, state->whole, share_of(state, i, state->mine));
    }
    attn_own_sums_store(&state->sums, call);
    attn_lap(laps, ATTN_PHASE_MERGE);
    return ATTN_OK;
}

static const attn_exchange_ops ops = {
    .create = create, .destroy = destroy, .forward = forward, .backward = backward, .own_memory = own_memory};

const attn_exchange attn_exchange_shared = {
    .name = "shared",
    .summary = "keys and values are read where they are, in memory that the ranks of a node share",
    .one_step = 1U << ATTN_TRANSFER_AUTO,
    .applicable = applicable,
    .predict = predict,
    .predict_backward = predict_backward,
    .ops = &ops};
