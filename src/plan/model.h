/* The cost model in steps, for many plans of one grid and layout: what costs time with the length of the sequence is
 * looked at once. */
#ifndef PLAN_MODEL_H
#define PLAN_MODEL_H

#include "plan/exchange.h"

#include <attn/planner.h>

/* The parts of a grid and layout: rows, pairs, and who sees whom. */
typedef struct attn_survey attn_survey;

/* For all plans of the problem that have the grid and layout of this one. Destroy takes NULL.
 *   out  out, NULL on failure
 * ATTN_MEMORY. */
attn_status attn_survey_create(const attn_plan *plan, attn_survey **out, attn_error *error);
void attn_survey_destroy(attn_survey *survey);

/* Visible pairs of a head in the part that has most; whether parts have so many runs of rows that looking at what they
 * send takes long. */
double attn_survey_most_pairs(const attn_survey *survey);
bool attn_survey_many_runs(const attn_survey *survey);

/* As attn_plan_estimate, for one of these plans. ATTN_MEMORY. */
attn_status attn_survey_estimate(const attn_survey *survey, const attn_plan *plan, const attn_machine *machine,
                                 attn_estimate *out, attn_error *error);

/* As attn_far, of traffic that is spread over the head group, whose ranks follow each other. */
double attn_far_heads(const attn_plan *plan);

/* FLOP/s of a rank of the plan: of its threads, or of its share of a node's cores where that is less. */
double attn_model_rank_rate(const attn_plan *plan, const attn_machine *machine);

#endif
