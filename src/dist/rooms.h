/* Rooms: memory of a rank into which others put, in one window. A room has a tag, as messages have, and every rank has
 * one of each tag; so a sender that knows the tag knows the place.
 *
 * The window is open to passive access as long as it is. That a room is free, and that the data are there, the two
 * ranks tell each other (transfers.h). MPI allocates the memory, since some implementations put into no other. */
#ifndef DIST_ROOMS_H
#define DIST_ROOMS_H

#include <attn/status.h>

#include <mpi.h>
#include <stdint.h>

typedef struct attn_room {
    int tag;
    int64_t bytes;
    void *data; /* out, at a cache line of its own */
} attn_room;

typedef struct attn_rooms attn_rooms;

/* Both are collective. What fails is agreed on but for ATTN_MPI, after which the window is left: to free it would wait
 * for others. Destroy takes NULL.
 *   list  in, [count] the same tags and bytes in the same order on all ranks; out, where they are
 *   out   out, NULL on failure
 * ATTN_MEMORY, ATTN_UNSUPPORTED (MPI has no windows between these ranks), ATTN_MPI. */
attn_status attn_rooms_create(MPI_Comm comm, attn_room *list, int count, attn_rooms **out, attn_error *error);
void attn_rooms_destroy(attn_rooms *rooms);

/* Bytes of the window: those of each room, and once what it takes to begin at a cache line. */
int64_t attn_rooms_bytes_of(int64_t room_bytes);
int64_t attn_rooms_bytes_once(void);

/* Starts to put into the room of a tag on another rank, `place` bytes into it. Returns MPI's code, as the next two. */
int attn_rooms_put(const attn_rooms *rooms, const void *data, int bytes, int to, int tag, int64_t place,
                   MPI_Request *request);

/* What was put to a rank is there; its requests are done. */
int attn_rooms_flush(const attn_rooms *rooms, int to);

/* Makes what this rank and others have written to its rooms the same to both. */
int attn_rooms_sync(const attn_rooms *rooms);

#endif
