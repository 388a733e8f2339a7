/* The arrays of one rank of a layer, and its passes over them. */
#ifndef BENCH_LAYER_TENSORS_H
#define BENCH_LAYER_TENSORS_H

#include <attn/layer_file.h>

/* Owned; NULL where the layer or its pass has none. See attn_layer_forward and attn_layer_backward for extents. */
typedef struct layer_tensors {
    void *x, *context, *y;
    void *d_y, *d_x, *d_context;
    attn_layer_arrays weights;   /* in the problem's dtype */
    attn_layer_arrays gradients; /* in its accumulator type */
} layer_tensors;

/* Memory for a rank's arrays; not collective. Results are NaN, so that one which is never written is found. out is
 * released with layer_tensors_release, on failure too. ATTN_MEMORY. */
attn_status layer_tensors_create(const attn_layer *layer, layer_tensors *out, attn_error *error);
void layer_tensors_release(layer_tensors *arrays);

/* Collective over the layer's ranks, of which the file is open. Reads this rank's inputs and weights. */
attn_status layer_tensors_read(const attn_layer *layer, attn_layer_file *file, layer_tensors *arrays,
                               attn_error *error);

/* Collective over the layer's ranks. A forward pass, and a backward pass where the layer was planned for it. */
attn_status layer_tensors_compute(attn_layer *layer, layer_tensors *arrays, attn_error *error);

/* Collective. Closes a layer file that was read, as tensors_close_input does an input file. */
attn_status layer_tensors_close_file(attn_layer_file *file, attn_status status, attn_error *error);

/* The block of a bias that goes with that of its weight: the same rows, one column. */
attn_weight_block layer_bias_block(attn_weight_block block);

/* Spacing at 1 of the coarsest type of the computation and of the file's inputs and weights.
 *   gradients  in, whether dy is one of the inputs */
double layer_tensors_epsilon(attn_dtype computed, const attn_layer_file *file, bool gradients);

#endif
