/* Combine `allgather`: every rank of a head group ends with the outputs of all heads of its rows.
 *
 * The kernel writes its heads straight to their place in the full output [B,Hq,rows,Dv], and one all-gather in place
 * fills in the others. "One head of all batches" is a vector type with the extent of one head, so uneven head counts
 * are counts and displacements, and nothing is packed. A call gathers as many rows of all heads as keep a rank's
 * message below its limit. A rank hands its hq X bytes to Ph - 1 others. */
#include "core/checked.h"
#include "dist/exchange.h"
#include "dist/pieces.h"

#include <attn/comm.h>

#include <stdlib.h>

typedef struct allgather_state {
    attn_combine_state base;
    int ranks;
    int *counts, *places; /* [ranks] heads of each rank, and heads before it */
    int64_t piece;        /* rows of a call; the last one may have fewer */
    MPI_Datatype head;    /* a piece of one head of all batches; null without rows */
    MPI_Datatype tail;    /* the last piece; null when it is like the others */
} allgather_state;

static int64_t output_heads(const attn_plan *plan, const attn_part *part)
{
    (void)part;
    return plan->problem.shape.heads;
}

static int64_t output_head_begin(const attn_plan *plan, const attn_part *part)
{
    (void)plan, (void)part;
    return 0;
}

/* Rows of all heads of a rank that one call gathers: alike in the head group. */
static int64_t piece_rows(const attn_plan *plan, int64_t rows, int64_t limit)
{
    const attn_shape *shape = &plan->problem.shape;
    const int64_t most_heads = (shape->heads - 1) / plan->grid.head + 1;
    const int64_t row = shape->batch * most_heads * shape->v_head_dim * (int64_t)attn_dtype_size(plan->problem.dtype);
    const int64_t piece = attn_piece_items(limit, row);

    return piece < rows ? piece : rows;
}

static attn_status predict(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const double bytes = (double)shape->batch * (double)part->head_count * (double)part->q_rows->rows *
                         (double)shape->v_head_dim * (double)attn_dtype_size(plan->problem.dtype);

    const int64_t rows = part->q_rows->rows;

    (void)error;
    out->combine_bytes += bytes * (plan->grid.head - 1);
    if (bytes > 0)
        out->messages +=
            (double)(attn_piece_count(rows, piece_rows(plan, rows, ATTN_MESSAGE_BYTES)) * (plan->grid.head - 1));
    return ATTN_OK;
}

static void destroy(attn_combine_state *base)
{
    allgather_state *state = (allgather_state *)base;

    if (state == NULL)
        return;
    if (state->head != MPI_DATATYPE_NULL)
        MPI_Type_free(&state->head);
    if (state->tail != MPI_DATATYPE_NULL)
        MPI_Type_free(&state->tail);
    free(state->counts);
    free(state->places);
    free(state);
}

/* Some rows of one head of all batches in an array [B,Hq,rows,Dv], with the extent of one head of one batch. */
static attn_status make_head_type(const attn_plan *plan, int64_t rows, int64_t piece, MPI_Datatype *out,
                                  attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const MPI_Aint bytes = (MPI_Aint)(rows * shape->v_head_dim) * (MPI_Aint)attn_dtype_size(plan->problem.dtype);
    MPI_Datatype row, strided = MPI_DATATYPE_NULL;
    int row_count = 0, batch = 0;
    attn_status status = attn_mpi_run(plan->problem.dtype, shape->v_head_dim, &row, error);

    *out = MPI_DATATYPE_NULL;
    if (status != ATTN_OK)
        return status;
    if (!attn_int_from_int64(piece, &row_count) || !attn_int_from_int64(shape->batch, &batch))
        status = attn_error_set(error, ATTN_UNSUPPORTED, "batch %lld of %lld rows: MPI counts up to 2147483647",
                                (long long)shape->batch, (long long)piece);
    if (status == ATTN_OK)
        status =
            attn_comm_check(MPI_Type_create_hvector(batch, row_count, (MPI_Aint)shape->heads * bytes, row, &strided),
                            "MPI_Type_create_hvector", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Type_create_resized(strided, 0, bytes, out), "MPI_Type_create_resized", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Type_commit(out), "MPI_Type_commit", error);
    if (strided != MPI_DATATYPE_NULL)
        MPI_Type_free(&strided);
    MPI_Type_free(&row);
    return status;
}

static attn_status create(const attn_group *group, attn_combine_state **out, attn_error *error)
{
    const attn_plan *plan = group->plan;
    const int64_t heads = plan->problem.shape.heads, rows = group->part->q_rows->rows;
    allgather_state *state = calloc(1, sizeof *state);
    attn_status status = ATTN_OK;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the combine");
    state->base.group = *group;
    state->ranks = plan->grid.head;
    state->head = state->tail = MPI_DATATYPE_NULL;
    state->counts = attn_calloc_array(state->ranks, sizeof *state->counts);
    state->places = attn_calloc_array(state->ranks, sizeof *state->places);
    if (state->counts == NULL || state->places == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the combine of %d ranks", state->ranks);
    for (int r = 0; status == ATTN_OK && r < state->ranks; r++) {
        const int64_t begin = attn_share_begin(heads, state->ranks, r);
        const int64_t end = attn_share_begin(heads, state->ranks, r + 1);

        if (!attn_int_from_int64(begin, &state->places[r]) || !attn_int_from_int64(end - begin, &state->counts[r]))
            status =
                attn_error_set(error, ATTN_UNSUPPORTED, "heads %lld: MPI counts up to 2147483647", (long long)heads);
    }
    state->piece = piece_rows(plan, rows, group->message_bytes);
    if (status == ATTN_OK && rows > 0)
        status = make_head_type(plan, rows, state->piece, &state->head, error);
    if (status == ATTN_OK && rows > 0 && rows % state->piece > 0)
        status = make_head_type(plan, rows, rows % state->piece, &state->tail, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

static attn_status run(attn_combine_state *base, void *o, attn_error *error)
{
    allgather_state *state = (allgather_state *)base;
    const attn_problem *problem = &base->group.plan->problem;
    const int64_t rows = base->group.part->q_rows->rows; /* alike for the whole group */
    const size_t row_bytes = (size_t)problem->shape.v_head_dim * attn_dtype_size(problem->dtype);
    attn_status status = ATTN_OK;

    if (state->ranks == 1)
        return ATTN_OK;
    for (int64_t row = 0; row < rows && status == ATTN_OK; row += state->piece)
        status = attn_comm_check(
            MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, (char *)o + (size_t)row * row_bytes, state->counts,
                           state->places, rows - row >= state->piece ? state->head : state->tail, base->group.comm),
            "MPI_Allgatherv", error);
    return status;
}

static const attn_combine_ops ops = {create, destroy, run};

const attn_combine attn_combine_allgather = {"allgather",  "each rank ends with the outputs of all heads of its rows",
                                             output_heads, output_head_begin,
                                             predict,      &ops};
