#include "core/checked.h"
#include "dist/dist.h"
#include "dist/pieces.h"
#include "layer/layer.h"
#include "layer/place.h"

#include <attn/comm.h>

#include <stdlib.h>

const attn_layer_problem *attn_layer_problem_of(const attn_layer *layer)
{
    return &layer->problem;
}

const attn_plan *attn_layer_plan(const attn_layer *layer)
{
    return &layer->plan;
}

attn_layer_output attn_layer_output_of(const attn_layer *layer)
{
    return layer->way;
}

const attn_segments *attn_layer_rows(const attn_layer *layer)
{
    return attn_shares_own(layer->queries);
}

const attn_segments *attn_layer_context_rows(const attn_layer *layer)
{
    return attn_shares_own(attn_layer_keys(layer));
}

attn_weight_block attn_layer_block(const attn_layer *layer, attn_projection projection)
{
    const attn_shape *const shape = &layer->problem.attention.shape;
    const attn_part *const part = layer->part;
    attn_weight_block block = {.row_count = attn_layer_weight_out(&layer->problem, projection),
                               .column_count = attn_layer_weight_in(&layer->problem, projection)};

    if (block.row_count == 0)
        return (attn_weight_block){.row_begin = 0};
    if (projection == ATTN_PROJECTION_QUERY) {
        block.row_begin = part->head_begin * shape->head_dim;
        block.row_count = part->head_count * shape->head_dim;
    } else if (projection == ATTN_PROJECTION_OUT) {
        if (layer->way == ATTN_LAYER_OUTPUT_REDUCE_SCATTER) {
            block.column_begin = part->head_begin * shape->v_head_dim;
            block.column_count = part->head_count * shape->v_head_dim;
        }
    } else {
        const int64_t width = projection == ATTN_PROJECTION_KEY ? shape->head_dim : shape->v_head_dim;

        block.row_begin = part->kv_head_begin * width;
        block.row_count = part->kv_head_count * width;
    }
    return block;
}

static attn_status check_options(const attn_layer_options *options, attn_error *error)
{
    if ((unsigned)options->output >= ATTN_LAYER_OUTPUT_COUNT)
        return attn_error_set(error, ATTN_ARGUMENT, "output %d of a layer: must be auto, allgather or reduce-scatter",
                              (int)options->output);
    if ((unsigned)options->form >= ATTN_LAYER_FORM_COUNT)
        return attn_error_set(error, ATTN_ARGUMENT, "form %d of a layer: must be fused or stacked", (int)options->form);
    if (options->attention.pass == ATTN_PASS_DECODE)
        return attn_error_set(error, ATTN_UNSUPPORTED, "pass decode: layers have forward and backward passes");
    return ATTN_OK;
}

static attn_status choose(attn_layer *layer, int ranks, const attn_layer_options *options, attn_error *error)
{
    attn_plan_options attention = options->attention;
    attn_status status = check_options(options, error);

    if (status == ATTN_OK)
        status = attn_layer_problem_check(&layer->problem, error);
    if (status != ATTN_OK)
        return status;
    attention.combine = attn_combine_find("none");
    status = attn_plan_make(&layer->problem.attention, ranks, &attention, &layer->plan, error);
    if (status != ATTN_OK)
        return status;
    layer->form = options->form;
    layer->way = options->output == ATTN_LAYER_OUTPUT_AUTO || layer->problem.out_dim == 0
                     ? attn_output_choose(&layer->problem, &layer->plan)
                     : options->output;
    return ATTN_OK;
}

static void forget_comms(attn_layer *layer)
{
    layer->comm = layer->seq_comm = layer->head_comm = MPI_COMM_NULL;
}

static attn_status split(attn_layer *layer, MPI_Comm comm, attn_error *error)
{
    const int rank = attn_comm_rank(comm);
    const int ps = rank / layer->plan.grid.head, ph = rank % layer->plan.grid.head;
    attn_status status = attn_comm_check(MPI_Comm_dup(comm, &layer->comm), "MPI_Comm_dup", error);

    if (status != ATTN_OK)
        return status;
    MPI_Comm_set_errhandler(layer->comm, MPI_ERRORS_RETURN); /* inherited by the two groups */
    status = attn_comm_check(MPI_Comm_split(layer->comm, ph, ps, &layer->seq_comm), "MPI_Comm_split", error);
    return status == ATTN_OK
               ? attn_comm_check(MPI_Comm_split(layer->comm, ps, ph, &layer->head_comm), "MPI_Comm_split", error)
               : status;
}

