/* Where the time of a pass goes: each lap gives the time since the one before to a phase, and becomes an event where a
 * timeline is wanted. */
#ifndef DIST_LAPS_H
#define DIST_LAPS_H

#include <attn/dist.h>

typedef struct attn_laps {
    double *seconds;         /* [ATTN_PHASE_COUNT] */
    double last;             /* attn_clock() */
    double begin;            /* of the pass, attn_clock() */
    attn_timeline *timeline; /* NULL: not wanted */
    int64_t rank;            /* for the timeline */
} attn_laps;

/* Starts with all phases at 0, and without a timeline. */
static inline attn_laps attn_laps_start(double seconds[ATTN_PHASE_COUNT])
{
    const double now = attn_clock();

    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++)
        seconds[phase] = 0;
    return (attn_laps){.seconds = seconds, .last = now, .begin = now};
}

static inline void attn_lap_record(const attn_laps *laps, attn_phase phase, double now)
{
    attn_timeline *const to = laps->timeline;
    attn_event *const before = to->count > 0 ? &to->events[to->count - 1] : NULL;
    const double begin = laps->last - laps->begin, end = now - laps->begin;

    if (before != NULL && before->phase == phase && to->lost == 0)
        before->end = end;
    else if (to->events != NULL && to->count < to->capacity)
        to->events[to->count++] = (attn_event){.rank = laps->rank, .phase = phase, .begin = begin, .end = end};
    else
        to->lost++;
}

static inline void attn_lap(attn_laps *laps, attn_phase phase)
{
    const double now = attn_clock();

    laps->seconds[phase] += now - laps->last;
    if (laps->timeline != NULL)
        attn_lap_record(laps, phase, now);
    laps->last = now;
}

#endif
