#include "layer_tensors.h"
#include "tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Memory of NaN. */
static void *allocate(int64_t count, attn_dtype dtype)
{
    void *const array = tensor_allocate(count, dtype);

    if (array != NULL)
        memset(array, 0xff, (size_t)count * attn_dtype_size(dtype));
    return array;
}

attn_weight_block layer_bias_block(attn_weight_block block)
{
    return (attn_weight_block){block.row_begin, block.row_count, 0, 1};
}

static bool create_weights(const attn_layer *layer, bool gradients, attn_layer_arrays *out)
{
    const attn_layer_problem *const problem = attn_layer_problem_of(layer);
    const attn_dtype dtype = gradients ? attn_dtype_accumulator(problem->attention.dtype) : problem->attention.dtype;
    bool created = true;

    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        const attn_weight_block block = attn_layer_block(layer, (attn_projection)p);

        if (attn_layer_weight_out(problem, (attn_projection)p) == 0)
            continue;
        out->weight[p] = allocate(block.row_count * block.column_count, dtype);
        created = created && out->weight[p] != NULL;
        if (problem->bias[p]) {
            out->bias[p] = allocate(block.row_count, dtype);
            created = created && out->bias[p] != NULL;
        }
    }
    return created;
}

attn_status layer_tensors_create(const attn_layer *layer, layer_tensors *out, attn_error *error)
{
    const attn_layer_problem *const problem = attn_layer_problem_of(layer);
    const attn_dtype dtype = problem->attention.dtype;
    const int64_t batch = problem->attention.shape.batch;
    const int64_t rows = batch * attn_layer_rows(layer)->rows;
    const int64_t context_rows = batch * attn_layer_context_rows(layer)->rows;
    const bool backward = attn_layer_plan(layer)->pass == ATTN_PASS_BACKWARD, context = problem->context_dim > 0;
    bool created;

    out->x = allocate(rows * problem->embed_dim, dtype);
    out->y = allocate(rows * attn_layer_out_dim(problem), dtype);
    created = out->x != NULL && out->y != NULL && create_weights(layer, false, &out->weights);
    if (created && context)
        created = (out->context = allocate(context_rows * problem->context_dim, dtype)) != NULL;
    if (created && backward) {
        out->d_y = allocate(rows * attn_layer_out_dim(problem), dtype);
        out->d_x = allocate(rows * problem->embed_dim, dtype);
        created = out->d_y != NULL && out->d_x != NULL && create_weights(layer, true, &out->gradients);
    }
    if (created && backward && context)
        created = (out->d_context = allocate(context_rows * problem->context_dim, dtype)) != NULL;
    return created ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for this rank's arrays of the layer");
}

void layer_tensors_release(layer_tensors *arrays)
{
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        free(arrays->weights.weight[p]);
        free(arrays->weights.bias[p]);
        free(arrays->gradients.weight[p]);
        free(arrays->gradients.bias[p]);
    }
    free(arrays->x);
    free(arrays->context);
    free(arrays->y);
    free(arrays->d_y);
    free(arrays->d_x);
    free(arrays->d_context);
    *arrays = (layer_tensors){.x = NULL};
}

attn_status layer_tensors_read(const attn_layer *layer, attn_layer_file *file, layer_tensors *arrays, attn_error *error)
{
    const attn_layer_problem *const problem = attn_layer_problem_of(layer);
    const attn_dtype dtype = problem->attention.dtype;
    attn_status status = attn_layer_file_read(file, ATTN_LAYER_X, attn_layer_rows(layer), dtype, arrays->x, error);

    if (status == ATTN_OK && problem->context_dim > 0)
        status = attn_layer_file_read(file, ATTN_LAYER_CONTEXT, attn_layer_context_rows(layer), dtype, arrays->context,
                                      error);
    if (status == ATTN_OK && arrays->d_y != NULL)
        status = attn_layer_file_read(file, ATTN_LAYER_DY, attn_layer_rows(layer), dtype, arrays->d_y, error);
    for (int p = 0; p < ATTN_PROJECTION_COUNT && status == ATTN_OK; p++) {
        const attn_weight_block block = attn_layer_block(layer, (attn_projection)p);
        const attn_weight_block rows = layer_bias_block(block);

        if (arrays->weights.weight[p] != NULL)
            status = attn_layer_file_read_weight(file, (attn_layer_weight){(attn_projection)p, false, false}, &block,
                                                 dtype, arrays->weights.weight[p], error);
        if (status == ATTN_OK && arrays->weights.bias[p] != NULL)
            status = attn_layer_file_read_weight(file, (attn_layer_weight){(attn_projection)p, true, false}, &rows,
                                                 dtype, arrays->weights.bias[p], error);
    }
    return status;
}

attn_status layer_tensors_compute(attn_layer *layer, layer_tensors *arrays, attn_error *error)
{
    double seconds[ATTN_PHASE_COUNT];
    const attn_status status =
        attn_layer_forward(layer, &arrays->weights, arrays->x, arrays->context, arrays->y, seconds, error);

    if (status != ATTN_OK || arrays->d_y == NULL)
        return status;
    return attn_layer_backward(layer, &arrays->weights, arrays->x, arrays->context, arrays->d_y, arrays->d_x,
                               arrays->d_context, &arrays->gradients, seconds, error);
}

attn_status layer_tensors_close_file(attn_layer_file *file, attn_status status, attn_error *error)
{
    attn_error failure = ATTN_ERROR_INIT;
    attn_status closed;

    if (status == ATTN_MPI)
        return status;
    closed = attn_layer_file_close(file, &failure);
    if (closed == ATTN_MPI || status == ATTN_OK)
        return closed == ATTN_OK ? status : attn_error_set(error, closed, "%s", failure.message);
    return status;
}

double layer_tensors_epsilon(attn_dtype computed, const attn_layer_file *file, bool gradients)
{
    double eps = attn_dtype_epsilon(computed);

    for (int a = ATTN_LAYER_X; a <= ATTN_LAYER_DY; a++)
        if (attn_layer_file_has(file, (attn_layer_array)a) && (gradients || a != ATTN_LAYER_DY))
            eps = fmax(eps, attn_dtype_epsilon(attn_layer_file_stored_dtype(file, (attn_layer_array)a)));
    for (int n = 0; n < 2 * ATTN_PROJECTION_COUNT; n++) {
        const attn_layer_weight weight = {(attn_projection)(n / 2), n % 2 == 1, false};

        if (attn_layer_file_has_weight(file, weight))
            eps = fmax(eps, attn_dtype_epsilon(attn_layer_file_weight_dtype(file, weight)));
    }
    return eps;
}