/* Bytes of the longest line that moves in the head group. */
static int64_t longest_line(const attn_layer_problem *problem)
{
    const int64_t widths[] = {problem->embed_dim, problem->context_dim, attn_layer_out_dim(problem),
                              problem->attention.shape.heads * problem->attention.shape.v_head_dim};
    int64_t widest = 0;

    for (size_t n = 0; n < sizeof widths / sizeof widths[0]; n++)
        widest = widths[n] > widest ? widths[n] : widest;
    return widest * (int64_t)attn_dtype_size(attn_dtype_accumulator(problem->attention.dtype));
}

/* Room for the sums of all weights and biases, and to hand a key-value head to the ranks that share it. */
static attn_status create_sums(attn_layer *layer, int64_t message_bytes, attn_error *error)
{
    const attn_layer_problem *const problem = &layer->problem;
    const int64_t size = (int64_t)attn_dtype_size(attn_dtype_accumulator(problem->attention.dtype));
    const int64_t others = layer->plan.grid.head;
    int64_t bytes = 0;

    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
        bytes += attn_layer_weight_out(problem, (attn_projection)p) *
                 (attn_layer_weight_in(problem, (attn_projection)p) + 1) * size;
    if (!attn_int64_multiply(bytes, others + 1, &bytes))
        return attn_error_set(error, ATTN_UNSUPPORTED, "weights of %d ranks: too large together", layer->plan.ranks);
    return attn_sums_create(layer->head_comm, message_bytes, 2 * ATTN_PROJECTION_COUNT * (others + 1), bytes,
                            &layer->sums, error);
}

/* Memory for the rows of others, and for sums of gradients that are not yet what the caller gets. */
static attn_status allocate(attn_layer *layer, attn_error *error)
{
    const attn_layer_problem *const problem = &layer->problem;
    const attn_dtype dtype = problem->attention.dtype, sum = attn_dtype_accumulator(dtype);
    const bool alone = layer->plan.grid.head == 1, back = layer->plan.pass == ATTN_PASS_BACKWARD;
    const attn_shares *const shares[] = {layer->queries, layer->context};
    const int64_t widths[] = {problem->embed_dim, problem->context_dim};
    void **const all[] = {&layer->x_all, &layer->context_all},
                 **const d_all[] = {&layer->dx_all, &layer->d_context_all};
    int64_t own = 0; /* elements of the larger of the two shares */
    attn_status status = ATTN_OK;

    for (int n = 0; n < 2; n++) {
        if (shares[n] == NULL)
            continue;
        if (attn_shares_own_lines(shares[n]) * widths[n] > own)
            own = attn_shares_own_lines(shares[n]) * widths[n];
        if (status == ATTN_OK && !alone)
            status = attn_lines_allocate(attn_shares_lines(shares[n]), widths[n], 1, dtype, all[n], error);
        if (status == ATTN_OK && back && (!alone || dtype != sum))
            status = attn_lines_allocate(attn_shares_lines(shares[n]), widths[n], 1, sum, d_all[n], error);
    }
    if (status == ATTN_OK && back && !alone)
        status = attn_lines_allocate(own, layer->plan.grid.head - 1, 1, sum, &layer->room, error);
    if (status == ATTN_OK && back && !alone && dtype != sum)
        status = attn_lines_allocate(own, 1, 1, sum, &layer->own_sum, error);
    return status;
}

