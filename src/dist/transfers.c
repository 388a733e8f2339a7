#include "dist/transfers.h"

#include "core/checked.h"
#include "dist/pieces.h"

#include <attn/comm.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A message, or a piece of one. */
typedef struct message {
    bool send;
    const char *data;
    char *room; /* data when it is received */
    int bytes, peer, tag;
} message;

struct attn_kept_request {
    message of;
    MPI_Request request; /* MPI_REQUEST_NULL: not made yet */
};

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
    for (int64_t n = 0; n < transfers->kept_count; n++)
        if (transfers->kept[n].request != MPI_REQUEST_NULL)
            MPI_Request_free(&transfers->kept[n].request);
    free(transfers->kept);
    free(transfers->requests);
    transfers->kept = NULL;
    transfers->kept_count = 0;
    transfers->requests = NULL;
}

attn_status attn_transfers_choose(attn_transfers *transfers, attn_transfer way, int64_t waits, attn_error *error)
{
    const int64_t count = waits * transfers->capacity;

    transfers->way = way;
    if (way != ATTN_TRANSFER_PERSISTENT)
        return ATTN_OK;
    transfers->kept = attn_calloc_array(count, sizeof *transfers->kept);
    if (transfers->kept == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld persistent requests", (long long)count);
    transfers->kept_count = count;
    for (int64_t n = 0; n < count; n++)
        transfers->kept[n].request = MPI_REQUEST_NULL;
    return ATTN_OK;
}

void attn_transfers_begin(attn_transfers *transfers)
{
    transfers->next = 0;
}

static void note(attn_transfers *transfers, int code)
{
    if (transfers->code == MPI_SUCCESS)
        transfers->code = code;
}

static bool same(const message *a, const message *b)
{
    return a->send == b->send && a->data == b->data && a->room == b->room && a->bytes == b->bytes &&
           a->peer == b->peer && a->tag == b->tag;
}

/* Starts the request that the pass before had in this place. */
static void start_kept(attn_transfers *transfers, const message *of, MPI_Request *request)
{
    attn_kept_request *kept = &transfers->kept[transfers->next++];

    assert(transfers->next <= transfers->kept_count);
    if (kept->request != MPI_REQUEST_NULL && !same(&kept->of, of))
        note(transfers, MPI_Request_free(&kept->request));
    if (kept->request == MPI_REQUEST_NULL) {
        kept->of = *of;
        note(transfers,
             of->send
                 ? MPI_Send_init(of->data, of->bytes, MPI_BYTE, of->peer, of->tag, transfers->comm, &kept->request)
                 : MPI_Recv_init(of->room, of->bytes, MPI_BYTE, of->peer, of->tag, transfers->comm, &kept->request));
    }
    if (transfers->code == MPI_SUCCESS)
        note(transfers, MPI_Start(&kept->request));
    *request = kept->request;
}

static void start(attn_transfers *transfers, const message *of)
{
    MPI_Request *request = &transfers->requests[transfers->count++];

    assert(transfers->count <= transfers->capacity);
    *request = MPI_REQUEST_NULL;
    if (transfers->way == ATTN_TRANSFER_PERSISTENT)
        start_kept(transfers, of, request);
    else if (of->send)
        note(transfers, MPI_Isend(of->data, of->bytes, MPI_BYTE, of->peer, of->tag, transfers->comm, request));
    else
        note(transfers, MPI_Irecv(of->room, of->bytes, MPI_BYTE, of->peer, of->tag, transfers->comm, request));
}

void attn_transfers_send(attn_transfers *transfers, const void *data, int64_t bytes, int to, int tag)
{
    for (int64_t done = 0; done < bytes; done += transfers->message_bytes)
        start(transfers, &(message){.send = true,
                                    .data = (const char *)data + done,
                                    .bytes = (int)attn_piece_length(bytes, done, transfers->message_bytes),
                                    .peer = to,
                                    .tag = tag});
}

void attn_transfers_receive(attn_transfers *transfers, void *data, int64_t bytes, int from, int tag)
{
    for (int64_t done = 0; done < bytes; done += transfers->message_bytes)
        start(transfers, &(message){.room = (char *)data + done,
                                    .bytes = (int)attn_piece_length(bytes, done, transfers->message_bytes),
                                    .peer = from,
                                    .tag = tag});
}

attn_status attn_transfers_ready(attn_transfers *transfers, attn_error *error)
{
    return transfers->way == ATTN_TRANSFER_BLOCKING ? attn_transfers_wait(transfers, error) : ATTN_OK;
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
