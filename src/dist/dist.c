#include <attn/comm.h>
#include <attn/dist.h>

#include "dist/dist.h"
#include "dist/exchange.h"
#include "dist/gradients.h"
#include "dist/pieces.h"
#include "plan/hybrid.h"

#include <assert.h>
#include <stdlib.h>

struct attn_dist {
    attn_plan plan;
    attn_part *part;
    MPI_Comm comm, seq_comm, head_comm; /* all ranks; the sequence group; the head group */
    MPI_Comm alltoall_comm, ring_comm;  /* the two dimensions of the sequence group, where the exchange has them */
    attn_exchange_state *exchange;
    attn_combine_state *combine;
    attn_needs *needs;
    attn_gradients *gradients; /* NULL: the plan is of another pass */
    attn_timeline *timeline;   /* of the next pass; NULL: not wanted */
};

const attn_plan *attn_dist_plan(const attn_dist *dist)
{
    return &dist->plan;
}

const attn_part *attn_dist_part(const attn_dist *dist)
{
    return dist->part;
}

MPI_Comm attn_dist_comm(const attn_dist *dist)
{
    return dist->comm;
}

int64_t attn_dist_output_heads(const attn_dist *dist)
{
    return dist->plan.combine->output_heads(&dist->plan, dist->part);
}

int64_t attn_dist_output_head_begin(const attn_dist *dist)
{
    return dist->plan.combine->output_head_begin(&dist->plan, dist->part);
}

static void forget_comms(attn_dist *dist)
{
    dist->comm = dist->seq_comm = dist->head_comm = dist->alltoall_comm = dist->ring_comm = MPI_COMM_NULL;
}

static attn_status split(attn_dist *dist, MPI_Comm comm, attn_error *error)
{
    const int rank = attn_comm_rank(comm);
    const int ps = rank / dist->plan.grid.head, ph = rank % dist->plan.grid.head;
    attn_hybrid_place place;
    attn_status status = attn_comm_check(MPI_Comm_dup(comm, &dist->comm), "MPI_Comm_dup", error);

    if (status != ATTN_OK)
        return status;
    MPI_Comm_set_errhandler(dist->comm, MPI_ERRORS_RETURN); /* inherited by the two groups */
    status = attn_comm_check(MPI_Comm_split(dist->comm, ph, ps, &dist->seq_comm), "MPI_Comm_split", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Comm_split(dist->comm, ps, ph, &dist->head_comm), "MPI_Comm_split", error);
    if (status != ATTN_OK || !attn_exchange_of(&dist->plan)->hybrid)
        return status;
    place = attn_hybrid_place_of(&dist->plan.hybrid, ps);
    status = attn_comm_check(MPI_Comm_split(dist->seq_comm, place.w, place.u, &dist->alltoall_comm), "MPI_Comm_split",
                             error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Comm_split(dist->seq_comm, place.u, place.w, &dist->ring_comm), "MPI_Comm_split",
                                 error);
    return status;
}

/* What an exchange and a combine are created from. */
static attn_group make_group(const attn_dist *dist, MPI_Comm comm, int64_t message_bytes)
{
    return (attn_group){.comm = comm,
                        .alltoall_comm = dist->alltoall_comm,
                        .ring_comm = dist->ring_comm,
                        .plan = &dist->plan,
                        .part = dist->part,
                        .needs = dist->needs,
                        .message_bytes = message_bytes,
                        .dkv_dtype =
                            dist->gradients != NULL ? attn_gradients_dtype(dist->gradients) : dist->plan.problem.dtype};
}

/* What a rank may fail at alone; the caller agrees on the outcome. */
static attn_status create_local(attn_dist *dist, int64_t message_bytes, attn_error *error)
{
    const attn_plan *plan = &dist->plan;
    attn_status status = attn_needs_create(plan, &dist->needs, error);
    const attn_group group = make_group(dist, dist->head_comm, message_bytes);

    if (status == ATTN_OK)
        status = plan->combine->ops->create(&group, &dist->combine, error);
    if (status == ATTN_OK && plan->pass == ATTN_PASS_BACKWARD)
        status = attn_gradients_create(&group, &dist->gradients, error);
    return status;
}

/* Collective over the sequence group: all ranks have come here. */
static attn_status create_exchange(attn_dist *dist, int64_t message_bytes, attn_error *error)
{
    const attn_group group = make_group(dist, dist->seq_comm, message_bytes);

    return attn_exchange_of(&dist->plan)->ops->create(&group, &dist->exchange, error);
}

enum { ALL_HEADS = -1 };

static void keep_head(attn_part *part, const attn_shape *shape, int64_t head)
{
    part->head_begin = head;
    part->kv_head_begin = head / attn_shape_group(shape);
    part->head_count = part->kv_head_count = 1;
}

/*   head  in, of the problem, or ALL_HEADS of the part */
static attn_status create(MPI_Comm comm, const attn_plan *plan, int64_t head, int64_t message_bytes, attn_dist **out,
                          attn_error *error)
{
    attn_dist *dist = calloc(1, sizeof *dist);
    attn_status status = ATTN_OK;

    *out = NULL;
    assert(attn_comm_size(comm) == plan->ranks);
    if (dist == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the plan");
    } else {
        dist->plan = *plan;
        forget_comms(dist);
        status = attn_part_create(&plan->problem, plan->grid, plan->layout, attn_comm_rank(comm), &dist->part, error);
        if (status == ATTN_OK && head != ALL_HEADS)
            keep_head(dist->part, &plan->problem.shape, head);
    }
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = split(dist, comm, error);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, create_local(dist, message_bytes, error), error);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, create_exchange(dist, message_bytes, error), error);
    if (status == ATTN_MPI && dist != NULL) { /* freeing what is common waits for others, who may be elsewhere */
        forget_comms(dist);
        dist->exchange = NULL;
    }
    if (status != ATTN_OK) {
        attn_dist_destroy(dist);
        return status;
    }
    *out = dist;
    return ATTN_OK;
}

