/* The check of one layer file computed in one way: its arrays, what they are compared with, and writing them. */
#ifndef BENCH_VERIFY_LAYER_H
#define BENCH_VERIFY_LAYER_H

#include "compare.h"
#include "layer_tensors.h"

/* One result of a layer. */
typedef struct layer_result {
    char path[300]; /* "expected/y", "expected/weights/in_proj_weight (key)"; without "expected/" where it is not */
    bool weight;
    attn_layer_array array;  /* of one that is no weight */
    attn_layer_weight which; /* of one that is; expected */
    bool gradient;
} layer_result;

/* y, dx, dcontext, and a weight and a bias of each projection. */
enum { LAYER_RESULTS = 3 + 2 * ATTN_PROJECTION_COUNT };

/* The n-th result of the layer in a file; false where the layer has none such. */
bool layer_result_at(const attn_layer_file *file, int n, layer_result *out);

/* Whether the file expects a result, or any at all. */
bool layer_result_expected(const attn_layer_file *file, const layer_result *result);
bool layer_results_expected(const attn_layer_file *file);

/* Room for the rows of a block of a weight, to which a computed_block points. */
typedef struct layer_row_list {
    attn_segment one;
    attn_segments rows;
} layer_row_list;

/* This rank's block of a result, and the number of its elements. */
computed_block layer_result_block(const attn_layer *layer, const layer_tensors *arrays, const layer_result *result,
                                  layer_row_list *row);
int64_t computed_block_elements(const computed_block *block);

/* The float64 computation on rank 0: of the largest score, and, where the file expects nothing, of every result. */
typedef struct layer_reference {
    attn_layer *layer; /* on rank 0, as the rest */
    layer_tensors arrays;
    bool computed; /* the passes were made */
    double max_score;
} layer_reference;

/* Collective over comm. Rank 0 opens the file by itself.
 *   compute   in, whether the passes are made
 *   backward  in, the backward pass too
 *   out       out, released by the caller, on failure too
 * ATTN_MEMORY, ATTN_FILE, ATTN_MPI. */
attn_status layer_reference_make(MPI_Comm comm, const char *path, bool compute, bool backward, int threads,
                                 layer_reference *out, attn_error *error);
void layer_reference_release(layer_reference *reference);

/* Collective over comm. Gives each rank its block of a result of the reference. */
attn_status layer_reference_share(MPI_Comm comm, const layer_reference *reference, const attn_layer_problem *problem,
                                  const layer_result *result, const computed_block *block, double *want,
                                  attn_error *error);

/* Collective over the layer's ranks. Writes a layer file: the inputs, settings and weights of `file` as they are
 * stored, and what was computed, in the computing type, gradients of weights in its accumulator type. ATTN_ARGUMENT
 * when it cannot be created. */
attn_status layer_write_computed(MPI_Comm comm, const attn_layer *layer, const layer_tensors *arrays,
                                 attn_layer_file *file, const char *path, attn_error *error);

#endif
