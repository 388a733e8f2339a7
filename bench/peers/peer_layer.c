#include "peers/peer_layer.h"

#include <attn/layer.h>

#include <stdio.h>
#include <stdlib.h>

struct peer_layer {
    attn_layer *layer;
};

enum { WEIGHTS = 5 };

static bool started;

static attn_status start_mpi(attn_error *error)
{
    int initialized = 0, provided = 0;

    if (MPI_Initialized(&initialized) != MPI_SUCCESS)
        return attn_error_set(error, ATTN_MPI, "MPI_Initialized failed");
    if (initialized)
        return ATTN_OK;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return attn_error_set(error, ATTN_MPI, "MPI_Init_thread failed");
    started = true;
    return ATTN_OK;
}

static attn_status make_layer(const char *dtype_name, const int64_t *extents, int causal, int backward, int threads,
                              attn_layer **out, attn_error *error)
{
    const attn_shape shape = {.batch = extents[0],
                              .heads = extents[3],
                              .kv_heads = extents[3],
                              .seq = extents[1],
                              .kv_seq = extents[1],
                              .head_dim = extents[4],
                              .v_head_dim = extents[4]};
    const attn_layer_options options = {
        .attention = {.pass = backward ? ATTN_PASS_BACKWARD : ATTN_PASS_FORWARD, .threads = threads}};
    attn_layer_problem problem = {.embed_dim = extents[2], .out_dim = extents[2], .projected = true};
    attn_dtype dtype = ATTN_FLOAT32;
    attn_status status = attn_dtype_parse(dtype_name, &dtype, error);

    if (status == ATTN_OK)
        status = start_mpi(error);
    if (status != ATTN_OK)
        return status;
    problem.attention = attn_problem_init(shape, dtype);
    problem.attention.mask.causal = causal != 0;
    problem.bias[ATTN_PROJECTION_OUT] = true;
    return attn_layer_create(MPI_COMM_SELF, &problem, &options, out, error);
}

peer_layer *peer_layer_create(const char *dtype, const int64_t *extents, int causal, int backward, int threads,
                              char *message, size_t size)
{
    attn_error error = ATTN_ERROR_INIT;
    peer_layer *made = calloc(1, sizeof *made);
    attn_status status = made != NULL ? make_layer(dtype, extents, causal, backward, threads, &made->layer, &error)
                                      : attn_error_set(&error, ATTN_MEMORY, "no memory for a layer");

    if (status == ATTN_OK)
        return made;
    snprintf(message, size, "%s", error.message);
    free(made);
    return NULL;
}

void peer_layer_destroy(peer_layer *layer)
{
    if (layer == NULL)
        return;
    attn_layer_destroy(layer->layer);
    free(layer);
}

void peer_layer_finish(void)
{
    if (started)
        MPI_Finalize();
    started = false;
}

static attn_layer_arrays arrays_of(void *const *list)
{
    attn_layer_arrays arrays = {.bias = {[ATTN_PROJECTION_OUT] = list[WEIGHTS - 1]}};

    for (int n = 0; n < ATTN_PROJECTION_COUNT; n++)
        arrays.weight[n] = list[n];
    return arrays;
}

int peer_layer_forward(peer_layer *layer, void *const *weights, const void *x, void *y)
{
    const attn_layer_arrays arrays = arrays_of(weights);
    double seconds[ATTN_PHASE_COUNT];

    return attn_layer_forward(layer->layer, &arrays, x, NULL, y, seconds, NULL) != ATTN_OK;
}

int peer_layer_backward(peer_layer *layer, void *const *weights, const void *x, const void *dy, void *dx,
                        void *const *gradients)
{
    const attn_layer_arrays arrays = arrays_of(weights), sums = arrays_of(gradients);
    double seconds[ATTN_PHASE_COUNT];

    return attn_layer_backward(layer->layer, &arrays, x, NULL, dy, dx, NULL, &sums, seconds, NULL) != ATTN_OK;
}
