/* Messages under way: what a rank sends and receives between two waits, in pieces below the limit of a message.
 *
 * An exchange starts messages, says that it has started all until the next wait (ready), computes, and waits. Ways to
 * transfer differ in what that means to MPI, not in the messages: nonblocking ones are driven while it computes; with
 * blocking ones there is nothing left to drive, since ready waits for them; persistent ones are nonblocking, with
 * requests that were made in the first pass. One-sided ones are put into rooms: the receiver tells that the room of the
 * tag is free, the sender puts the pieces, makes sure that they have arrived, and tells so; both tell it by messages of
 * 0 bytes, and nobody waits for the other while it computes. */
#ifndef DIST_TRANSFERS_H
#define DIST_TRANSFERS_H

#include "dist/rooms.h"

#include <attn/kernel.h>
#include <attn/plan.h>

#include <mpi.h>

typedef struct attn_kept_request attn_kept_request;
typedef struct attn_put attn_put;

typedef struct attn_transfers {
    MPI_Comm comm;
    int64_t message_bytes; /* most of one message */
    MPI_Request *requests; /* [capacity] */
    int capacity, count;   /* requests since the last wait */
    int code;              /* of the first MPI call that failed since then */
    attn_transfer way;
    attn_kept_request *kept;  /* [kept_count] persistent: by their place in a pass */
    int64_t kept_count, next; /* next: that of the next message */
    const attn_rooms *rooms;  /* one-sided: into which others put */
    attn_put *puts;           /* [put_count] since the last wait */
    int put_count;
} attn_transfers;

/* Not collective. Makes room for `bytes` under way in at most `messages` sends and receives together. Release is for a
 * failed create too, and for zeros. ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_transfers_create(MPI_Comm comm, int64_t message_bytes, int64_t messages, int64_t bytes,
                                  attn_transfers *out, attn_error *error);
void attn_transfers_release(attn_transfers *transfers);

/* Chooses a way to transfer, once, after create. Without, or with ATTN_TRANSFER_AUTO, it is nonblocking.
 *   waits  in, the most in a pass
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_transfers_choose(attn_transfers *transfers, attn_transfer way, int64_t waits, attn_error *error);

/* Tells one-sided ones, before the first message, the rooms of their tags; they outlive the last. A room takes one
 * message between two waits, and what is received with its tag is received there. */
void attn_transfers_place(attn_transfers *transfers, const attn_rooms *rooms);

/* Begins a pass. Persistent requests are found again by their order in it, and made anew where the message is another
 * one, as when the caller's arrays have moved. */
void attn_transfers_begin(attn_transfers *transfers);

/* Start a message; nothing is started for 0 bytes. Messages of one tag between two ranks arrive in order. Data stay in
 * place until the wait. A failure is told by the wait. */
void attn_transfers_send(attn_transfers *transfers, const void *data, int64_t bytes, int to, int tag);
void attn_transfers_receive(attn_transfers *transfers, void *data, int64_t bytes, int from, int tag);

/* Takes the request of another call, a collective one, among those under way.
 *   code  in, what the call returned */
void attn_transfers_take(attn_transfers *transfers, MPI_Request request, int code);

/* Starts to sum count numbers over all ranks of a comm, in place; collective over it. */
void attn_transfers_sum(attn_transfers *transfers, MPI_Comm comm, MPI_Datatype type, void *data, int count);

/* All is started until the next wait. ATTN_MPI. */
attn_status attn_transfers_ready(attn_transfers *transfers, attn_error *error);

/* Drives what is under way; as the progress of a kernel. */
void attn_transfers_drive(attn_transfers *transfers);
attn_progress attn_transfers_progress(attn_transfers *transfers);

/* Waits until all of them are done. ATTN_MPI. */
attn_status attn_transfers_wait(attn_transfers *transfers, attn_error *error);

/* Messages that so many bytes make. */
int64_t attn_transfers_messages(int64_t bytes, int64_t message_bytes);

#endif
