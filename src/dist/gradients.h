/* The gradients of key-value heads that ranks of a head group share: where an exchange puts its sums of dk and dv, and
 * how they become the gradients. */
#ifndef DIST_GRADIENTS_H
#define DIST_GRADIENTS_H

#include <attn/dist.h>

#include "dist/exchange.h"

typedef struct attn_gradients attn_gradients;

/* Not collective. Destroy takes NULL.
 *   group  in, the head group
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_gradients_create(const attn_group *group, attn_gradients **out, attn_error *error);
void attn_gradients_destroy(attn_gradients *gradients);

/* The type of the sums: the problem's, or its accumulator where they are added to those of other ranks. */
attn_dtype attn_gradients_dtype(const attn_gradients *gradients);

/* Where the sums of this rank's query heads go, [B,kv_head_count,kv_rows,D or Dv]. */
void attn_gradients_place(const attn_gradients *gradients, const attn_dist_backward_buffers *buffers, void **dk,
                          void **dv);

/* Collective over the head group. Completes dk and dv. */
attn_status attn_gradients_merge(attn_gradients *gradients, const attn_dist_backward_buffers *buffers,
                                 attn_error *error);

#endif
