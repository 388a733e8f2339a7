/* Attention of some query rows over keys that come in steps: each step has some parts of the keys and values, and no
 * key comes twice.
 *
 * Forward, the partial results of the steps are merged in the order in which they are run, in the accumulator type;
 * backward, dq is summed in that order, and dk and dv of a step's parts are handed out. Steps of which no row sees a
 * key cost nothing. With a single step of use, results are written at once. Nothing here communicates. */
#ifndef DIST_STEPS_H
#define DIST_STEPS_H

#include "dist/exchange.h"

typedef struct attn_step_parts {
    int64_t part_count;
    const attn_segments *const *part_rows; /* [part_count] rows of each part */
} attn_step_parts;

/* What is computed; plan and rows outlive the steps, the lists of parts are copied. */
typedef struct attn_steps_setup {
    const attn_plan *plan;                /* problem, kernel, pass, threads */
    int64_t head_begin, head_count;       /* query heads, global numbers */
    int64_t kv_head_begin, kv_head_count; /* key-value heads of the parts, global numbers */
    const attn_segments *q_rows;
    int64_t step_count;
    const attn_step_parts *steps; /* [step_count] */
    attn_dtype dkv_dtype; /* of dk and dv that steps hand out: the problem's (with one step) or its accumulator */
} attn_steps_setup;

typedef struct attn_steps attn_steps;

/* The setup of a rank's own query heads and rows; its steps are yet to be named. */
static inline attn_steps_setup attn_steps_of_group(const attn_group *group)
{
    return (attn_steps_setup){.plan = group->plan,
                              .head_begin = group->part->head_begin,
                              .head_count = group->part->head_count,
                              .kv_head_begin = group->part->kv_head_begin,
                              .kv_head_count = group->part->kv_head_count,
                              .q_rows = group->part->q_rows,
                              .dkv_dtype = group->dkv_dtype};
}

/* For the plan's pass; of the backward pass for both. Not collective. Destroy takes NULL.
 *   out  out, NULL on failure
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_steps_create(const attn_steps_setup *setup, attn_steps **out, attn_error *error);
void attn_steps_destroy(attn_steps *steps);

/* Whether any row sees a key of the step, so that its data are needed. */
bool attn_steps_see(const attn_steps *steps, int64_t step);

/* One forward pass: begin, each step at most once and each that is seen exactly once, in an order that is the caller's
 * and fixed, end.
 *   q    in, [B,head_count,q rows,D]
 *   o    out at the end, [B,head_count,q rows,Dv], the problem's dtype
 *   lse  out at the end, [B,head_count,q rows], accumulator type, rows dense
 *   k, v      in, [part_count] of the step
 *   progress  in, made while it computes; NULL: nothing */
void attn_steps_forward(attn_steps *steps, const attn_array *q, const attn_array *o, const attn_array *lse);
void attn_steps_forward_step(attn_steps *steps, int64_t step, const attn_array *k, const attn_array *v,
                             const attn_progress *progress, attn_laps *laps);
void attn_steps_forward_end(attn_steps *steps, attn_laps *laps);

/* One backward pass, in the same way.
 *   q, o, lse, d_o  in, of whole rows, as the forward pass over all keys left them
 *   dq              out at the end, [B,head_count,q rows,D], the problem's dtype
 *   dk, dv          out, [part_count] of the step, dkv_dtype: what these rows add to them, 0 where nothing */
typedef struct attn_steps_rows {
    attn_array q, o, lse, d_o, dq;
} attn_steps_rows;
void attn_steps_backward(attn_steps *steps, const attn_steps_rows *rows);
void attn_steps_backward_step(attn_steps *steps, int64_t step, const attn_array *k, const attn_array *v,
                              const attn_array *dk, const attn_array *dv, const attn_progress *progress,
                              attn_laps *laps);
void attn_steps_backward_end(attn_steps *steps, attn_laps *laps);

/* Bytes that steps of this setup allocate for partial results, without the kernel's scratch: o of the rows once and lse
 * twice (and o once more where the problem's dtype is not its accumulator), or dq, when more than one step is seen. */
double attn_steps_extra_bytes(const attn_plan *plan, int64_t head_count, int64_t rows, int64_t seen_steps);

#endif
