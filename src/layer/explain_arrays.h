/* The arrays of an explanation: their memory, and copies in float64 of what goes in. */
#ifndef LAYER_EXPLAIN_ARRAYS_H
#define LAYER_EXPLAIN_ARRAYS_H

#include <attn/explain.h>

/* Makes an explanation with the arrays of attention, zeroed. It is destroyed by the caller, on failure too.
 * ATTN_ARGUMENT, ATTN_MEMORY. */
attn_status attn_explanation_begin(const attn_layer_problem *problem, attn_explanation **out, attn_error *error);

/* Adds the arrays of a layer, those that go in being copied: weights, x, and the context or NULL. ATTN_MEMORY. */
attn_status attn_explanation_begin_layer(attn_explanation *x, const attn_layer_arrays *weights, const void *rows,
                                         const void *context, attn_error *error);

/* Makes zeroed memory for a dense array of extents a x b x c x d. ATTN_MEMORY. */
attn_status attn_explanation_array(double **out, int64_t a, int64_t b, int64_t c, int64_t d, attn_error *error);

#endif
