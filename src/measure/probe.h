/* The contract between the table of probes (probe.c) and the probes (one file each).
 *
 * A probe has some work that every thread does for itself, in passes whose number is chosen so that a round is long
 * beside starting threads and short beside what disturbs. probe.c owns rounds, clock and statistics; a probe owns its
 * loop and its buffers. */
#ifndef ATTN_MEASURE_PROBE_H
#define ATTN_MEASURE_PROBE_H

#include <attn/probe.h>

struct attn_probe {
    const char *name, *summary, *unit;
    const char *needs;     /* instruction sets in words, for the message when they are missing */
    bool (*cpu_has)(void); /* whether this CPU and build can run it */
    attn_dtype peak_of;    /* the type whose multiply-add peak it measures, or ATTN_DTYPE_COUNT */
    attn_status (*run)(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error);
};

typedef struct attn_probe_work {
    void *context;
    void (*pass)(void *context, int thread, int64_t passes); /* `passes` passes of one thread; all threads at once */
    double amount;                                           /* units that one thread gets done in one pass */
} attn_probe_work;

/* Times rounds of some work on setup->threads threads; fills best, median and rounds of out. ATTN_UNSUPPORTED when
 * OpenMP does not grant the threads. */
attn_status attn_probe_time(const attn_probe_work *work, const attn_probe_setup *setup, attn_probe_result *out,
                            attn_error *error);

#endif
