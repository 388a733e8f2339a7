/* Parts in steps, for loops over all ranks: ranks of one sequence index have the same rows and differ in their
 * heads. */
#ifndef PLAN_PART_H
#define PLAN_PART_H

#include <attn/partition.h>

/* Makes the part that of another rank of its head group. */
void attn_part_assign_heads(attn_part *part, const attn_problem *problem, attn_grid grid, int head_index);

/* Visible pairs of some query rows of one head, summed over the batch. */
double attn_part_head_pairs(const attn_problem *problem, const attn_segments *rows);

#endif
