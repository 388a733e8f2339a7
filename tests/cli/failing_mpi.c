/* Preloaded into attnbench: on rank FAIL_RANK the FAIL_AT-th collective call fails. What that rank calls after it is
 * named on stderr, for then nobody can be waited for. */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int number_from(const char *name)
{
    const char *text = getenv(name);

    return text != NULL ? atoi(text) : -1;
}

/* Adds to the calls of the rank that fails, and tells of one after the failure. Returns how many there were; -1 on
 * other ranks. */
static int count(const char *call, int more)
{
    static int calls;
    int rank;

    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank != number_from("FAIL_RANK"))
        return -1;
    if (calls >= number_from("FAIL_AT"))
        fprintf(stderr, "%s is called after a failure\n", call);
    calls += more;
    return calls;
}

/* Counts a call; whether it is the one that fails. */
static bool fails(const char *call)
{
    const bool now = count(call, 1) == number_from("FAIL_AT");

    if (now)
        fprintf(stderr, "%s fails\n", call);
    return now;
}

/* Does not fail, since nobody asks whether it did, but waits for others as all collective calls may. */
int MPI_Comm_free(MPI_Comm *comm)
{
    count("MPI_Comm_free", 0);
    return PMPI_Comm_free(comm);
}

#define WRAP(name, parameters, arguments)                                                                              \
    int MPI_##name parameters                                                                                          \
    {                                                                                                                  \
        return fails("MPI_" #name) ? MPI_ERR_OTHER : PMPI_##name arguments;                                            \
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
WRAP(Comm_dup, (MPI_Comm comm, MPI_Comm *out), (comm, out))
WRAP(Comm_split, (MPI_Comm comm, int color, int key, MPI_Comm *out), (comm, color, key, out))
WRAP(Comm_split_type, (MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *out), (comm, type, key, info, out))
