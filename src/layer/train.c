#include "layer/recall.h"

#include "core/checked.h"
#include "dist/laps.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights and biases by one number: 2 projection, 2 projection + 1. */
enum { SLOTS = 2 * ATTN_PROJECTION_COUNT };

static const char *const array_names[] = {
#define ARRAY_NAME(name, text) [ATTN_TRAIN_##name] = text,
    ATTN_TRAIN_ARRAY_LIST(ARRAY_NAME)
#undef ARRAY_NAME
};

struct attn_trainer {
    attn_training training;
    MPI_Comm comm;
    attn_layer *layer;
    attn_recall recall;
    attn_dtype master; /* in which weights are kept */
    int threads;
    int64_t steps;                                               /* made */
    void *x, *y, *dy;                                            /* [B,rows,..] in the problem's dtype */
    attn_layer_arrays arrays[ATTN_TRAIN_ARRAY_COUNT], gradients; /* of this rank's blocks, in the type of master */
    attn_layer_arrays copy; /* weights in the problem's dtype: others than the master's only where the type differs */
    double *sums;           /* [ranks * 2] loss and right answers of each rank */
};

const char *attn_train_array_name(attn_train_array array)
{
    return (unsigned)array < ATTN_TRAIN_ARRAY_COUNT ? array_names[array] : "unknown";
}

const attn_layer *attn_trainer_layer(const attn_trainer *trainer)
{
    return trainer->layer;
}

int64_t attn_trainer_steps(const attn_trainer *trainer)
{
    return trainer->steps;
}

attn_status attn_training_check(const attn_training *training, attn_error *error)
{
    const attn_layer_problem *const layer = &training->layer;
    const attn_shape *const shape = &layer->attention.shape;
    const attn_status status = attn_layer_problem_check(layer, error);

    if (status != ATTN_OK)
        return status;
    if (!layer->projected || layer->context_dim != 0)
        return attn_error_set(error, ATTN_ARGUMENT, "training: the layer must be self-attention with projections");
    if (layer->attention.dtype == ATTN_FLOAT16)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "dtype float16: training takes float64, float32 and bfloat16, where gradients do not "
                              "underflow");
    if (shape->seq != shape->kv_seq || shape->seq < 2)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "seq %" PRId64 ", kv-seq %" PRId64 ": training takes equal lengths of at least 2",
                              shape->seq, shape->kv_seq);
    if (layer->embed_dim < 2)
        return attn_error_set(error, ATTN_ARGUMENT, "embed-dim %" PRId64 ": training takes at least 2, half for keys",
                              layer->embed_dim);
    if (layer->out_dim < 2)
        return attn_error_set(error, ATTN_ARGUMENT, "values %" PRId64 ": training takes at least 2", layer->out_dim);
    return attn_adamw_check(&training->optimiser, error);
}

/* The array of a slot. */
static void **place(attn_layer_arrays *arrays, int slot)
{
    return slot % 2 == 0 ? &arrays->weight[slot / 2] : &arrays->bias[slot / 2];
}

static void *array_at(const attn_layer_arrays *arrays, int slot)
{
    return slot % 2 == 0 ? arrays->weight[slot / 2] : arrays->bias[slot / 2];
}

/* The whole array of a slot as a block; empty where the layer does not have it. */
static attn_weight_block whole_block(const attn_layer_problem *problem, int slot)
{
    const attn_projection projection = (attn_projection)(slot / 2);
    const bool bias = slot % 2 != 0;
    attn_weight_block block = {.row_begin = 0};

    if (attn_layer_weight_out(problem, projection) == 0 || (bias && !problem->bias[projection]))
        return block;
    block.row_count = attn_layer_weight_out(problem, projection);
    block.column_count = bias ? 1 : attn_layer_weight_in(problem, projection);
    return block;
}

/* What this rank has of a slot. */
static attn_weight_block own_block(const attn_trainer *t, int slot)
{
    attn_weight_block block = whole_block(&t->training.layer, slot);

    if (block.row_count > 0) {
        const attn_weight_block weight = attn_layer_block(t->layer, (attn_projection)(slot / 2));

        block.row_begin = weight.row_begin;
        block.row_count = weight.row_count;
        if (slot % 2 == 0) {
            block.column_begin = weight.column_begin;
            block.column_count = weight.column_count;
        }
    }
    return block;
}

static int64_t block_count(attn_weight_block block)
{
    return block.row_count * block.column_count;
}

static void *zeros(int64_t count, attn_dtype dtype)
{
    void *const array = attn_aligned_alloc((size_t)count * attn_dtype_size(dtype));

    if (array != NULL)
        memset(array, 0, (size_t)count * attn_dtype_size(dtype));
    return array;
}

static void free_arrays(attn_layer_arrays *arrays)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        free(array_at(arrays, slot));
        *place(arrays, slot) = NULL;
    }
}

