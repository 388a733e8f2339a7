/* Scaling series: cases of one problem that differ in ranks alone, and in what follows from ranks.
 *
 * What follows from ranks: the grid, the threads per rank, with weak scaling the size of the problem, and at 1 rank
 * (and wherever a sequence group has one rank) the exchange and the layout, which then do nothing. So the case of 1
 * rank is the baseline of every exchange and layout of its problem. */
#ifndef ATTN_STUDY_SERIES_H
#define ATTN_STUDY_SERIES_H

#include <attn/result.h>

/* All launches of one case. */
typedef struct attn_point {
    const attn_result *result; /* the first valid launch, the first of all when none is */
    bool valid;                /* there is a valid launch with samples; only then the numbers below are set */
    bool settled;              /* every launch converged */
    bool oversubscribed;       /* more threads than cores */
    size_t launches, rejected; /* valid launches, and launches that are not */
    int64_t reps;              /* of all valid launches */
    int64_t ranks, threads;
    double flops;        /* of the whole problem, NAN when unknown */
    double time, lo, hi; /* s: median of the launches' medians; their intervals taken together */
    /* Against the baseline of the series, NAN without one. Intervals are conservative: from the ends of both. */
    double speedup, speedup_lo, speedup_hi;
    double efficiency, efficiency_lo, efficiency_hi;
} attn_point;

typedef struct attn_series {
    attn_point *points; /* [count], rising ranks */
    size_t count;
    const attn_point *baseline; /* the valid point of fewest ranks; NULL when there is none */
    char family[32];            /* "grid Px1" and the like where the grids of the series tell it from another, or "" */
    bool per_core;              /* threads differ within the series */
    bool by_threads;            /* threads tell it from another series */
} attn_series;

typedef struct attn_scaling {
    attn_series *series; /* [count], in order of first appearance */
    size_t count;
} attn_scaling;

/* Finds the series of all cases. Speed-up is the rate of useful work, flops / time, over that of the baseline, so
 * t0 / t in strong scaling; efficiency is speed-up * cores0 / cores with cores = ranks * threads.
 *   out  out, refers to results, destroyed by the caller; NULL on failure */
attn_status attn_scaling_find(const attn_results *results, attn_scaling **out, attn_error *error);
void attn_scaling_destroy(attn_scaling *scaling);

#endif
