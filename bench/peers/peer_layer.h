/* Layers as flat functions, for callers that know no C structs, as peer.h has attention: one rank, self-attention with
 * projections without bias but for the last, [out,in] weights, dense arrays. */
#ifndef PEERS_PEER_LAYER_H
#define PEERS_PEER_LAYER_H

#include <attn/status.h>

#include <stddef.h>
#include <stdint.h>

typedef struct peer_layer peer_layer;

/* Makes a layer; starts MPI when nobody has.
 *   dtype     in, "float32" or "bfloat16"
 *   extents   in, [5]: B, S, E, heads, D; y is E wide
 *   causal    in, 0 or 1
 *   backward  in, 0 or 1: whether peer_layer_backward will be called
 *   threads   in, OpenMP threads, >= 1
 *   message   out, [size] bytes, why there is no layer
 * Returns NULL on failure; owned by the caller (peer_layer_destroy takes NULL). */
ATTN_API peer_layer *peer_layer_create(const char *dtype, const int64_t *extents, int causal, int backward, int threads,
                                       char *message, size_t size);
ATTN_API void peer_layer_destroy(peer_layer *layer);

/* Ends MPI if peer_layer_create started it, after all layers were destroyed. */
ATTN_API void peer_layer_finish(void);

/* Computes y. Returns 0, or 1 when it failed.
 *   weights  in, [5]: of query, key, value and output projection, and the bias of the last; the layer's dtype
 *   x        in, [B,S,E]
 *   y        out, [B,S,E] */
ATTN_API int peer_layer_forward(peer_layer *layer, void *const *weights, const void *x, void *y);

/* Computes dx and the gradients of the weights, after peer_layer_forward with the same arguments.
 *   dy         in, [B,S,E]
 *   dx         out, [B,S,E]
 *   gradients  out, [5], as weights, float32 */
ATTN_API int peer_layer_backward(peer_layer *layer, void *const *weights, const void *x, const void *dy, void *dx,
                                 void *const *gradients);

#endif
