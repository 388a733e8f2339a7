/* Preloaded into attnbench: on rank FAIL_RANK the FAIL_AT-th collective call fails. What that rank calls after it is
 * named on stderr, for then nobody can be waited for. A rank that comes to its end writes the number of its calls to
 * the file FAIL_COUNTS.RANK.
 *
 * Calls that HDF5 makes are not counted, but for its duplicates of communicators: where another one fails it tidies up
 * together with the other ranks, and does not return. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int calls; /* of this rank */

static int number_from(const char *name)
{
    const char *text = getenv(name);

    return text != NULL ? atoi(text) : -1;
}

static bool is_failing_rank(void)
{
    int rank;

    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank == number_from("FAIL_RANK");
}

/* Tells of a call after the failure. */
static void look(const char *call)
{
    if (is_failing_rank() && calls >= number_from("FAIL_AT"))
        fprintf(stderr, "%s is called after a failure\n", call);
}

static bool within_hdf5(const void *caller)
{
    Dl_info found;

    return dladdr(caller, &found) != 0 && strstr(found.dli_fname, "libhdf5") != NULL;
}

/* Counts a call; whether it is the one that fails. */
static bool fails(const char *call, bool counts)
{
    look(call);
    calls += counts;
    if (!counts || !is_failing_rank() || calls != number_from("FAIL_AT"))
        return false;
    fprintf(stderr, "%s fails\n", call);
    return true;
}

/* Does not fail, since nobody asks whether it did, but waits for others as all collective calls may. */
int MPI_Comm_free(MPI_Comm *comm)
{
    look("MPI_Comm_free");
    return PMPI_Comm_free(comm);
}

int MPI_Finalize(void)
{
    char path[4096];
    FILE *stream;
    int rank;

    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(path, sizeof path, "%s.%d", getenv("FAIL_COUNTS"), rank);
    stream = fopen(path, "w");
    if (stream != NULL) {
        fprintf(stream, "%d\n", calls);
        fclose(stream);
    }
    return PMPI_Finalize();
}

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm *out)
{
    return fails("MPI_Comm_dup", true) ? MPI_ERR_OTHER : PMPI_Comm_dup(comm, out);
}

#define WRAP(name, parameters, arguments)                                                                              \
    int MPI_##name parameters                                                                                          \
    {                                                                                                                  \
        return fails("MPI_" #name, !within_hdf5(__builtin_return_address(0))) ? MPI_ERR_OTHER : PMPI_##name arguments; \
    }

WRAP(Barrier, (MPI_Comm comm), (comm))
WRAP(Ibarrier, (MPI_Comm comm, MPI_Request *request), (comm, request))
WRAP(Bcast, (void *data, int count, MPI_Datatype type, int root, MPI_Comm comm), (data, count, type, root, comm))
WRAP(Allreduce, (const void *from, void *to, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm),
     (from, to, count, type, op, comm))
WRAP(Allgather,
     (const void *from, int count, MPI_Datatype type, void *to, int counts, MPI_Datatype types, MPI_Comm comm),
     (from, count, type, to, counts, types, comm))
WRAP(Allgatherv,
     (const void *from, int count, MPI_Datatype type, void *to, const int *counts, const int *places,
      MPI_Datatype types, MPI_Comm comm),
     (from, count, type, to, counts, places, types, comm))
WRAP(Gather,
     (const void *from, int count, MPI_Datatype type, void *to, int counts, MPI_Datatype types, int root,
      MPI_Comm comm),
     (from, count, type, to, counts, types, root, comm))
WRAP(Gatherv,
     (const void *from, int count, MPI_Datatype type, void *to, const int *counts, const int *places,
      MPI_Datatype types, int root, MPI_Comm comm),
     (from, count, type, to, counts, places, types, root, comm))
WRAP(Send, (const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm),
     (data, count, type, to, tag, comm))
WRAP(Comm_split, (MPI_Comm comm, int color, int key, MPI_Comm *out), (comm, color, key, out))
WRAP(Comm_split_type, (MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *out), (comm, type, key, info, out))
