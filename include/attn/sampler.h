/* Repeats a measurement until the interval of its median is narrow enough, with the same decision on every rank.
 * No MPI: the barrier and the reduction are callbacks. */
#ifndef ATTN_SAMPLER_H
#define ATTN_SAMPLER_H

#include <attn/phase.h>
#include <attn/statistics.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_sampler_options {
    int64_t warmup;             /* repetitions before the first that counts, not timed; >= 0 */
    int64_t min_reps, max_reps; /* 1 <= min_reps <= max_reps */
    double max_time;            /* s, budget of the timed part; at least min_reps are made */
    double ci;                  /* coverage of the interval, 0 < ci < 1 */
    double rel_err;             /* half width of the interval over the median at which to stop, > 0 */
} attn_sampler_options;

/* Returns min_reps 5, max_reps 1000, max_time 10 s, ci 0.95, rel_err 0.02, warmup 1. */
ATTN_API attn_sampler_options attn_sampler_defaults(void);

/* What is measured. Each callback returns a status that is the same on every rank (the caller's duty). */
typedef struct attn_sampler_target {
    void *context;
    /* Runs once; seconds [ATTN_PHASE_COUNT] out, this rank's. */
    attn_status (*run)(void *context, double *seconds, attn_error *error);
    /* Lets all ranks leave (nearly) together. */
    attn_status (*barrier)(void *context, attn_error *error);
    /* Elementwise maximum over ranks, in place. */
    attn_status (*max)(void *context, double *values, int count, attn_error *error);
    /* Whether this rank was asked to stop (a signal); reduced over the ranks by `max`. May be NULL. */
    bool (*stop)(void *context);
} attn_sampler_target;

/* What was measured. */
typedef struct attn_samples {
    int64_t reps;
    double *seconds;         /* [reps][ATTN_PHASE_COUNT], this rank's; imbalance-wait filled in by the sampler */
    double *slowest;         /* [reps] maximum over ranks of total */
    attn_median median;      /* of slowest */
    bool converged;          /* (hi - lo) / 2 <= rel_err * median at the wanted coverage */
    const char *stop_reason; /* "converged", "max-reps", "max-time" or "interrupted"; static storage */
} attn_samples;

/* Measures; collective through its callbacks, as all ranks make the same decisions. Release frees the lists and leaves
 * the samples empty.
 *   target  in, what to measure; used during the call
 *   out     out, released with attn_samples_release; empty on failure
 * ATTN_ARGUMENT for options out of range, ATTN_MEMORY, or what a callback returned. An interruption after at least
 * one repetition is not a failure: it ends with stop_reason "interrupted". */
ATTN_API attn_status attn_sample(const attn_sampler_options *options, const attn_sampler_target *target,
                                 attn_samples *out, attn_error *error);
ATTN_API void attn_samples_release(attn_samples *samples);

#ifdef __cplusplus
}
#endif
#endif
