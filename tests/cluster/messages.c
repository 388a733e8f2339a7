/* What a message costs between neighbouring ranks: its start-up time alpha and the bandwidth of long ones, in the
 * linear model of Hockney 1994, time = alpha + bytes / bandwidth. Prints one line:
 *
 *   RANKS  ALPHA s  BANDWIDTH B/s of a pair  BANDWIDTH B/s of each rank while all send to the next and receive
 *
 * alpha is half of the round trip of 16 bytes between two ranks; each number is the best of its rounds, so that what
 * else runs on the machine counts little. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT = 16, LONG = 4 << 20, SHORT_ROUNDS = 200, LONG_ROUNDS = 8 };

/* Best time of a round trip between ranks 0 and 1. */
static double round_trip(int rank, char *data, int bytes, int rounds)
{
    double best = 1e30;

    for (int n = 0; n < rounds && rank < 2; n++) {
        const double start = MPI_Wtime();

        if (rank == 0)
            MPI_Send(data, bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
        MPI_Recv(data, bytes, MPI_BYTE, 1 - rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (rank == 1)
            MPI_Send(data, bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
        if (MPI_Wtime() - start < best)
            best = MPI_Wtime() - start;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return best;
}

/* Best time of the slowest rank for sending to the next one and receiving from the one before. */
static double all_at_once(int rank, int ranks, char *out, char *in)
{
    double best = 1e30;

    for (int n = 0; n < LONG_ROUNDS; n++) {
        double start, time;

        MPI_Barrier(MPI_COMM_WORLD);
        start = MPI_Wtime();
        MPI_Sendrecv(out, LONG, MPI_BYTE, (rank + 1) % ranks, 0, in, LONG, MPI_BYTE, (rank + ranks - 1) % ranks, 0,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        time = MPI_Wtime() - start;
        MPI_Allreduce(MPI_IN_PLACE, &time, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        if (time < best)
            best = time;
    }
    return best;
}

int main(int argc, char **argv)
{
    int rank, ranks;
    char *data;
    double alpha, pair, all;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    data = malloc(2 * (size_t)LONG);
    if (data == NULL || ranks < 2) {
        fprintf(stderr, "messages: needs 2 ranks and %d bytes\n", 2 * LONG);
        MPI_Abort(MPI_COMM_WORLD, 4);
        return 4;
    }
    memset(data, 1, 2 * (size_t)LONG);
    alpha = round_trip(rank, data, SHORT, SHORT_ROUNDS) / 2;
    pair = round_trip(rank, data, LONG, LONG_ROUNDS) / 2;
    all = all_at_once(rank, ranks, data, data + LONG);
    if (rank == 0)
        printf("%d %.9g %.9g %.9g\n", ranks, alpha, LONG / (pair - alpha), LONG / (all - alpha));
    free(data);
    MPI_Finalize();
    return 0;
}
