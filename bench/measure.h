/* Running one case: inputs, repetitions, validation, record. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "case.h"
#include "roofs.h"
#include "timeline.h"

#include <attn/dist.h>
#include <attn/result.h>
#include <attn/sampler.h>

/* What is the same for all cases of a run. Borrowed. */
typedef struct measure_context {
    const bench *launch;
    const sweep *lists;
    attn_sampler_options sampling;
    case_input input;
    const char *launch_id;
    bandwidths *bandwidths; /* of this launch so far */
    machines *machines;     /* the same */
} measure_context;

/* Collective over the launch: the ranks of the case's group run it, the others sleep. Records what happened, also a
 * case that cannot run, is interrupted, or finds no memory or no threads.
 *   result  out, on rank 0 destroyed by the caller; NULL elsewhere and on failure */
attn_status measure_case(const measure_context *context, bench_case *one, attn_result **result, attn_error *error);

/* What came of one case on the ranks of its group. */
typedef struct measured {
    attn_status status; /* ATTN_OK, ATTN_MEMORY, ATTN_UNSUPPORTED or ATTN_INTERRUPTED, with the reason */
    attn_error reason;
    attn_samples samples;
    peaks before, after;    /* beside the samples */
    double bandwidth;       /* B/s of all ranks together; 0: not measured */
    attn_estimate estimate; /* of the plan that ran */
    attn_tuning tuning;     /* of --plan measure */
    double input_bytes;     /* of q, k and v that all ranks together read or made */
    double *all;            /* on rank 0: samples of all ranks, [reps][ranks][ATTN_PHASE_COUNT] */
    timeline line;          /* on rank 0 */
    attn_check check;
} measured;

/* Fills a result from a case and, unless it is NULL, from what was measured; takes over made->all and made->line. Not
 * collective. */
attn_status record_case(const measure_context *context, const bench_case *one, measured *made, attn_result *result,
                        attn_error *error);

#endif