attn_status attn_train_state_create(const attn_training *training, attn_train_state *out, attn_error *error)
{
    const attn_dtype type = attn_dtype_accumulator(training->layer.attention.dtype);

    *out = (attn_train_state){.steps = 0};
    for (int slot = 0; slot < SLOTS; slot++) {
        const int64_t count = block_count(whole_block(&training->layer, slot));

        for (int a = 0; a < ATTN_TRAIN_ARRAY_COUNT && count > 0; a++) {
            *place(&out->arrays[a], slot) = zeros(count, type);
            if (array_at(&out->arrays[a], slot) == NULL) {
                attn_train_state_release(out);
                return attn_error_set(error, ATTN_MEMORY, "no memory for %" PRId64 " weights", count);
            }
        }
    }
    return ATTN_OK;
}

void attn_train_state_release(attn_train_state *state)
{
    for (int a = 0; a < ATTN_TRAIN_ARRAY_COUNT; a++)
        free_arrays(&state->arrays[a]);
}

/* Makes the arrays of a slot. */
static bool allocate_slot(attn_trainer *t, int slot)
{
    const int64_t count = block_count(own_block(t, slot));
    const attn_dtype dtype = t->training.layer.attention.dtype;
    bool made = true;

    if (block_count(whole_block(&t->training.layer, slot)) == 0)
        return true;
    for (int a = 0; a < ATTN_TRAIN_ARRAY_COUNT; a++) {
        *place(&t->arrays[a], slot) = zeros(count, t->master);
        made = made && array_at(&t->arrays[a], slot) != NULL;
    }
    *place(&t->gradients, slot) = zeros(count, t->master);
    *place(&t->copy, slot) = t->master == dtype ? array_at(&t->arrays[ATTN_TRAIN_WEIGHTS], slot) : zeros(count, dtype);
    return made && array_at(&t->gradients, slot) != NULL && array_at(&t->copy, slot) != NULL;
}

static void *allocate_rows(const attn_trainer *t, int64_t width)
{
    const int64_t extents[] = {t->recall.batch, t->recall.row_count, width,
                               (int64_t)attn_dtype_size(t->training.layer.attention.dtype)};
    int64_t bytes;

    return attn_int64_product(extents, 4, &bytes) ? attn_aligned_alloc((size_t)bytes) : NULL;
}

static attn_status allocate(attn_trainer *t, attn_error *error)
{
    const int64_t width = t->training.layer.out_dim;
    bool made = true;

    for (int slot = 0; slot < SLOTS; slot++)
        made = allocate_slot(t, slot) && made;
    t->x = allocate_rows(t, t->training.layer.embed_dim);
    t->y = allocate_rows(t, width);
    t->dy = allocate_rows(t, width);
    t->sums = malloc((size_t)attn_comm_size(t->comm) * 2 * sizeof *t->sums);
    if (!made || t->x == NULL || t->y == NULL || t->dy == NULL || t->sums == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a training with %" PRId64 " rows on a rank",
                              t->recall.row_count);
    return ATTN_OK;
}

/* Weights as they are computed with, where the type is another one. */
static void round_weights(attn_trainer *t, int slot)
{
    const attn_dtype dtype = t->training.layer.attention.dtype;

    if (t->master != dtype)
        attn_convert(dtype, array_at(&t->copy, slot), t->master, array_at(&t->arrays[ATTN_TRAIN_WEIGHTS], slot),
                     (size_t)block_count(own_block(t, slot)));
}

/* Weights at the start: the normals of their numbers among all weights, so that every holder has the same. */
static void draw_weights(attn_trainer *t)
{
    const attn_layer_problem *const problem = &t->training.layer;
    uint64_t first = 0;

    for (int slot = 0; slot < SLOTS; slot += 2) {
        const attn_weight_block whole = whole_block(problem, slot), own = own_block(t, slot);
        const double deviation = 1 / sqrt((double)whole.column_count);
        void *const to = array_at(&t->arrays[ATTN_TRAIN_WEIGHTS], slot);

#pragma omp parallel for num_threads(t->threads) schedule(static)
        for (int64_t n = 0; n < block_count(own); n++) {
            const int64_t row = own.row_begin + n / own.column_count, column = own.column_begin + n % own.column_count;
            const uint64_t number = first + (uint64_t)(row * whole.column_count + column);

            attn_store(t->master, to, (size_t)n,
                       deviation * attn_random_normal(t->training.seed, ATTN_STREAM_WEIGHTS, number));
        }
        first += (uint64_t)block_count(whole);
        round_weights(t, slot);
    }
}

