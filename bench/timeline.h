/* The timeline of a case: one repetition more than those that are timed, with every stretch of it as an event. */
#ifndef BENCH_TIMELINE_H
#define BENCH_TIMELINE_H

#include <attn/dist.h>
#include <attn/sampler.h>

typedef struct timeline {
    attn_event *events; /* [count], of all ranks, by rank and begin */
    int64_t count, lost;
} timeline;

/* Collective over the ranks of dist. Makes one repetition through the callbacks of the sampler, between two barriers as
 * it does, and brings the events of all ranks to rank 0. The wait for the others at the end is an event too.
 *   median  in, s, of the repetitions, the same on all ranks
 *   out     on rank 0, its events to be freed with free(); empty elsewhere and on failure
 * ATTN_MEMORY, ATTN_MPI. */
attn_status timeline_record(attn_dist *dist, const attn_sampler_target *target, double median, timeline *out,
                            attn_error *error);

#endif