attn_status attn_dist_create(MPI_Comm comm, const attn_plan *plan, attn_dist **out, attn_error *error)
{
    return attn_dist_create_limited(comm, plan, ATTN_MESSAGE_BYTES, out, error);
}

attn_status attn_dist_create_limited(MPI_Comm comm, const attn_plan *plan, int64_t message_bytes, attn_dist **out,
                                     attn_error *error)
{
    return create(comm, plan, ALL_HEADS, message_bytes, out, error);
}

attn_status attn_dist_create_head(MPI_Comm comm, const attn_plan *plan, int64_t head, int64_t message_bytes,
                                  attn_dist **out, attn_error *error)
{
    assert(plan->grid.head == 1 && head >= 0 && head < plan->problem.shape.heads);
    return create(comm, plan, head, message_bytes, out, error);
}

void attn_dist_destroy(attn_dist *dist)
{
    if (dist == NULL)
        return;
    attn_gradients_destroy(dist->gradients);
    if (dist->combine != NULL)
        dist->plan.combine->ops->destroy(dist->combine);
    if (dist->exchange != NULL)
        attn_exchange_of(&dist->plan)->ops->destroy(dist->exchange);
    attn_comm_free(&dist->ring_comm);
    attn_comm_free(&dist->alltoall_comm);
    attn_comm_free(&dist->head_comm);
    attn_comm_free(&dist->seq_comm);
    attn_comm_free(&dist->comm);
    attn_needs_destroy(dist->needs);
    attn_part_destroy(dist->part);
    free(dist);
}

/* This rank's heads in the output array. */
static attn_array own_heads(const attn_dist *dist, void *o)
{
    const attn_problem *problem = &dist->plan.problem;
    attn_array array =
        attn_array_dense(o, attn_dist_output_heads(dist), dist->part->q_rows->rows, problem->shape.v_head_dim);
    const int64_t skipped = (dist->part->head_begin - attn_dist_output_head_begin(dist)) * array.head_stride;

    array.data = (char *)o + (size_t)skipped * attn_dtype_size(problem->dtype);
    return array;
}

void attn_dist_own_memory(attn_dist *dist, void **k, void **v)
{
    *k = *v = NULL;
    if (attn_exchange_of(&dist->plan)->ops->own_memory != NULL)
        attn_exchange_of(&dist->plan)->ops->own_memory(dist->exchange, k, v);
}

void attn_dist_record(attn_dist *dist, attn_timeline *timeline)
{
    dist->timeline = timeline;
}

static attn_laps start_laps(attn_dist *dist, double seconds[ATTN_PHASE_COUNT])
{
    attn_laps laps = attn_laps_start(seconds);

    laps.timeline = dist->timeline;
    laps.rank = dist->part->rank;
    dist->timeline = NULL;
    if (laps.timeline != NULL)
        laps.timeline->count = laps.timeline->lost = 0;
    return laps;
}

attn_status attn_dist_forward(attn_dist *dist, const attn_dist_buffers *buffers, double seconds[ATTN_PHASE_COUNT],
                              attn_error *error)
{
    const attn_shape *shape = &dist->plan.problem.shape;
    const int64_t heads = dist->part->head_count, rows = dist->part->q_rows->rows;
    const attn_exchange_call call = {.q = attn_array_of_const(buffers->q, heads, rows, shape->head_dim),
                                     .k = buffers->k,
                                     .v = buffers->v,
                                     .o = own_heads(dist, buffers->o),
                                     .lse = attn_array_dense(buffers->lse, heads, rows, 1)};
    attn_laps laps = start_laps(dist, seconds);
    attn_status status = attn_exchange_of(&dist->plan)->ops->forward(dist->exchange, &call, &laps, error);

    if (status == ATTN_OK) {
        status = dist->plan.combine->ops->run(dist->combine, buffers->o, error);
        attn_lap(&laps, ATTN_PHASE_COMBINE);
    }
    seconds[ATTN_PHASE_TOTAL] = laps.last - laps.begin;
    return status;
}

attn_status attn_dist_backward(attn_dist *dist, const attn_dist_backward_buffers *buffers,
                               double seconds[ATTN_PHASE_COUNT], attn_error *error)
{
    const attn_shape *shape = &dist->plan.problem.shape;
    const int64_t heads = dist->part->head_count, rows = dist->part->q_rows->rows;
    attn_exchange_call call = {.q = attn_array_of_const(buffers->q, heads, rows, shape->head_dim),
                               .k = buffers->k,
                               .v = buffers->v,
                               .o = own_heads(dist, attn_array_of_const(buffers->o, 1, 1, 1).data),
                               .lse = attn_array_of_const(buffers->lse, heads, rows, 1),
                               .d_o = attn_array_of_const(buffers->d_o, heads, rows, shape->v_head_dim),
                               .dq = attn_array_dense(buffers->dq, heads, rows, shape->head_dim)};
    attn_laps laps = start_laps(dist, seconds);
    attn_status status;

    assert(dist->gradients != NULL);
    attn_gradients_place(dist->gradients, buffers, &call.dk, &call.dv);
    status = attn_exchange_of(&dist->plan)->ops->backward(dist->exchange, &call, &laps, error);
    if (status == ATTN_OK) {
        status = attn_gradients_merge(dist->gradients, buffers, error);
        attn_lap(&laps, ATTN_PHASE_COMBINE);
    }
    seconds[ATTN_PHASE_TOTAL] = laps.last - laps.begin;
    return status;
}
