/* What bounds a case: peaks of arithmetic measured beside it, the bandwidth of memory measured once a launch, and the
 * operations and bytes that it cannot do without. */
#ifndef BENCH_ROOFS_H
#define BENCH_ROOFS_H

#include "case.h"

#include <attn/probe.h>

/* Bandwidths of this launch, one for each number of ranks and threads, the same on every rank of a group. Start zeroed;
 * released with free(list). */
typedef struct bandwidths {
    struct bandwidth {
        int ranks, threads;
        double rate; /* B/s of all ranks together */
    } * list;        /* [count] */
    int64_t count;
} bandwidths;

/* The peaks of a case, FLOP/s of all its ranks together. */
typedef struct peaks {
    double fma;     /* multiply-adds in the type of the sums, at the widest level */
    double compute; /* what bounds the arithmetic of the case's kernel: fma, or that of units of its own */
} peaks;

/* Collective over the case's group. All its ranks measure at the same time, with the case's threads, for about 30 ms a
 * peak: the best of some rounds. For cases with a bound alone (bench_case_has_bound). */
attn_status roofs_peaks(const bench_case *one, peaks *out, attn_error *error);

/* The probes of both, on this rank. */
const attn_probe *roofs_fma_probe(const bench_case *one);
const attn_probe *roofs_compute_probe(const bench_case *one);

/* Collective over the case's group. The read bandwidth of its ranks and threads, measured when it is asked for first:
 * it takes buffers beyond the caches, and seconds.
 *   rate  out, B/s of all ranks together, the same on every rank */
attn_status roofs_bandwidth(bandwidths *known, const bench_case *one, double *rate, attn_error *error);

/* Bytes that a case must read or write at least, each array once, of k and v the rows that some query row sees: of the
 * whole problem, however many ranks share it. The case is loaded. Forward and decode read q, k and v and write o and
 * lse; backward reads all of these and do, and writes dq, dk and dv. */
double roofs_bytes(const bench_case *one);

#endif
