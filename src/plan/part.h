/* Parts in steps, for loops over all ranks: ranks of one sequence index have the same rows and differ in their
 * heads. */
#ifndef PLAN_PART_H
#define PLAN_PART_H

#include <attn/plan.h>

/* Makes the part that of another rank of its head group. */
void attn_part_assign_heads(attn_part *part, const attn_problem *problem, attn_grid grid, int head_index);

/* Lists the query rows, or the keys, of a part of a problem: attn_layout_rows, but for a layout that looks at the mask.
 * Keys are dealt as query rows are where there are as many. Arguments as there. */
attn_status attn_layout_queries(const attn_layout *layout, const attn_problem *problem, int parts, int part,
                                attn_segments **out, attn_error *error);
attn_status attn_layout_keys(const attn_layout *layout, const attn_problem *problem, int parts, int part,
                             attn_segments **out, attn_error *error);

/* Memory of the arrays of a part: input_bytes and output_bytes, all else 0. */
void attn_part_arrays(const attn_plan *plan, const attn_part *part, attn_prediction *out);

/* Visible pairs of some query rows of one head, summed over the batch. */
double attn_part_head_pairs(const attn_problem *problem, const attn_segments *rows);

#endif
