/* Measuring machines and plans on the ranks that will use them, and plans made from what was measured. */
#ifndef ATTN_TUNING_H
#define ATTN_TUNING_H

#include <attn/planner.h>

#include <mpi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Collective over comm. Measures what it takes to hand messages on while all ranks do the same: each rank sends to the
 * next one and receives from the one before, first within its node and then between nodes, in several sizes; of each
 * size the median of some repetitions on the slowest rank. The hidden share is measured by the same beside a kernel. It
 * takes some tenths of a second.
 *   node_ranks  in, ranks of a node, which follow each other; 0: all
 *   node        in/out, set when a node has two ranks
 *   network     in/out, set when there are two nodes
 * Both are the same on every rank. ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_network_measure(MPI_Comm comm, int node_ranks, attn_link *node, attn_link *network,
                                          attn_error *error);

/* Collective over comm. Measures the rate of a pass of a problem: the kernel runs on a piece of it on all ranks at the
 * same time, and the slowest rank counts; for plans of that problem or of one alike. About 0.05 s.
 *   kernel   in, one that computes the pass
 *   threads  in, of each rank
 *   cores    in, of a node; 0: one for each thread
 *   out      out, as attn_machine.rate, the same on every rank
 * ATTN_UNSUPPORTED for a kernel that does not, or threads that OpenMP does not grant; ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_rate_measure(MPI_Comm comm, const attn_problem *problem, attn_pass pass,
                                       const attn_kernel *kernel, int threads, int node_ranks, int cores,
                                       attn_rate *out, attn_error *error);

/* Collective over comm. Measures the rate at which each rank copies memory while all do: the slowest rank's.
 *   out  out, B/s of one rank
 * ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_copy_measure(MPI_Comm comm, double *out, attn_error *error);

/* Collective over comm. Makes a machine: cores, links, copies, and the rate of the options' pass and kernel for such a
 * problem.
 *   options  in; pass, kernel, threads and node_ranks are read
 *   out      out, the same on every rank
 * As those above. */
ATTN_API attn_status attn_machine_measure(MPI_Comm comm, const attn_problem *problem, const attn_plan_options *options,
                                          attn_machine *out, attn_error *error);

/* What came of measuring candidates. */
typedef struct attn_tuning {
    int tried;             /* candidates that ran; 0: the mode was another */
    double predicted;      /* s, the estimate of the plan */
    double measured;       /* s, of the plan, the slowest rank's median; 0: not measured */
    double model_measured; /* s, of the plan that the model would have chosen; 0: not measured */
    double regret;         /* model_measured / measured - 1: what following the model would have cost */
} attn_tuning;

/* Collective over comm, of any size. Makes a plan as FFTW does: by rule, by estimate or by measuring. Measuring runs
 * those candidates whose estimates are within ATTN_TUNING_REACH of the best, at most ATTN_TUNING_MOST, on random
 * numbers in arrays of its own, and takes the fastest; none beyond machine->memory: where all are, nothing is run and
 * the plan is the model's choice. Where options leave nothing open there is nothing to measure.
 *   problem  in, the same on every rank, copied; its arrays are borrowed by the plan
 *   machine  in, the same on every rank; NULL: it is measured first, unless the mode is by rule
 *   out      out, the same on every rank, unchanged on failure
 *   report   out, may be NULL
 * As attn_plan_make and attn_machine_measure; ATTN_MPI. */
#define ATTN_TUNING_REACH 0.5
#define ATTN_TUNING_MOST 12
ATTN_API attn_status attn_plan_create(MPI_Comm comm, const attn_problem *problem, const attn_plan_options *options,
                                      attn_plan_mode mode, const attn_machine *machine, attn_plan *out,
                                      attn_tuning *report, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