static attn_status create_layer(MPI_Comm comm, attn_trainer *t, const attn_layer_options *options, attn_error *error)
{
    attn_layer_options chosen = *options;
    attn_status status;

    chosen.attention.pass = ATTN_PASS_BACKWARD;
    status = attn_layer_create(comm, &t->training.layer, &chosen, &t->layer, error);
    if (status != ATTN_OK)
        return status;
    status = attn_comm_check(MPI_Comm_dup(comm, &t->comm), "MPI_Comm_dup", error);
    if (status != ATTN_OK)
        return status;
    MPI_Comm_set_errhandler(t->comm, MPI_ERRORS_RETURN);
    t->threads = attn_layer_plan(t->layer)->threads;
    t->master = attn_dtype_accumulator(t->training.layer.attention.dtype);
    status = attn_recall_create(&t->training, attn_layer_rows(t->layer), &t->recall, error);
    if (status == ATTN_OK)
        status = allocate(t, error);
    return attn_comm_agree(t->comm, status, error);
}

attn_status attn_trainer_create(MPI_Comm comm, const attn_training *training, const attn_layer_options *options,
                                attn_trainer **out, attn_error *error)
{
    attn_status status = attn_training_check(training, error);
    attn_trainer *t = NULL;

    *out = NULL;
    if (status != ATTN_OK)
        return status;
    t = calloc(1, sizeof *t);
    if (t == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for a training");
    status = attn_comm_agree(comm, status, error);
    if (t == NULL || status != ATTN_OK) {
        free(t);
        return status;
    }
    t->training = *training;
    t->comm = MPI_COMM_NULL;
    status = create_layer(comm, t, options, error);
    if (status == ATTN_OK) {
        draw_weights(t);
        *out = t;
    } else {
        if (status == ATTN_MPI) { /* freeing these waits for others */
            t->layer = NULL;
            t->comm = MPI_COMM_NULL;
        }
        attn_trainer_destroy(t);
    }
    return status;
}

void attn_trainer_destroy(attn_trainer *t)
{
    if (t == NULL)
        return;
    if (t->master != t->training.layer.attention.dtype)
        free_arrays(&t->copy);
    for (int a = 0; a < ATTN_TRAIN_ARRAY_COUNT; a++)
        free_arrays(&t->arrays[a]);
    free_arrays(&t->gradients);
    free(t->x);
    free(t->y);
    free(t->dy);
    free(t->sums);
    attn_recall_release(&t->recall);
    attn_layer_destroy(t->layer);
    attn_comm_free(&t->comm);
    free(t);
}

/* The sums of all ranks, added in the order of ranks. */
static attn_status sum_loss(attn_trainer *t, attn_recall_sums own, attn_train_step *out, attn_error *error)
{
    const double queries = (double)attn_recall_queries(&t->recall), mine[2] = {own.loss, own.right};
    const attn_status status =
        attn_comm_check(MPI_Allgather(mine, 2, MPI_DOUBLE, t->sums, 2, MPI_DOUBLE, t->comm), "MPI_Allgather", error);

    out->loss = out->accuracy = 0;
    for (int rank = 0; rank < attn_comm_size(t->comm) && status == ATTN_OK; rank++) {
        out->loss += t->sums[2 * rank];
        out->accuracy += t->sums[2 * rank + 1];
    }
    out->loss /= queries;
    out->accuracy /= queries;
    return status;
}

static void update(attn_trainer *t)
{
    const attn_dtype dtype = t->training.layer.attention.dtype;

    for (int slot = 0; slot < SLOTS; slot++) {
        const attn_adamw_arrays arrays = {
            .count = block_count(own_block(t, slot)),
            .dtype = t->master,
            .gradient = array_at(&t->gradients, slot),
            .weights = array_at(&t->arrays[ATTN_TRAIN_WEIGHTS], slot),
            .m = array_at(&t->arrays[ATTN_TRAIN_MEAN], slot),
            .v = array_at(&t->arrays[ATTN_TRAIN_SQUARE], slot),
            .copy_dtype = dtype,
            .copy = t->master != dtype ? array_at(&t->copy, slot) : NULL,
        };

        if (arrays.count > 0)
            attn_adamw_step(&t->training.optimiser, t->steps + 1, 1, &arrays, t->threads);
    }
}

static void add_seconds(double *to, const double *seconds)
{
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++)
        if (phase != ATTN_PHASE_TOTAL)
            to[phase] += seconds[phase];
}

