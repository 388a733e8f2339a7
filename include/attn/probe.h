/* Machine probes: what this CPU and its memory can do at best, measured, so that rates have something to stand beside.
 * A table of probes, as that of the kernels. How each measures, and its limits: docs/measuring.md. No MPI: to probe
 * several ranks at the same time, let them meet at a barrier first. */
#ifndef ATTN_PROBE_H
#define ATTN_PROBE_H

#include <attn/dtype.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A row of the table of probes; constant, static storage. */
typedef struct attn_probe attn_probe;

/* Reads the table: its length, the row at 0 <= index < count, and the row of a name (NULL when there is none). */
ATTN_API size_t attn_probe_count(void);
ATTN_API const attn_probe *attn_probe_at(size_t index);
ATTN_API const attn_probe *attn_probe_find(const char *name);

/* Reads a row: its name as given to --probe, one line of what it is, the unit of its results ("FLOP/s", "B/s"), and the
 * instruction sets that it needs in words. */
ATTN_API const char *attn_probe_name(const attn_probe *probe);
ATTN_API const char *attn_probe_summary(const attn_probe *probe);
ATTN_API const char *attn_probe_unit(const attn_probe *probe);
ATTN_API const char *attn_probe_needs(const attn_probe *probe);

/* Tells whether this CPU can run the probe.
 *   reason  out, [size] bytes, why not; unchanged when it can; may be NULL */
ATTN_API bool attn_probe_available(const attn_probe *probe, char *reason, size_t size);

/* Chooses the probe of the multiply-add peak in the accumulator type of a dtype, of the widest level that this CPU has;
 * never NULL. */
ATTN_API const attn_probe *attn_probe_peak(attn_dtype dtype);

typedef struct attn_probe_setup {
    int threads;    /* OpenMP threads, >= 1 */
    double seconds; /* s, for how long to measure, > 0; at least three rounds are made however long they take */
    int processes;  /* >= 1, processes of this node that probe at the same time: they share its caches */
    double memory;  /* bytes that the buffers of this process may take at most */
} attn_probe_setup;

typedef struct attn_probe_result {
    double best, median; /* over the rounds, of all threads together, in the probe's unit */
    double mean; /* what was done in all rounds over their time. Where threads or processes take turns on a core,
                            a short round may have it alone, and sums of `best` tell more than there is */
    int64_t rounds;
    char remark[96]; /* what limits the result, or "" */
} attn_probe_result;

/* Measures: warms up, then times short rounds of all threads. Not thread safe: it starts threads of its own.
 *   out  out, unchanged on failure
 * ATTN_UNSUPPORTED when this CPU lacks what the probe needs or OpenMP does not grant the threads; ATTN_MEMORY. */
ATTN_API attn_status attn_probe_run(const attn_probe *probe, const attn_probe_setup *setup, attn_probe_result *out,
                                    attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
