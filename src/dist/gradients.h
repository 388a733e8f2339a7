/* The backward pass of one rank's part, and the gradients of key-value heads that ranks share. */
#ifndef DIST_GRADIENTS_H
#define DIST_GRADIENTS_H

#include <attn/dist.h>

#include "dist/exchange.h"

typedef struct attn_gradients attn_gradients;

/* Not collective. Plans the kernel's backward pass over the parts of an exchange that holds all keys, and allocates.
 *   group  in, the head group
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_gradients_create(const attn_group *group, const attn_exchange_state *exchange, attn_gradients **out,
                                  attn_error *error);
void attn_gradients_destroy(attn_gradients *gradients);

/* Computes with what is in the exchange's parts; not collective.
 *   o  in, this rank's heads in its output array */
void attn_gradients_compute(attn_gradients *gradients, const attn_dist_backward_buffers *buffers, attn_array o);

/* Collective over the head group. Completes dk and dv. */
attn_status attn_gradients_merge(attn_gradients *gradients, const attn_dist_backward_buffers *buffers,
                                 attn_error *error);

#endif
