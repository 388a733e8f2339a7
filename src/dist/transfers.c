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

/* One-sided: a message of 0 bytes with this more than the tag of the data tells the sender that the room is free. One
 * with the tag itself tells the receiver that the data are there. */
enum { TAG_FREE = 256 };

/* What is put into the room of another rank. */
struct attn_put {
    enum { PUT_WAITS, PUT_LEAVES, PUT_DONE } stage; /* until the room is free; until the pieces have left; told */
    const char *data;
    int64_t bytes;
    int peer, tag;
    int first, count; /* requests: that the room is free, then those of the pieces */
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
    free(transfers->puts);
    free(transfers->requests);
    transfers->kept = NULL;
    transfers->puts = NULL;
    transfers->kept_count = 0;
    transfers->requests = NULL;
}

/* A message that is put takes two more requests, which tell that the room is free and that the data are there. */
static attn_status make_puts(attn_transfers *transfers, attn_error *error)
{
    const int puts = transfers->capacity;
    MPI_Request *requests;

    if (!attn_int_from_int64(3 * (int64_t)puts, &transfers->capacity))
        return attn_error_set(error, ATTN_UNSUPPORTED, "%d messages: MPI counts requests in int", puts);
    transfers->puts = attn_calloc_array(puts + (int64_t)1, sizeof *transfers->puts);
    requests = attn_realloc_array(transfers->requests, transfers->capacity + (int64_t)1, sizeof *requests);
    if (requests != NULL)
        transfers->requests = requests;
    if (transfers->puts == NULL || requests == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %d one-sided messages", puts);
    return ATTN_OK;
}

attn_status attn_transfers_choose(attn_transfers *transfers, attn_transfer way, int64_t waits, attn_error *error)
{
    const int64_t count = waits * transfers->capacity;

    transfers->way = way;
    if (way == ATTN_TRANSFER_ONESIDED)
        return make_puts(transfers, error);
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

void attn_transfers_place(attn_transfers *transfers, const attn_rooms *rooms)
{
    transfers->rooms = rooms;
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

static MPI_Request *next_request(attn_transfers *transfers)
{
    MPI_Request *request = &transfers->requests[transfers->count++];

    assert(transfers->count <= transfers->capacity);
    *request = MPI_REQUEST_NULL;
    return request;
}

static void start(attn_transfers *transfers, const message *of)
{
    MPI_Request *request = next_request(transfers);

    if (transfers->way == ATTN_TRANSFER_PERSISTENT)
        start_kept(transfers, of, request);
    else if (of->send)
        note(transfers, MPI_Isend(of->data, of->bytes, MPI_BYTE, of->peer, of->tag, transfers->comm, request));
    else
        note(transfers, MPI_Irecv(of->room, of->bytes, MPI_BYTE, of->peer, of->tag, transfers->comm, request));
}

/* ---- One-sided ---- */

static void tell(attn_transfers *transfers, int peer, int tag)
{
    note(transfers, MPI_Isend(NULL, 0, MPI_BYTE, peer, tag, transfers->comm, next_request(transfers)));
}

static void hear(attn_transfers *transfers, int peer, int tag)
{
    note(transfers, MPI_Irecv(NULL, 0, MPI_BYTE, peer, tag, transfers->comm, next_request(transfers)));
}

static bool all_done(attn_transfers *transfers, int first, int count)
{
    int done = 0;

    note(transfers, MPI_Testall(count, &transfers->requests[first], &done, MPI_STATUSES_IGNORE));
    return done != 0 && transfers->code == MPI_SUCCESS;
}

static void put_pieces(attn_transfers *transfers, attn_put *put)
{
    put->first = transfers->count;
    for (int64_t done = 0; done < put->bytes; done += transfers->message_bytes) {
        const int bytes = (int)attn_piece_length(put->bytes, done, transfers->message_bytes);

        note(transfers, attn_rooms_put(transfers->rooms, put->data + done, bytes, put->peer, put->tag, done,
                                       next_request(transfers)));
    }
    put->count = transfers->count - put->first;
    put->stage = PUT_LEAVES;
}

/* Goes on with a put as far as it goes without waiting, but for the flush: its pieces have left by then. */
static void drive_put(attn_transfers *transfers, attn_put *put)
{
    if (put->stage == PUT_WAITS && all_done(transfers, put->first, put->count))
        put_pieces(transfers, put);
    if (put->stage == PUT_LEAVES && all_done(transfers, put->first, put->count)) {
        note(transfers, attn_rooms_flush(transfers->rooms, put->peer));
        tell(transfers, put->peer, put->tag);
        put->stage = PUT_DONE;
    }
}

static void start_put(attn_transfers *transfers, const void *data, int64_t bytes, int to, int tag)
{
    attn_put *put = &transfers->puts[transfers->put_count++];

    *put = (attn_put){.data = data, .bytes = bytes, .peer = to, .tag = tag, .first = transfers->count, .count = 1};
    hear(transfers, to, TAG_FREE + tag);
    drive_put(transfers, put);
}

static void await_put(attn_transfers *transfers, int from, int tag)
{
    hear(transfers, from, tag);
    note(transfers, attn_rooms_sync(transfers->rooms)); /* this rank has read and written there */
    tell(transfers, from, TAG_FREE + tag);
}

static bool drive_puts(attn_transfers *transfers)
{
    bool all = true;

    for (int n = 0; n < transfers->put_count && transfers->code == MPI_SUCCESS; n++) {
        drive_put(transfers, &transfers->puts[n]);
        all = all && transfers->puts[n].stage == PUT_DONE;
    }
    return all;
}

/* ---- All ways ---- */

void attn_transfers_send(attn_transfers *transfers, const void *data, int64_t bytes, int to, int tag)
{
    if (transfers->way == ATTN_TRANSFER_ONESIDED && bytes > 0) {
        start_put(transfers, data, bytes, to, tag);
        return;
    }
    for (int64_t done = 0; done < bytes; done += transfers->message_bytes)
        start(transfers, &(message){.send = true,
                                    .data = (const char *)data + done,
                                    .bytes = (int)attn_piece_length(bytes, done, transfers->message_bytes),
                                    .peer = to,
                                    .tag = tag});
}

void attn_transfers_receive(attn_transfers *transfers, void *data, int64_t bytes, int from, int tag)
{
    if (transfers->way == ATTN_TRANSFER_ONESIDED && bytes > 0) {
        await_put(transfers, from, tag);
        return;
    }
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

void attn_transfers_sum(attn_transfers *transfers, MPI_Comm comm, MPI_Datatype type, void *data, int count)
{
    note(transfers, MPI_Iallreduce(MPI_IN_PLACE, data, count, type, MPI_SUM, comm, next_request(transfers)));
}

void attn_transfers_drive(attn_transfers *transfers)
{
    int done;

    drive_puts(transfers);
    if (transfers->count > 0)
        note(transfers, MPI_Testall(transfers->count, transfers->requests, &done, MPI_STATUSES_IGNORE));
}

static void drive(void *context)
{
    attn_transfers_drive(context);
}

attn_progress attn_transfers_progress(attn_transfers *transfers)
{
    return (attn_progress){.make = drive, .context = transfers};
}

attn_status attn_transfers_wait(attn_transfers *transfers, attn_error *error)
{
    attn_status status;

    while (transfers->code == MPI_SUCCESS && !drive_puts(transfers)) {
    }
    status = attn_comm_check(transfers->code, "a call that starts or drives a transfer", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Waitall(transfers->count, transfers->requests, MPI_STATUSES_IGNORE), "MPI_Waitall",
                                 error);
    if (status == ATTN_OK && transfers->rooms != NULL)
        status = attn_comm_check(attn_rooms_sync(transfers->rooms), "MPI_Win_sync", error);
    transfers->count = transfers->put_count = 0;
    transfers->code = MPI_SUCCESS;
    return status;
}
