#include <attn/comm.h>
#include <attn/dist.h>

#include "dist/exchange.h"
#include "dist/gradients.h"
#include "dist/pieces.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct attn_dist {
    attn_plan plan;
    attn_part *part;
    MPI_Comm comm, seq_comm, head_comm; /* all ranks; the sequence group; the head group */
    attn_exchange_state *exchange;
    attn_combine_state *combine;
    attn_forward *forward;
    attn_gradients *gradients; /* NULL: the plan is of another pass */
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

static attn_status split(attn_dist *dist, MPI_Comm comm, attn_error *error)
{
    const int rank = attn_comm_rank(comm);
    const int ps = rank / dist->plan.grid.head, ph = rank % dist->plan.grid.head;
    attn_status status = attn_comm_check(MPI_Comm_dup(comm, &dist->comm), "MPI_Comm_dup", error);

    if (status != ATTN_OK)
        return status;
    MPI_Comm_set_errhandler(dist->comm, MPI_ERRORS_RETURN); /* inherited by the two groups */
    status = attn_comm_check(MPI_Comm_split(dist->comm, ph, ps, &dist->seq_comm), "MPI_Comm_split", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Comm_split(dist->comm, ps, ph, &dist->head_comm), "MPI_Comm_split", error);
    return status;
}

/* Everything that a rank may fail at alone; the caller agrees on the outcome. */
static attn_status create_local(attn_dist *dist, attn_error *error)
{
    const attn_plan *plan = &dist->plan;
    attn_group group = {.comm = dist->seq_comm, .plan = plan, .part = dist->part, .message_bytes = ATTN_MESSAGE_BYTES};
    attn_forward_setup setup = {.problem = &plan->problem,
                                .head_begin = dist->part->head_begin,
                                .head_count = dist->part->head_count,
                                .kv_head_begin = dist->part->kv_head_begin,
                                .q_rows = dist->part->q_rows,
                                .o_dtype = plan->problem.dtype,
                                .add_sinks = true,
                                .threads = plan->threads};
    attn_status status = plan->exchange->ops->create(&group, &dist->exchange, error);

    group.comm = dist->head_comm;
    if (status == ATTN_OK)
        status = plan->combine->ops->create(&group, &dist->combine, error);
    if (status != ATTN_OK)
        return status;
    setup.part_count = dist->exchange->part_count;
    setup.part_rows = dist->exchange->part_rows;
    status = attn_forward_create(plan->kernel, &setup, &dist->forward, error);
    return status == ATTN_OK && plan->pass == ATTN_PASS_BACKWARD
               ? attn_gradients_create(&group, dist->exchange, &dist->gradients, error)
               : status;
}

attn_status attn_dist_create(MPI_Comm comm, const attn_plan *plan, attn_dist **out, attn_error *error)
{
    attn_dist *dist = calloc(1, sizeof *dist);
    attn_status status = ATTN_OK;

    *out = NULL;
    assert(attn_comm_size(comm) == plan->ranks);
    if (dist == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the plan");
    } else {
        dist->plan = *plan;
        dist->comm = dist->seq_comm = dist->head_comm = MPI_COMM_NULL;
        status = attn_part_create(&plan->problem, plan->grid, plan->layout, attn_comm_rank(comm), &dist->part, error);
    }
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = split(dist, comm, error);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, create_local(dist, error), error);
    if (status == ATTN_MPI && dist != NULL) /* freeing a communicator waits for others, who may be elsewhere */
        dist->comm = dist->seq_comm = dist->head_comm = MPI_COMM_NULL;
    if (status != ATTN_OK) {
        attn_dist_destroy(dist);
        return status;
    }
    *out = dist;
    return ATTN_OK;
}

void attn_dist_destroy(attn_dist *dist)
{
    if (dist == NULL)
        return;
    attn_gradients_destroy(dist->gradients);
    attn_forward_destroy(dist->forward);
    if (dist->combine != NULL)
        dist->plan.combine->ops->destroy(dist->combine);
    if (dist->exchange != NULL)
        dist->plan.exchange->ops->destroy(dist->exchange);
    attn_comm_free(&dist->head_comm);
    attn_comm_free(&dist->seq_comm);
    attn_comm_free(&dist->comm);
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

attn_status attn_dist_forward(attn_dist *dist, const attn_dist_buffers *buffers, double seconds[ATTN_PHASE_COUNT],
                              attn_error *error)
{
    const attn_shape *shape = &dist->plan.problem.shape;
    const attn_exchange_ops *exchange = dist->plan.exchange->ops;
    const int64_t heads = dist->part->head_count, rows = dist->part->q_rows->rows;
    const attn_forward_buffers local = {.q = attn_array_of_const(buffers->q, heads, rows, shape->head_dim),
                                        .k = dist->exchange->k,
                                        .v = dist->exchange->v,
                                        .o = own_heads(dist, buffers->o),
                                        .lse = attn_array_dense(buffers->lse, heads, rows, 1)};
    double stamps[5];
    attn_status status;

    memset(seconds, 0, ATTN_PHASE_COUNT * sizeof *seconds);
    stamps[0] = attn_clock();
    status = exchange->start(dist->exchange, buffers->k, buffers->v, error);
    stamps[1] = attn_clock();
    if (status == ATTN_OK)
        status = exchange->finish(dist->exchange, error);
    stamps[2] = attn_clock();
    if (status != ATTN_OK)
        return status;
    attn_forward_execute(dist->forward, &local);
    stamps[3] = attn_clock();
    status = dist->plan.combine->ops->run(dist->combine, buffers->o, error);
    stamps[4] = attn_clock();
    seconds[ATTN_PHASE_TOTAL] = stamps[4] - stamps[0];
    seconds[ATTN_PHASE_EXCHANGE] = stamps[1] - stamps[0];
    seconds[ATTN_PHASE_EXCHANGE_WAIT] = stamps[2] - stamps[1];
    seconds[ATTN_PHASE_COMPUTE] = stamps[3] - stamps[2];
    seconds[ATTN_PHASE_COMBINE] = stamps[4] - stamps[3];
    return status;
}

attn_status attn_dist_backward(attn_dist *dist, const attn_dist_backward_buffers *buffers,
                               double seconds[ATTN_PHASE_COUNT], attn_error *error)
{
    const attn_exchange_ops *exchange = dist->plan.exchange->ops;
    const attn_array o = own_heads(dist, attn_array_of_const(buffers->o, 1, 1, 1).data);
    double stamps[5];
    attn_status status;

    assert(dist->gradients != NULL);
    memset(seconds, 0, ATTN_PHASE_COUNT * sizeof *seconds);
    stamps[0] = attn_clock();
    status = exchange->start(dist->exchange, buffers->k, buffers->v, error);
    stamps[1] = attn_clock();
    if (status == ATTN_OK)
        status = exchange->finish(dist->exchange, error);
    stamps[2] = attn_clock();
    if (status != ATTN_OK)
        return status;
    attn_gradients_compute(dist->gradients, buffers, o);
    stamps[3] = attn_clock();
    status = attn_gradients_merge(dist->gradients, buffers, error);
    stamps[4] = attn_clock();
    seconds[ATTN_PHASE_TOTAL] = stamps[4] - stamps[0];
    seconds[ATTN_PHASE_EXCHANGE] = stamps[1] - stamps[0];
    seconds[ATTN_PHASE_EXCHANGE_WAIT] = stamps[2] - stamps[1];
    seconds[ATTN_PHASE_COMPUTE] = stamps[3] - stamps[2];
    seconds[ATTN_PHASE_MERGE] = stamps[4] - stamps[3];
    return status;
}
