/* Where the time of a pass goes: each lap gives the time since the one before to a phase. */
#ifndef DIST_LAPS_H
#define DIST_LAPS_H

#include <attn/phase.h>

typedef struct attn_laps {
    double *seconds; /* [ATTN_PHASE_COUNT] */
    double last;     /* attn_clock() */
} attn_laps;

static inline void attn_lap(attn_laps *laps, attn_phase phase)
{
    const double now = attn_clock();

    laps->seconds[phase] += now - laps->last;
    laps->last = now;
}

#endif
