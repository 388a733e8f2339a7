#include "core/checked.h"
#include "dist/pieces.h"

#include <attn/comm.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

attn_status attn_comm_check(int code, const char *call, attn_error *error)
{
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length;

    if (code == MPI_SUCCESS)
        return ATTN_OK;
    MPI_Error_string(code, text, &length);
    return attn_error_set(error, ATTN_MPI, "%s failed: %s", call, text);
}

int attn_comm_rank(MPI_Comm comm)
{
    int rank = 0;

    MPI_Comm_rank(comm, &rank);
    return rank;
}

int attn_comm_size(MPI_Comm comm)
{
    int size = 1;

    MPI_Comm_size(comm, &size);
    return size;
}

/* One reduction decides whether anybody failed; only then is the message sent. The name is in parentheses, as the
 * analyzer has a macro of it. */
attn_status(attn_comm_agree)(MPI_Comm comm, attn_status local, attn_error *error)
{
    struct {
        int status;
        char message[ATTN_MESSAGE_MAX];
    } packet = {ATTN_OK, ""};
    int rank = attn_comm_rank(comm), size = attn_comm_size(comm);
    int mine = local == ATTN_OK ? size : rank, first = size;
    attn_status status;

    if (local == ATTN_MPI)
        return local;
    status = attn_comm_check(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce", error);
    if (status != ATTN_OK || first == size)
        return status;
    if (rank == first) {
        packet.status = (int)local;
        if (error != NULL)
            memcpy(packet.message, error->message, sizeof packet.message);
    }
    status = attn_comm_check(MPI_Bcast(&packet, (int)sizeof packet, MPI_BYTE, first, comm), "MPI_Bcast", error);
    if (status != ATTN_OK)
        return status;
    return attn_error_set(error, (attn_status)packet.status, "%s", packet.message);
}

attn_status attn_comm_barrier(MPI_Comm comm, attn_error *error)
{
    return attn_comm_check(MPI_Barrier(comm), "MPI_Barrier", error);
}

static attn_status reduce(MPI_Comm comm, double *values, int count, MPI_Op op, attn_error *error)
{
    return attn_comm_check(MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, op, comm), "MPI_Allreduce", error);
}

attn_status attn_comm_max(MPI_Comm comm, double *values, int count, attn_error *error)
{
    return reduce(comm, values, count, MPI_MAX, error);
}

attn_status attn_comm_min(MPI_Comm comm, double *values, int count, attn_error *error)
{
    return reduce(comm, values, count, MPI_MIN, error);
}

attn_status attn_comm_sum_limited(MPI_Comm comm, double *values, int64_t count, int64_t limit, attn_error *error)
{
    const int64_t piece = attn_piece_items(limit, sizeof *values);
    attn_status status = ATTN_OK;

    for (int64_t done = 0; done < count && status == ATTN_OK; done += piece)
        status = reduce(comm, values + done, (int)attn_piece_length(count, done, piece), MPI_SUM, error);
    return status;
}

attn_status attn_comm_sum(MPI_Comm comm, double *values, int64_t count, attn_error *error)
{
    return attn_comm_sum_limited(comm, values, count, ATTN_MESSAGE_BYTES, error);
}

attn_status attn_comm_broadcast_limited(MPI_Comm comm, int root, void *bytes, size_t count, int64_t limit,
                                        attn_error *error)
{
    attn_status status = ATTN_OK;

    for (int64_t done = 0; done < (int64_t)count && status == ATTN_OK; done += limit)
        status = attn_comm_check(
            MPI_Bcast((char *)bytes + done, (int)attn_piece_length((int64_t)count, done, limit), MPI_BYTE, root, comm),
            "MPI_Bcast", error);
    return status;
}

attn_status attn_comm_broadcast(MPI_Comm comm, int root, void *bytes, size_t count, attn_error *error)
{
    return attn_comm_broadcast_limited(comm, root, bytes, count, ATTN_MESSAGE_BYTES, error);
}

attn_status attn_comm_gather_limited(MPI_Comm comm, const double *values, int64_t count, double *all, int64_t limit,
                                     attn_error *error)
{
    enum { TAG = 1 };
    const int64_t piece = attn_piece_items(limit, sizeof *values);
    const int rank = attn_comm_rank(comm), size = attn_comm_size(comm);
    attn_status status = ATTN_OK;

    if (rank == 0 && count > 0)
        memcpy(all, values, (size_t)count * sizeof *all);
    for (int64_t done = 0; done < count && status == ATTN_OK; done += piece) {
        const int now = (int)attn_piece_length(count, done, piece);

        if (rank != 0)
            status = attn_comm_check(MPI_Send(values + done, now, MPI_DOUBLE, 0, TAG, comm), "MPI_Send", error);
        for (int from = 1; rank == 0 && from < size && status == ATTN_OK; from++)
            status = attn_comm_check(
                MPI_Recv(all + from * count + done, now, MPI_DOUBLE, from, TAG, comm, MPI_STATUS_IGNORE), "MPI_Recv",
                error);
    }
    return status;
}