/* What a rank may fail at alone; the caller agrees on the outcome. */
static attn_status create_local(attn_layer *layer, int64_t message_bytes, attn_error *error)
{
    const attn_layer_problem *const problem = &layer->problem;
    const int64_t batch = problem->attention.shape.batch, longest = longest_line(problem);
    const attn_shape *const shape = &problem->attention.shape;
    attn_status status = attn_part_create(&problem->attention, layer->plan.grid, layer->plan.layout,
                                          attn_comm_rank(layer->comm), &layer->part, error);

    if (status != ATTN_OK)
        return status;
    layer->holders = attn_kv_holders_of(&problem->attention, layer->plan.grid, layer->part->head_index);
    status = attn_shares_create(layer->head_comm, batch, layer->part->q_rows, longest, message_bytes, &layer->queries,
                                error);
    if (status == ATTN_OK && problem->context_dim > 0)
        status = attn_shares_create(layer->head_comm, batch, layer->part->kv_rows, longest, message_bytes,
                                    &layer->context, error);
    if (status == ATTN_OK)
        status =
            attn_output_create(problem, &layer->plan, layer->part, layer->way, layer->queries, &layer->output, error);
    if (status == ATTN_OK)
        status = create_sums(layer, message_bytes, error);
    if (status == ATTN_OK)
        status = allocate(layer, error);
    layer->head_objects = layer->form == ATTN_LAYER_FORM_STACKED ? layer->part->head_count : 1;
    if (status == ATTN_OK && (layer->heads = attn_calloc_array(layer->head_objects, sizeof *layer->heads)) == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld heads", (long long)layer->head_objects);
    if (status == ATTN_OK && layer->form == ATTN_LAYER_FORM_STACKED && layer->plan.pass == ATTN_PASS_BACKWARD)
        status = attn_lines_allocate(shape->head_dim + shape->v_head_dim,
                                     attn_layer_weight_in(problem, ATTN_PROJECTION_KEY) + 1, 1,
                                     attn_dtype_accumulator(problem->attention.dtype), &layer->piece, error);
    return status;
}

/* The plan of one head by itself over the sequence group: every Ph-th rank. */
static attn_plan single_plan(const attn_plan *plan)
{
    attn_plan single = *plan;

    single.ranks = plan->grid.seq;
    single.grid.head = 1;
    if (plan->node_ranks >= plan->ranks)
        single.node_ranks = single.ranks;
    else
        single.node_ranks = plan->node_ranks % plan->grid.head == 0 ? plan->node_ranks / plan->grid.head : 1;
    return single;
}

/* Collective over the ranks of dist, which all come here. */
static attn_status create_heads(attn_layer *layer, int64_t n, int64_t message_bytes, attn_error *error)
{
    const bool stacked = layer->form == ATTN_LAYER_FORM_STACKED;
    const attn_plan single = single_plan(&layer->plan);
    attn_heads_setup setup = {.problem = &layer->problem,
                              .queries = layer->queries,
                              .keys = attn_layer_keys(layer),
                              .kv_counted = stacked ? 1 : layer->holders.counted};
    attn_status status = stacked
                             ? attn_dist_create_head(layer->seq_comm, &single, layer->part->head_begin + n,
                                                     message_bytes, &setup.dist, error)
                             : attn_dist_create_limited(layer->comm, &layer->plan, message_bytes, &setup.dist, error);

    if (status != ATTN_OK)
        return status;
    status = attn_heads_create(&setup, &layer->heads[n], error);
    if (layer->heads[n] == NULL)
        attn_dist_destroy(setup.dist);
    return attn_comm_agree(stacked ? layer->seq_comm : layer->comm, status, error);
}

attn_status attn_layer_create(MPI_Comm comm, const attn_layer_problem *problem, const attn_layer_options *options,
                              attn_layer **out, attn_error *error)
{
    return attn_layer_create_limited(comm, problem, options, ATTN_MESSAGE_BYTES, out, error);
}

attn_status attn_layer_create_limited(MPI_Comm comm, const attn_layer_problem *problem,
                                      const attn_layer_options *options, int64_t message_bytes, attn_layer **out,
                                      attn_error *error)
{
    attn_layer *layer = calloc(1, sizeof *layer);
    attn_status status = ATTN_OK;

    *out = NULL;
    if (layer == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the layer");
    } else {
        layer->problem = *problem;
        forget_comms(layer);
        status = choose(layer, attn_comm_size(comm), options, error);
    }
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = split(layer, comm, error);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, create_local(layer, message_bytes, error), error);
    if (status == ATTN_OK) {
        for (int64_t n = 0; n < layer->head_objects && status == ATTN_OK; n++)
            status = create_heads(layer, n, message_bytes, error);
        status = attn_comm_agree(comm, status, error);
    }
    if (status == ATTN_MPI && layer != NULL) { /* freeing what is common waits for others, who may be elsewhere */
        forget_comms(layer);
        layer->heads = NULL;
        layer->head_objects = 0;
    }
    if (status != ATTN_OK) {
        attn_layer_destroy(layer);
        return status;
    }
    *out = layer;
    return ATTN_OK;
}

void attn_layer_destroy(attn_layer *layer)
{
    if (layer == NULL)
        return;
    for (int64_t n = 0; layer->heads != NULL && n < layer->head_objects; n++)
        attn_heads_destroy(layer->heads[n]);
    free(layer->heads);
    attn_output_destroy(layer->output);
    attn_sums_release(&layer->sums);
    attn_shares_destroy(layer->queries);
    attn_shares_destroy(layer->context);
    attn_part_destroy(layer->part);
    free(layer->x_all);
    free(layer->context_all);
    free(layer->dx_all);
    free(layer->d_context_all);
    free(layer->room);
    free(layer->own_sum);
    free(layer->piece);
    attn_comm_free(&layer->head_comm);
    attn_comm_free(&layer->seq_comm);
    attn_comm_free(&layer->comm);
    free(layer);
}
