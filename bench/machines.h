/* The machines of a launch as the cost model sees them: measured when they are first asked for. */
#ifndef BENCH_MACHINES_H
#define BENCH_MACHINES_H

#include "groups.h"

#include <attn/tuning.h>

/* Links of each group of ranks, and rates of each kernel in each kind of problem; the same on every rank of a group.
 * Start zeroed. */
typedef struct machines {
    struct machine_links *links; /* [link_count] */
    struct machine_rate *rates;  /* [rate_count] */
    int64_t link_count, rate_count;
} machines;

void machines_release(machines *known);

/* Collective over the group. The machine for plans of a problem.
 *   choices  in, pass, kernel, threads and node_ranks are read
 *   out      out, the same on every rank
 * ATTN_UNSUPPORTED where the kernel cannot compute the pass; ATTN_MEMORY, ATTN_MPI. */
attn_status machines_find(machines *known, const rank_group *group, const attn_problem *problem,
                          const attn_plan_options *choices, attn_machine *out, attn_error *error);

#endif