attn_status attn_comm_gather(MPI_Comm comm, const double *values, int64_t count, double *all, attn_error *error)
{
    return attn_comm_gather_limited(comm, values, count, all, ATTN_MESSAGE_BYTES, error);
}

/* Rank 0: where each rank's text begins, and room for all of them. */
static attn_status place_texts(const int *lengths, int *places, int size, char **out, attn_error *error)
{
    int64_t total = 0;

    for (int r = 0; r < size; r++) {
        if (!attn_int_from_int64(total, &places[r]))
            return attn_error_set(error, ATTN_UNSUPPORTED, "texts of %d ranks: MPI gathers up to 2147483647 bytes",
                                  size);
        total += lengths[r];
    }
    *out = malloc((size_t)total);
    return *out != NULL ? ATTN_OK
                        : attn_error_set(error, ATTN_MEMORY, "no memory for %lld bytes of text", (long long)total);
}

attn_status attn_comm_gather_text(MPI_Comm comm, const char *text, char **out, attn_error *error)
{
    const int rank = attn_comm_rank(comm), size = attn_comm_size(comm);
    int *lengths = NULL, *places = NULL, length = 0;
    attn_status status = ATTN_OK;

    *out = NULL;
    if (!attn_int_from_int64((int64_t)strlen(text) + 1, &length)) /* the zero becomes the newline between two texts */
        status =
            attn_error_set(error, ATTN_UNSUPPORTED, "a text of %zu bytes: MPI gathers up to 2147483647", strlen(text));
    if (rank == 0 && status == ATTN_OK) {
        lengths = calloc((size_t)size, sizeof *lengths);
        places = calloc((size_t)size, sizeof *places);
        if (lengths == NULL || places == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for the texts of %d ranks", size);
    }
    status = attn_comm_agree(comm, status, error);
    if (status != ATTN_OK)
        goto cleanup;
    status = attn_comm_check(MPI_Gather(&length, 1, MPI_INT, lengths, 1, MPI_INT, 0, comm), "MPI_Gather", error);
    if (status == ATTN_OK && rank == 0)
        status = place_texts(lengths, places, size, out, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Gatherv(text, length, MPI_CHAR, *out, lengths, places, MPI_CHAR, 0, comm),
                                 "MPI_Gatherv", error);
    if (status == ATTN_OK && rank == 0)
        for (int r = 0; r + 1 < size; r++)
            (*out)[places[r] + lengths[r] - 1] = '\n';
cleanup:
    if (status != ATTN_OK) {
        free(*out);
        *out = NULL;
    }
    free(lengths);
    free(places);
    return status;
}

attn_status attn_comm_first(MPI_Comm comm, int ranks, MPI_Comm *out, attn_error *error)
{
    const int rank = attn_comm_rank(comm);
    attn_status status;

    *out = MPI_COMM_NULL;
    status =
        attn_comm_check(MPI_Comm_split(comm, rank < ranks ? 0 : MPI_UNDEFINED, rank, out), "MPI_Comm_split", error);
    if (status == ATTN_OK && *out != MPI_COMM_NULL)
        MPI_Comm_set_errhandler(*out, MPI_ERRORS_RETURN);
    return status;
}

void attn_comm_free(MPI_Comm *comm)
{
    if (*comm != MPI_COMM_NULL)
        MPI_Comm_free(comm);
}

attn_status attn_comm_sleep_barrier(MPI_Comm comm, attn_error *error)
{
    const long longest = 16000000;
    struct timespec pause = {0, 1000000}; /* ns; each poll takes something from the ranks that work */
    MPI_Request request;
    int done = 0;
    attn_status status = attn_comm_check(MPI_Ibarrier(comm, &request), "MPI_Ibarrier", error);

    while (status == ATTN_OK) {
        status = attn_comm_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test", error);
        if (done)
            break;
        nanosleep(&pause, NULL);
        pause.tv_nsec = 2 * pause.tv_nsec < longest ? 2 * pause.tv_nsec : longest;
    }
    return status;
}