attn_status attn_trainer_step(attn_trainer *t, attn_train_step *out, attn_error *error)
{
    attn_laps laps = attn_laps_start(out->seconds);
    double seconds[ATTN_PHASE_COUNT];
    attn_recall_sums sums;
    attn_status status;

    attn_recall_rows(&t->recall, t->steps, t->threads, t->x);
    attn_lap(&laps, ATTN_PHASE_INPUT_READ);
    status = attn_layer_forward(t->layer, &t->copy, t->x, NULL, t->y, seconds, error);
    if (status != ATTN_OK)
        return status;
    add_seconds(out->seconds, seconds);
    laps.last = attn_clock();
    sums = attn_recall_loss(&t->recall, t->steps, t->threads, t->y, t->dy);
    status = sum_loss(t, sums, out, error);
    attn_lap(&laps, ATTN_PHASE_LOSS);
    if (status == ATTN_OK)
        status = attn_layer_backward(t->layer, &t->copy, t->x, NULL, t->dy, NULL, NULL, &t->gradients, seconds, error);
    if (status != ATTN_OK)
        return status;
    add_seconds(out->seconds, seconds);
    laps.last = attn_clock();
    update(t);
    t->steps++;
    attn_lap(&laps, ATTN_PHASE_OPTIMISER);
    out->seconds[ATTN_PHASE_TOTAL] = laps.last - laps.begin;
    return ATTN_OK;
}

/* Copies between a block, dense, and its place in the whole array. */
static void copy_block(attn_weight_block block, int64_t columns, size_t size, char *whole, char *own, bool from_whole)
{
    const size_t bytes = (size_t)block.column_count * size;

    for (int64_t row = 0; row < block.row_count; row++) {
        char *const there = whole + (size_t)((block.row_begin + row) * columns + block.column_begin) * size;
        char *const here = own + (size_t)row * bytes;

        if (from_whole)
            memcpy(here, there, bytes);
        else
            memcpy(there, here, bytes);
    }
}

/* Puts the bytes of all ranks together on rank 0: those who hold an element hold the same bits, and the others have
 * zeros. */
static attn_status unite(MPI_Comm comm, char *bytes, int64_t count, attn_error *error)
{
    const bool root = attn_comm_rank(comm) == 0;
    attn_status status = ATTN_OK;

    for (int64_t done = 0; done < count && status == ATTN_OK; done += INT_MAX) {
        const int piece = count - done < INT_MAX ? (int)(count - done) : INT_MAX;

        status = attn_comm_check(MPI_Reduce(root ? MPI_IN_PLACE : bytes + done, root ? bytes + done : NULL, piece,
                                            MPI_BYTE, MPI_BOR, 0, comm),
                                 "MPI_Reduce", error);
    }
    return status;
}

/* Moves one array: to the state of rank 0, or from it. */
static attn_status move_array(const attn_trainer *t, int slot, void *own, void *of_root, bool load, attn_error *error)
{
    const attn_weight_block whole = whole_block(&t->training.layer, slot);
    const size_t size = attn_dtype_size(t->master);
    const int64_t bytes = block_count(whole) * (int64_t)size;
    char *const room = of_root != NULL ? of_root : attn_aligned_alloc((size_t)bytes);
    attn_status status =
        room != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for %" PRId64 " bytes", bytes);

    status = attn_comm_agree(t->comm, status, error);
    if (room == NULL || status != ATTN_OK) {
        if (room != of_root)
            free(room);
        return status;
    }
    if (load) {
        status = attn_comm_broadcast(t->comm, 0, room, (size_t)bytes, error);
        if (status == ATTN_OK)
            copy_block(own_block(t, slot), whole.column_count, size, room, own, true);
    } else {
        memset(room, 0, (size_t)bytes);
        copy_block(own_block(t, slot), whole.column_count, size, room, own, false);
        status = unite(t->comm, room, bytes, error);
    }
    if (room != of_root)
        free(room);
    return status;
}

static attn_status move_all(const attn_trainer *t, const attn_train_state *state, bool load, attn_error *error)
{
    const bool root = attn_comm_rank(t->comm) == 0;
    attn_status status = ATTN_OK;

    for (int slot = 0; slot < SLOTS; slot++)
        for (int a = 0; a < ATTN_TRAIN_ARRAY_COUNT && status == ATTN_OK; a++)
            if (block_count(whole_block(&t->training.layer, slot)) > 0)
                status = move_array(t, slot, array_at(&t->arrays[a], slot),
                                    root ? array_at(&state->arrays[a], slot) : NULL, load, error);
    return status;
}

attn_status attn_trainer_save(const attn_trainer *t, attn_train_state *state, attn_error *error)
{
    if (attn_comm_rank(t->comm) == 0)
        state->steps = t->steps;
    return move_all(t, state, false, error);
}

attn_status attn_trainer_load(attn_trainer *t, const attn_train_state *state, attn_error *error)
{
    int64_t steps = attn_comm_rank(t->comm) == 0 ? state->steps : 0;
    attn_status status = attn_comm_broadcast(t->comm, 0, &steps, sizeof steps, error);

    if (status == ATTN_OK)
        status = move_all(t, state, true, error);
    if (status != ATTN_OK)
        return status;
    t->steps = steps;
    for (int slot = 0; slot < SLOTS; slot++)
        if (block_count(own_block(t, slot)) > 0)
            round_weights(t, slot);
    return ATTN_OK;
}
