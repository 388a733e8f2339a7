/* The life of an HDF5 file that all ranks have open at once: rank 0 reads or makes all that is small, by itself, so
 * that there is one verdict and one message; then all ranks open the file together. A created file is filled under a
 * temporary name and published whole. */
#ifndef ATTN_IO_TOGETHER_H
#define ATTN_IO_TOGETHER_H

#include "io/files.h"

#include <attn/dtype.h>

#include <hdf5.h>
#include <mpi.h>

typedef struct attn_together {
    MPI_Comm comm; /* a duplicate; MPI_COMM_NULL before there is one */
    char *path;
    char *temporary; /* name under which a created file is filled; NULL for an opened one */
    attn_lock *lock; /* of a created file, on rank 0 */
    hid_t file;
    hid_t *datasets; /* [count], invalid where there is none */
    int count;
    bool attempted;  /* to open it: some ranks may have it open */
    bool incomplete; /* something could not be written */
    /* Most bytes that one rank moves in one transfer: straight from or to the caller, and through a converting copy. */
    size_t direct_bytes, bounce_bytes;
} attn_together;

/* Collective. Sets up without a file; given up by the caller on failure too.
 *   out  out, NULL where the caller has found no memory for it, which is agreed on here */
attn_status attn_together_prepare(MPI_Comm comm, const char *path, bool created, attn_together *out, attn_error *error);

/* Rank 0 alone: takes the name of a file to be created. ATTN_ARGUMENT when no file can be made there, be it that it
 * exists (unless it is to be replaced) or is being written; ATTN_FILE, ATTN_MEMORY. */
attn_status attn_together_claim(attn_together *t, bool replace, attn_error *error);

/* Rank 0 alone: gives the file that is to be filled its final length now, `bytes` more than it has and some slack: a
 * full disk is told before anything is computed for it, and HDF5 does not survive a file that cannot get its length.
 *   bytes  in, < 0: more than 2^63. ATTN_FILE. */
attn_status attn_together_reserve(const attn_together *t, int64_t bytes, attn_error *error);

/* Collective. Opens the file (a created one under its temporary name) and its datasets on all ranks.
 *   names  in, [count]; NULL: no dataset there
 * ATTN_INPUT (ATTN_ARGUMENT for a created file) when a rank does not see it; ATTN_FILE, ATTN_MEMORY, ATTN_MPI. */
attn_status attn_together_open(attn_together *t, const char *const *names, int count, attn_error *error);

/* Collective. Closes; a created file is made durable and gets its name. What is left is released with give_up. */
attn_status attn_together_close(attn_together *t, attn_error *error);

/* Closes and frees everything; a created file without its name is removed. Collective, unless `status`, which the last
 * call has returned, is ATTN_MPI: the communicator and HDF5's file are then left to the end of the program. */
void attn_together_give_up(attn_together *t, attn_status status);

/* Makes a dataset that all ranks will fill: it has no place yet, and nothing is written to it before. By one process;
 * false on failure.
 *   path     in, in the file; groups above it are made
 *   meaning  in, for people: the attribute long_name
 *   labels   in, [rank], names of the dimensions */
bool attn_together_make_array(hid_t file, const char *path, attn_dtype stored, int rank, const int64_t *extents,
                              const char *meaning, const char *const *labels);

#endif
