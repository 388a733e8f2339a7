/* What the suite needs of a communicator beside the exchanges: agreement on errors, reductions, sub-communicators.
 * Return codes of MPI are looked at, so comm should have MPI_ERRORS_RETURN. */
#ifndef ATTN_COMM_H
#define ATTN_COMM_H

#include <attn/status.h>

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Collective, but not for a rank whose local status is ATTN_MPI, which gets it back without a call: where MPI has
 * failed nobody can be waited for, and the program is to be ended. Agrees on a failure: when any rank's local status is
 * not ATTN_OK, every rank gets the status and message of the lowest failing rank. Called at phase boundaries, never in
 * a timed region.
 *   local  in, this rank's status
 *   error  in/out, may be NULL; the message of this rank when local is not ATTN_OK
 * Returns the agreed status, or ATTN_MPI. */
ATTN_API attn_status attn_comm_agree(MPI_Comm comm, attn_status local, attn_error *error);
#ifdef __clang_analyzer__ /* as for attn_error_set: what failed here has failed for all */
static inline attn_status attn_comm_agree_known(MPI_Comm comm, attn_status local, attn_error *error)
{
    const attn_status agreed = attn_comm_agree(comm, local, error);

    return local != ATTN_OK ? local : agreed;
}
#define attn_comm_agree(comm, local, error) attn_comm_agree_known(comm, local, error)
#endif

/* Not collective. Turns an MPI return code into ATTN_OK or ATTN_MPI with MPI's own text and the name of the call. */
ATTN_API attn_status attn_comm_check(int code, const char *call, attn_error *error);

/* Collective. Waits until all ranks have called it. ATTN_MPI. */
ATTN_API attn_status attn_comm_barrier(MPI_Comm comm, attn_error *error);

/* Collective. Reduces to the elementwise maximum (minimum) over ranks.
 *   values  in/out, [count], count >= 0 and the same on all ranks; the result is the same on all
 * ATTN_MPI. */
ATTN_API attn_status attn_comm_max(MPI_Comm comm, double *values, int count, attn_error *error);
ATTN_API attn_status attn_comm_min(MPI_Comm comm, double *values, int count, attn_error *error);

/* Collective. Reduces to the elementwise sum over ranks, in pieces whose counts fit in int.
 *   values  in/out, [count], count >= 0 and the same on all ranks; the result is the same on all
 * ATTN_MPI. */
ATTN_API attn_status attn_comm_sum(MPI_Comm comm, double *values, int64_t count, attn_error *error);

/* Collective. Copies bytes from root to every rank, in pieces whose counts fit in int.
 *   bytes  in on root, out elsewhere, [count] bytes, count the same on all ranks
 * ATTN_MPI. */
ATTN_API attn_status attn_comm_broadcast(MPI_Comm comm, int root, void *bytes, size_t count, attn_error *error);

/* Collective. Gathers count doubles of each rank to rank 0: all[rank * count + i].
 *   values  in, [count], count >= 0 and the same on all ranks
 *   all     out on rank 0, [ranks * count], not overlapping values; not looked at elsewhere
 * ATTN_MPI. */
ATTN_API attn_status attn_comm_gather(MPI_Comm comm, const double *values, int64_t count, double *all,
                                      attn_error *error);

/* Collective. Gathers one text of each rank to rank 0, joined by newlines in rank order.
 *   text  in, this rank's; all of them together have fewer than 2^31 bytes
 *   out   out, on rank 0 to be freed with free(), NULL elsewhere and on failure
 * ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_comm_gather_text(MPI_Comm comm, const char *text, char **out, attn_error *error);

/* Collective. Splits off the first `ranks` ranks.
 *   ranks  in, 1 <= ranks <= size of comm
 *   out    out, to be freed with attn_comm_free; MPI_COMM_NULL on the other ranks
 * ATTN_MPI. */
ATTN_API attn_status attn_comm_first(MPI_Comm comm, int ranks, MPI_Comm *out, attn_error *error);

/* Collective over *comm. Frees a communicator; does nothing with MPI_COMM_NULL. Not to be called after ATTN_MPI.
 *   comm  in/out, MPI_COMM_NULL afterwards */
ATTN_API void attn_comm_free(MPI_Comm *comm);

/* Collective. Waits as attn_comm_barrier does, but sleeps between polls (1 to 16 ms), which leaves the core to others.
 * ATTN_MPI. */
ATTN_API attn_status attn_comm_sleep_barrier(MPI_Comm comm, attn_error *error);

/* Not collective. The rank of the caller in comm, and the number of ranks. */
ATTN_API int attn_comm_rank(MPI_Comm comm);
ATTN_API int attn_comm_size(MPI_Comm comm);

/* Cores as the launcher left them. */
typedef struct attn_cores {
    int allowed;        /* physical cores in this process's binding */
    int sharing;        /* ranks of comm on this node whose binding overlaps this one's, itself included */
    int node_ranks;     /* ranks of comm on this node */
    int nodes;          /* nodes of comm */
    int consecutive;    /* ranks of a node, when those of each node follow each other and each but the last has as many;
                           otherwise 1 */
    int available;      /* cores of all ranks of comm together */
    int threads;        /* max(1, allowed / sharing): the default number of threads */
    char binding[4096]; /* the binding as a list of logical CPUs: "0-3" */
} attn_cores;

/* Collective. Reads this process's binding through hwloc and compares it over the node.
 *   out  out; zeros on failure
 * ATTN_MEMORY, ATTN_UNSUPPORTED when hwloc cannot read the machine, ATTN_MPI. */
ATTN_API attn_status attn_comm_cores(MPI_Comm comm, attn_cores *out, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
