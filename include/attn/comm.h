/* What the suite needs of a communicator beside the exchanges: agreement on errors, reductions, sub-communicators.
 * All functions here are collective over comm. */
#ifndef ATTN_COMM_H
#define ATTN_COMM_H

#include <attn/status.h>

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Agrees on a failure: when any rank's local status is not ATTN_OK, every rank gets the status and message of the
 * lowest failing rank. Called at phase boundaries, never in a timed region. A rank that brings ATTN_MPI gets it back
 * without a call: where MPI has failed nobody can be waited for, and the program is to be ended.
 *   local  in, this rank's status
 *   error  in/out, may be NULL; the message of this rank when local is not ATTN_OK
 * Returns the agreed status, or ATTN_MPI. */
ATTN_API attn_status attn_comm_agree(MPI_Comm comm, attn_status local, attn_error *error);

/* Turns an MPI return code into ATTN_OK or ATTN_MPI with MPI's own text and the name of the call. Not collective. */
ATTN_API attn_status attn_comm_check(int code, const char *call, attn_error *error);

ATTN_API attn_status attn_comm_barrier(MPI_Comm comm, attn_error *error);

/* Elementwise maximum (minimum) over ranks, in place. */
ATTN_API attn_status attn_comm_max(MPI_Comm comm, double *values, int count, attn_error *error);
ATTN_API attn_status attn_comm_min(MPI_Comm comm, double *values, int count, attn_error *error);

/* Elementwise sum over ranks, in place. */
ATTN_API attn_status attn_comm_sum(MPI_Comm comm, double *values, int64_t count, attn_error *error);

/* Copies bytes from root to every rank. */
ATTN_API attn_status attn_comm_broadcast(MPI_Comm comm, int root, void *bytes, size_t count, attn_error *error);

/* Gathers count doubles of each rank to rank 0: all[rank * count + i].
 *   all  out on rank 0, [ranks * count]; not read elsewhere */
ATTN_API attn_status attn_comm_gather(MPI_Comm comm, const double *values, int64_t count, double *all,
                                      attn_error *error);

/* Gathers one text of each rank to rank 0, joined by newlines in rank order.
 *   out  out, on rank 0 to be freed with free(), NULL elsewhere */
ATTN_API attn_status attn_comm_gather_text(MPI_Comm comm, const char *text, char **out, attn_error *error);

/* Splits off the first `ranks` ranks. On the others *out is MPI_COMM_NULL. Free with attn_comm_free. */
ATTN_API attn_status attn_comm_first(MPI_Comm comm, int ranks, MPI_Comm *out, attn_error *error);
ATTN_API void attn_comm_free(MPI_Comm *comm);

/* A barrier whose waiting ranks sleep between polls (1 to 16 ms) and so leave their core to others. */
ATTN_API attn_status attn_comm_sleep_barrier(MPI_Comm comm, attn_error *error);

ATTN_API int attn_comm_rank(MPI_Comm comm); /* not collective */
ATTN_API int attn_comm_size(MPI_Comm comm); /* not collective */

/* Cores as the launcher left them. */
typedef struct attn_cores {
    int allowed;        /* physical cores in this process's binding */
    int sharing;        /* ranks of comm on this node whose binding overlaps this one's, itself included */
    int node_ranks;     /* ranks of comm on this node */
    int nodes;          /* nodes of comm */
    int available;      /* cores of all ranks of comm together */
    int threads;        /* max(1, allowed / sharing): the default number of threads */
    char binding[4096]; /* the binding as a list of logical CPUs: "0-3" */
} attn_cores;

/* Reads the binding through hwloc and compares it over the node. */
ATTN_API attn_status attn_comm_cores(MPI_Comm comm, attn_cores *out, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
