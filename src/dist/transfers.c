#include "dist/transfers.h"

#include "core/checked.h"
#include "dist/pieces.h"

#include <attn/comm.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int64_t attn_transfers_messages(int64_t bytes, int64_t message_bytes)
{
    return attn_piece_count(bytes, message_bytes);
}

attn_status attn_transfers_create(MPI_Comm comm, int64_t message_bytes, int64_t messages, int64_t bytes,
                                  attn_transfers *out, attn_error *error)
{
    int64_t capacity = messages;

    *out = (attn_transfers){.comm = comm, .message_bytes = message_bytes, .code = MPI_SUCCESS};
    if (!attn_int64_add(messages, bytes / message_bytes, &capacity) || !attn_int_from_int64(capacity, &out->capacity))
        return attn_error_set(error, ATTN_UNSUPPORTED, "%lld bytes in messages of %lld: MPI counts requests in int",
                              (long long)bytes, (long long)message_bytes);
    out->requests = attn_calloc_array(capacity + 1, sizeof(MPI_Request));
    if (out->requests == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d requests", out->capacity);
    return ATTN_OK;
}

void attn_transfers_release(attn_transfers *transfers)
{
    free(transfers->requests);
    transfers->requests = NULL;
}

static void note(attn_transfers *transfers, int code)
{
    if (transfers->code == MPI_SUCCESS)
        transfers->code = code;
}

void attn_transfers_send(attn_transfers *transfers, const void *data, int64_t bytes, int to, int tag)
{
    for (int64_t done = 0; done < bytes; done += transfers->message_bytes) {
        MPI_Request *request = &transfers->requests[transfers->count++];

        assert(transfers->count <= transfers->capacity);
        *request = MPI_REQUEST_NULL;
        note(transfers,
             MPI_Isend((const char *)data + done, (int)attn_piece_length(bytes, done, transfers->message_bytes),
                       MPI_BYTE, to, tag, transfers->comm, request));
    }
}

void attn_transfers_receive(attn_transfers *transfers, void *data, int64_t bytes, int from, int tag)
{
    for (int64_t done = 0; done < bytes; done += transfers->message_bytes) {
        MPI_Request *request = &transfers->requests[transfers->count++];

        assert(transfers->count <= transfers->capacity);
        *request = MPI_REQUEST_NULL;
        note(transfers, MPI_Irecv((char *)data + done, (int)attn_piece_length(bytes, done, transfers->message_bytes),
                                  MPI_BYTE, from, tag, transfers->comm, request));
    }
}

void attn_transfers_take(attn_transfers *transfers, MPI_Request request, int code)
{
    assert(transfers->count < transfers->capacity);
    transfers->requests[transfers->count++] = request;
    note(transfers, code);
}

static void test(void *context)
{
    attn_transfers *transfers = context;
    int done;

    if (transfers->count > 0)
        note(transfers, MPI_Testall(transfers->count, transfers->requests, &done, MPI_STATUSES_IGNORE));
}

attn_progress attn_transfers_progress(attn_transfers *transfers)
{
    return (attn_progress){.make = test, .context = transfers};
}

attn_status attn_transfers_wait(attn_transfers *transfers, attn_error *error)
{
    const int code = transfers->code;
    attn_status status = attn_comm_check(code, "a call that starts a transfer", error);

    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Waitall(transfers->count, transfers->requests, MPI_STATUSES_IGNORE), "MPI_Waitall",
                                 error);
    transfers->count = 0;
    transfers->code = MPI_SUCCESS;
    return status;
}
