/* Rotary position embedding (Su et al. 2021, eq. 34): cosines and sines of a rank's rows, made once, and turning. */
#ifndef LAYER_ROTARY_H
#define LAYER_ROTARY_H

#include <attn/layer.h>

typedef struct attn_rotary_table attn_rotary_table;

/* Makes the table of some rows. Angles are float64, cosines and sines are kept in the accumulator type.
 *   rotary  in, style not ATTN_ROTARY_NONE
 *   rows    in, global rows; not kept
 *   shift   in, what to add to a row for its position: Skv - Sq for queries, 0 for keys
 *   dtype   in, of the arrays that will be turned
 *   out     out, NULL on failure; destroy takes NULL
 * ATTN_MEMORY. */
attn_status attn_rotary_create(const attn_rotary *rotary, const attn_segments *rows, int64_t shift, attn_dtype dtype,
                               attn_rotary_table **out, attn_error *error);
void attn_rotary_destroy(attn_rotary_table *table);

/* Turns the heads of an array in place: each pair (a, b) becomes (a cos - b sin, a sin + b cos).
 *   back     in, by the negative angles, which takes the turn back; so gradients go through it
 *   x        inout, [batch,heads,rows of the table,D]
 *   threads  in, OpenMP threads, >= 1; bits do not depend on them */
void attn_rotary_turn(const attn_rotary_table *table, bool back, int64_t batch, int64_t heads, const attn_array *x,
                      int threads);

#endif
