/* Gradients of the weights of a layer: which rows, summed over whom. */
#include "layer/gradients.h"

#include "layer/place.h"

static attn_dtype sum_type(const attn_layer *layer)
{
    return attn_dtype_accumulator(layer->problem.attention.dtype);
}

int64_t attn_layer_kv_head(const attn_layer *layer, int64_t n)
{
    return (layer->part->head_begin + n) / attn_shape_group(&layer->problem.attention.shape) -
           layer->part->kv_head_begin;
}

/* Numbers of a row of a weight and, where there is one, of its bias; rows of a key-value head. */
static int64_t row_length(const attn_layer *layer, attn_projection projection)
{
    return attn_layer_weight_in(&layer->problem, projection);
}

static int64_t kv_rows(const attn_layer *layer, attn_projection projection)
{
    const attn_shape *const shape = &layer->problem.attention.shape;

    return projection == ATTN_PROJECTION_KEY ? shape->head_dim : shape->v_head_dim;
}

/* Starts to sum rows [begin, begin + count) of a gradient. */
static void start_sum(attn_layer *layer, MPI_Comm weight_comm, MPI_Comm bias_comm, attn_projection projection,
                      int64_t begin, int64_t count, int64_t length, const attn_layer_arrays *gradients)
{
    const size_t size = attn_dtype_size(sum_type(layer));

    attn_sums_start(&layer->sums, weight_comm, sum_type(layer),
                    (char *)gradients->weight[projection] + (size_t)(begin * length) * size, count * length);
    if (layer->problem.bias[projection])
        attn_sums_start(&layer->sums, bias_comm, sum_type(layer),
                        (char *)gradients->bias[projection] + (size_t)begin * size, count);
}

/* Of the output projection: all ranks have lines of the whole weight, or those of the sequence group of its columns. */
void attn_layer_sum_output(attn_layer *layer, const attn_layer_arrays *gradients)
{
    const attn_weight_block block = attn_layer_block(layer, ATTN_PROJECTION_OUT);
    const bool scattered = layer->way == ATTN_LAYER_OUTPUT_REDUCE_SCATTER;

    if (block.row_count > 0)
        start_sum(layer, scattered ? layer->seq_comm : layer->comm, layer->comm, ATTN_PROJECTION_OUT, 0,
                  block.row_count, block.column_count, gradients);
}

/* Of the heads' projections: over the sequence group, which has the same heads; of key-value heads those that this rank
 * holds first. */
void attn_layer_sum_heads(attn_layer *layer, const attn_layer_arrays *gradients)
{
    for (int p = 0; layer->problem.projected && p < ATTN_PROJECTION_OUT; p++) {
        const attn_projection projection = (attn_projection)p;
        const int64_t rows = attn_layer_block(layer, projection).row_count;
        const int64_t skipped = p == ATTN_PROJECTION_QUERY ? 0
                                                           : (layer->part->kv_head_count - layer->holders.counted) *
                                                                 kv_rows(layer, projection);

        start_sum(layer, layer->seq_comm, layer->seq_comm, projection, skipped, rows - skipped,
                  row_length(layer, projection), gradients);
    }
}

/* The rows of one key-value head that this rank holds, of a weight or of its bias. */
typedef struct kv_block {
    char *data;
    int64_t count, bytes;
} kv_block;

static kv_block kv_block_of(const attn_layer *layer, const attn_layer_arrays *gradients, attn_projection projection,
                            bool bias, int64_t head)
{
    const int64_t length = bias ? 1 : row_length(layer, projection), rows = kv_rows(layer, projection);
    const int64_t size = (int64_t)attn_dtype_size(sum_type(layer));
    char *const array = bias ? gradients->bias[projection] : gradients->weight[projection];

    if (bias && !layer->problem.bias[projection])
        return (kv_block){.data = NULL};
    return (kv_block){
        .data = array + head * rows * length * size, .count = rows * length, .bytes = rows * length * size};
}

/* The four blocks of a key-value head: weight and bias of key and of value. */
enum { KV_BLOCKS = 4 };

static kv_block numbered_block(const attn_layer *layer, const attn_layer_arrays *gradients, int number, int64_t head)
{
    return kv_block_of(layer, gradients, number < 2 ? ATTN_PROJECTION_KEY : ATTN_PROJECTION_VALUE, number % 2 != 0,
                       head);
}

static bool has_heads(const attn_layer *layer, int rank)
{
    const int64_t heads = layer->problem.attention.shape.heads;

    return attn_share_begin(heads, layer->plan.grid.head, rank) <
           attn_share_begin(heads, layer->plan.grid.head, rank + 1);
}

