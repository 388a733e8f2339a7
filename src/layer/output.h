/* What becomes of the heads' outputs: y, by one of the ways of ATTN_LAYER_OUTPUT_LIST, and back.
 *
 * Ph ranks have Hq Dv columns of the L lines of a part, and want out_dim columns of n lines each:
 *   allgather       each sends its columns of the others' lines, and gets all columns of its own; then all of Wo
 *   reduce-scatter  its columns of Wo for all lines, in the accumulator type; sums of the others' lines are sent
 * Without Wo the columns are y. */
#ifndef LAYER_OUTPUT_H
#define LAYER_OUTPUT_H

#include "dist/laps.h"
#include "layer/shares.h"

#include <attn/layer.h>

typedef struct attn_output attn_output;

/* The way that takes less time by what the rank with most heads and lines sends and computes, with the rates of
 * attn_machine_default; of a plan with a backward pass both passes. Where the two are the same, ALLGATHER. */
attn_layer_output attn_output_choose(const attn_layer_problem *problem, const attn_plan *plan);

/* Not collective.
 *   way      in, not AUTO
 *   queries  in, lines; outlives this
 * ATTN_MEMORY, ATTN_UNSUPPORTED. Destroy takes NULL. */
attn_status attn_output_create(const attn_layer_problem *problem, const attn_plan *plan, const attn_part *part,
                               attn_layer_output way, attn_shares *queries, attn_output **out, attn_error *error);
void attn_output_destroy(attn_output *output);

/* Where this rank's heads leave their outputs before, [lines,head_count Dv]. */
void *attn_output_lines(attn_output *output, void *y);

/* Collective over the head group. y [own lines,out_dim] from attn_output_lines.
 *   weight, bias  in, of the projection, NULL: there is none */
attn_status attn_output_forward(attn_output *output, const void *weight, const void *bias, void *y, attn_laps *laps,
                                attn_error *error);

/* Collective over the head group. Back from dy to the gradient of attn_output_lines.
 *   d_weight, d_bias  out, from the lines that this rank projected, accumulator type
 *   d_lines           out, where that gradient is: valid until the next pass, or as long as dy */
attn_status attn_output_backward(attn_output *output, const void *weight, const void *dy, void *d_weight, void *d_bias,
                                 const void **d_lines, attn_laps *laps, attn_error *error);

#endif
