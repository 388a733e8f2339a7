#include "dist/rooms.h"

#include "core/checked.h"
#include "core/pages.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <assert.h>
#include <stdlib.h>

struct attn_rooms {
    MPI_Win window;
    int count;
    int *tags;       /* [count] */
    int64_t *places; /* [count] where each begins behind the first */
    int64_t *begins; /* [ranks] where the first begins in the window of each rank */
};

int64_t attn_rooms_bytes_of(int64_t room_bytes)
{
    return (room_bytes + ATTN_ALIGNMENT - 1) / ATTN_ALIGNMENT * ATTN_ALIGNMENT;
}

int64_t attn_rooms_bytes_once(void)
{
    return ATTN_ALIGNMENT;
}

static void drop(attn_rooms *rooms)
{
    if (rooms == NULL)
        return;
    free(rooms->tags);
    free(rooms->places);
    free(rooms->begins);
    free(rooms);
}

void attn_rooms_destroy(attn_rooms *rooms)
{
    if (rooms == NULL)
        return;
    MPI_Win_unlock_all(rooms->window);
    MPI_Win_free(&rooms->window);
    drop(rooms);
}

static attn_status allocate(MPI_Comm comm, int count, attn_rooms **out, attn_error *error)
{
    attn_rooms *rooms = calloc(1, sizeof *rooms);

    *out = rooms;
    if (rooms != NULL) {
        rooms->window = MPI_WIN_NULL;
        rooms->count = count;
        rooms->tags = attn_calloc_array(count, sizeof *rooms->tags);
        rooms->places = attn_calloc_array(count, sizeof *rooms->places);
        rooms->begins = attn_calloc_array(attn_comm_size(comm), sizeof *rooms->begins);
    }
    if (rooms == NULL || rooms->tags == NULL || rooms->places == NULL || rooms->begins == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a window of %d rooms", count);
    return ATTN_OK;
}

/* Some implementations have windows for some networks only. */
static attn_status make_window(attn_rooms *rooms, MPI_Comm comm, int64_t bytes, void **memory, attn_error *error)
{
    const int code = MPI_Win_allocate((MPI_Aint)bytes, 1, MPI_INFO_NULL, comm, memory, &rooms->window);
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;

    if (code == MPI_SUCCESS)
        return ATTN_OK;
    MPI_Error_string(code, text, &length);
    return attn_error_set(error, ATTN_UNSUPPORTED, "transfer onesided: MPI makes no window of %lld bytes: %.*s",
                          (long long)bytes, length, text);
}

/* Opens the window, and tells the others where its first room begins. */
static attn_status open_window(attn_rooms *rooms, MPI_Comm comm, int64_t begin, attn_error *error)
{
    attn_status status =
        attn_comm_check(MPI_Win_set_errhandler(rooms->window, MPI_ERRORS_RETURN), "MPI_Win_set_errhandler", error);

    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, rooms->window), "MPI_Win_lock_all", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Allgather(&begin, 1, MPI_INT64_T, rooms->begins, 1, MPI_INT64_T, comm),
                                 "MPI_Allgather", error);
    return status;
}

attn_status attn_rooms_create(MPI_Comm comm, attn_room *list, int count, attn_rooms **out, attn_error *error)
{
    int64_t bytes = attn_rooms_bytes_once(), begin, place = 0;
    void *memory = NULL;
    attn_rooms *rooms;
    attn_status status = attn_comm_agree(comm, allocate(comm, count, &rooms, error), error);

    *out = NULL;
    for (int n = 0; n < count; n++)
        bytes += attn_rooms_bytes_of(list[n].bytes);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, make_window(rooms, comm, bytes, &memory, error), error);
    if (status != ATTN_OK) {
        drop(rooms);
        return status;
    }
    begin = (int64_t)((ATTN_ALIGNMENT - (uintptr_t)memory % ATTN_ALIGNMENT) % ATTN_ALIGNMENT);
    attn_pages_advise(memory, (size_t)bytes);
    for (int n = 0; n < count; n++) {
        rooms->tags[n] = list[n].tag;
        rooms->places[n] = place;
        list[n].data = (char *)memory + begin + place;
        place += attn_rooms_bytes_of(list[n].bytes);
    }
    status = open_window(rooms, comm, begin, error);
    if (status != ATTN_OK) {
        drop(rooms);
        return status;
    }
    *out = rooms;
    return ATTN_OK;
}

int attn_rooms_put(const attn_rooms *rooms, const void *data, int bytes, int to, int tag, int64_t place,
                   MPI_Request *request)
{
    int n = 0;

    while (rooms->tags[n] != tag) {
        n++;
        assert(n < rooms->count);
    }
    return MPI_Rput(data, bytes, MPI_BYTE, to, (MPI_Aint)(rooms->begins[to] + rooms->places[n] + place), bytes,
                    MPI_BYTE, rooms->window, request);
}

int attn_rooms_flush(const attn_rooms *rooms, int to)
{
    return MPI_Win_flush(to, rooms->window);
}

int attn_rooms_sync(const attn_rooms *rooms)
{
    return MPI_Win_sync(rooms->window);
}