/* The first holder of a key-value head hands its gradients to the others. */
static attn_status share_heads(attn_layer *layer, const attn_layer_arrays *gradients, attn_error *error)
{
    const attn_kv_holders *const of = &layer->holders;

    if (!layer->problem.projected)
        return ATTN_OK;
    for (int n = 0; n < KV_BLOCKS; n++) {
        if (of->first_of_first < layer->part->head_index) {
            const kv_block first = numbered_block(layer, gradients, n, 0);

            attn_sums_receive(&layer->sums, first.data, first.bytes, of->first_of_first);
        }
        for (int r = of->begin; r < of->end; r++) {
            const kv_block last = numbered_block(layer, gradients, n, layer->part->kv_head_count - 1);

            if (has_heads(layer, r))
                attn_sums_send(&layer->sums, last.data, last.bytes, r);
        }
    }
    return attn_sums_finish(&layer->sums, error);
}

attn_status attn_layer_finish_sums(attn_layer *layer, const attn_layer_arrays *gradients, attn_error *error)
{
    const attn_status status = attn_sums_finish(&layer->sums, error);

    return status == ATTN_OK ? share_heads(layer, gradients, error) : status;
}

/* Where the n-th block of a key-value head is kept in layer->piece. */
static void *piece_of(const attn_layer *layer, const attn_layer_arrays *gradients, int number)
{
    char *place = layer->piece;

    for (int n = 0; n < number; n++)
        place += numbered_block(layer, gradients, n, 0).bytes;
    return place;
}

static void add_piece(const attn_layer *layer, const attn_layer_arrays *gradients, int64_t head)
{
    for (int n = 0; n < KV_BLOCKS; n++) {
        const kv_block block = numbered_block(layer, gradients, n, head);

        if (block.data != NULL)
            attn_add_line(sum_type(layer), piece_of(layer, gradients, n), block.count, true, block.data);
    }
}

void attn_layer_single_weights(attn_layer *layer, int64_t n, const void *x, const void *context,
                               const attn_layer_arrays *gradients, attn_laps *laps)
{
    const attn_shape *const shape = &layer->problem.attention.shape;
    const int64_t head = attn_layer_kv_head(layer, n), size = (int64_t)attn_dtype_size(sum_type(layer));
    const bool first = n == 0 || attn_layer_kv_head(layer, n - 1) < head; /* of this rank's that use the head */
    const int64_t row = n * shape->head_dim * size;
    attn_heads_gradients of = {.weight = {NULL}};

    of.weight[ATTN_PROJECTION_QUERY] =
        (char *)gradients->weight[ATTN_PROJECTION_QUERY] + row * row_length(layer, ATTN_PROJECTION_QUERY);
    if (layer->problem.bias[ATTN_PROJECTION_QUERY])
        of.bias[ATTN_PROJECTION_QUERY] = (char *)gradients->bias[ATTN_PROJECTION_QUERY] + row;
    for (int b = 0; b < KV_BLOCKS; b++) {
        void **const to = b % 2 != 0 ? of.bias : of.weight;

        to[b < 2 ? ATTN_PROJECTION_KEY : ATTN_PROJECTION_VALUE] =
            first ? numbered_block(layer, gradients, b, head).data : piece_of(layer, gradients, b);
    }
    attn_heads_weights_backward(layer->heads[n], x, context, &of, laps);
    if (!first)
        add_piece(layer, gradients, head);
    attn_lap(laps, ATTN_PHASE_PROJECTION);
}

attn_status attn_layer_collect_heads(attn_layer *layer, const attn_layer_arrays *gradients, attn_error *error)
{
    const attn_kv_holders *const of = &layer->holders;
    attn_status status = ATTN_OK;

    if (of->first_of_first < layer->part->head_index) {
        for (int n = 0; n < KV_BLOCKS; n++) {
            const kv_block first = numbered_block(layer, gradients, n, 0);

            attn_sums_send(&layer->sums, first.data, first.bytes, of->first_of_first);
        }
        status = attn_sums_finish(&layer->sums, error);
    }
    for (int r = of->begin; r < of->end && status == ATTN_OK; r++) {
        if (!has_heads(layer, r))
            continue;
        for (int n = 0; n < KV_BLOCKS; n++)
            attn_sums_receive(&layer->sums, piece_of(layer, gradients, n), numbered_block(layer, gradients, n, 0).bytes,
                              r);
        status = attn_sums_finish(&layer->sums, error);
        if (status == ATTN_OK)
            add_piece(layer, gradients, layer->part->kv_head_count - 1);
    }
    return status;
}
