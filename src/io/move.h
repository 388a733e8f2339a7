/* Moving a rank's block of an array between memory and a file that all ranks have open. */
#ifndef ATTN_IO_MOVE_H
#define ATTN_IO_MOVE_H

#include "io/together.h"

#include <attn/dtype.h>
#include <attn/segments.h>

/* One array on its way. In memory it is dense and has four dimensions, of which the dataset has some that follow each
 * other: all four, or three from the first on ([B,H,rows]) or from the second on ([B,rows,width]), and so on. The rows
 * are dimension 2. */
typedef struct attn_move {
    attn_together *file;
    int dataset;      /* index in file->datasets */
    const char *name; /* of the dataset, for messages */
    attn_dtype stored;
    int first;                 /* dimension with which those of the dataset begin */
    int64_t extents[4];        /* of the dataset; 1 where it has no such dimension */
    int64_t begin[4];          /* of this rank's block; begin[2] is added to its rows */
    int64_t count[4];          /* count[2] is that of the rows, and not looked at */
    const attn_segments *rows; /* NULL: nothing */
    attn_dtype dtype;          /* in the caller's memory */
    void *to;                  /* exactly one of to and from, NULL when this rank has nothing */
    const void *from;
    bool writing;
} attn_move;

/* Collective. Moves, converting between types. ATTN_ARGUMENT for a block beyond the array, ATTN_FILE, ATTN_MEMORY,
 * ATTN_MPI. The status is the same on all ranks, but for ATTN_MPI.
 *   local  in, this rank's status so far; nothing is moved unless it is ATTN_OK everywhere */
attn_status attn_move_array(const attn_move *move, attn_status local, attn_error *error);

#endif
