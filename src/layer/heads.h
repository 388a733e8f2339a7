/* Some heads of a layer on one rank: from lines of x and of the context to lines of these heads' outputs, and back. The
 * projections of the heads, their rotary embedding, and their attention over the sequence group. */
#ifndef LAYER_HEADS_H
#define LAYER_HEADS_H

#include "dist/laps.h"
#include "layer/shares.h"

#include <attn/layer.h>

typedef struct attn_heads_setup {
    const attn_layer_problem *problem;
    const attn_shares *queries, *keys; /* lines of x and of the context; outlive this */
    int64_t kv_counted; /* key-value heads, the last ones, of which this rank has the gradients of weights, and adds
                           those of x; of the others another rank has them */
    attn_dist *dist;    /* taken over, destroyed with this: its plan and part say which heads */
} attn_heads_setup;

typedef struct attn_heads attn_heads;

/* Not collective. Takes setup->dist over. On failure *out is what there is, or NULL: then dist is still the caller's.
 * Destroy is collective, as attn_dist_destroy; takes NULL. ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_heads_create(const attn_heads_setup *setup, attn_heads **out, attn_error *error);
void attn_heads_destroy(attn_heads *heads);

/* Weights of these heads: their rows of the matrices of queries, keys and values, and of the biases. */
typedef struct attn_heads_weights {
    const void *weight[ATTN_PROJECTION_OUT], *bias[ATTN_PROJECTION_OUT];
} attn_heads_weights;

/* Collective over the ranks of dist.
 *   x, context  in, lines; context is x in self-attention
 *   o           out, lines, these heads in columns of a wider array
 *   o_stride    in, elements from line to line of o
 * ATTN_MPI. */
attn_status attn_heads_forward(attn_heads *heads, const attn_heads_weights *weights, const void *x, const void *context,
                               void *o, int64_t o_stride, attn_laps *laps, attn_error *error);

/* Collective over the ranks of dist. Goes back through attention, and leaves dq, dk and dv as lines within.
 *   d_o  in, lines as o of the forward pass */
attn_status attn_heads_backward(attn_heads *heads, const void *x, const void *d_o, int64_t o_stride, attn_laps *laps,
                                attn_error *error);

/* Not collective. After attn_heads_backward: the gradients of the weights from this rank's lines, accumulator type,
 * dense; of keys and values only the rows of counted heads are written. */
typedef struct attn_heads_gradients {
    void *weight[ATTN_PROJECTION_OUT], *bias[ATTN_PROJECTION_OUT];
} attn_heads_gradients;
void attn_heads_weights_backward(attn_heads *heads, const void *x, const void *context,
                                 const attn_heads_gradients *gradients, attn_laps *laps);

/* Not collective. After attn_heads_backward: the gradient of lines of x, and of the context, which is that of x in
 * self-attention, from these heads, in the accumulator type.
 *   add            in, add to what is there
 *   dx, d_context  out, lines; NULL: not needed */
void attn_heads_data_backward(attn_heads *heads, const attn_heads_weights *weights, bool add, void *dx, void *d_context,
                              attn_laps *laps);

#endif
