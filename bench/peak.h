/* The multiply-add peak beside a case: what its ranks and threads could do at best at that time. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include "case.h"

/* Collective over the case's group. All its ranks measure the peak of the accumulator type at the same time, with the
 * case's threads, for about 30 ms: the best of some rounds, or the mean where threads take turns on a core.
 *   flops  out, FLOP/s of all ranks together, the same on every rank */
attn_status peak_measure(const bench_case *one, double *flops, attn_error *error);

/* The name of the probe on this rank. */
const char *peak_level(const bench_case *one);

#endif
