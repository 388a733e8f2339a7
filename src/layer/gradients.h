/* Gradients of the weights of a layer: which rows, summed over whom.
 *
 * Lines are split over all ranks, heads over a head group. Wo of allgather has its lines on all ranks; the projections
 * of heads, and Wo of reduce-scatter, on the ranks of a sequence group, which have the same heads. A key-value head
 * that several ranks of a head group hold is summed by the first of them; the others get the result. */
#ifndef LAYER_GRADIENTS_H
#define LAYER_GRADIENTS_H

#include "layer/layer.h"

/* The key-value head of the n-th head of this rank, counted from the first that it holds. */
int64_t attn_layer_kv_head(const attn_layer *layer, int64_t n);

/* Collective. Start to sum the gradients of the output projection, and of the projections of heads. */
void attn_layer_sum_output(attn_layer *layer, const attn_layer_arrays *gradients);
void attn_layer_sum_heads(attn_layer *layer, const attn_layer_arrays *gradients);

/* Collective. Waits for these sums, and hands key-value heads on. ATTN_MPI. */
attn_status attn_layer_finish_sums(attn_layer *layer, const attn_layer_arrays *gradients, attn_error *error);

/* Not collective. Stacked: the gradients of the n-th head's weights, from this rank's lines, to their rows; those of a
 * key-value head are summed over the heads of this rank that use it. */
void attn_layer_single_weights(attn_layer *layer, int64_t n, const void *x, const void *context,
                               const attn_layer_arrays *gradients, attn_laps *laps);

/* Collective over the head group. Stacked: sums those of shared key-value heads over the ranks that hold them, in their
 * order, for the first. ATTN_MPI. */
attn_status attn_layer_collect_heads(attn_layer *layer, const attn_layer_arrays *gradients, attn_error *error);

#endif
