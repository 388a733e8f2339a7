/* The life of an input file: rank 0 reads or makes all that is small, by itself, so that there is one verdict and one
 * message; then all ranks open the file together. */
#include "io/files.h"
#include "io/h5.h"
#include "io/input_file.h"

#include <attn/comm.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIRECT_BYTES ((size_t)256 << 20) /* below the 2 GiB at which counts of MPI-IO end */
#define BOUNCE_BYTES ((size_t)64 << 20)

/* Frees everything but an open file; collective, unless `status`, which the last call has returned, is ATTN_MPI: the
 * communicator and HDF5's file are then left to the end of the program. */
static void release(attn_input *input, attn_status status)
{
    if (input == NULL)
        return;
    if (input->lock != NULL && input->temporary != NULL)
        unlink(input->temporary); /* a created file that was not published */
    attn_lock_release(input->lock);
    attn_input_header_release(&input->header);
    if (status != ATTN_MPI)
        attn_comm_free(&input->comm);
    free(input->temporary);
    free(input->path);
    free(input);
}

/* Collective. Makes an input without a file. */
static attn_status prepare(MPI_Comm comm, const char *path, bool created, attn_input **out, attn_error *error)
{
    attn_input *const input = calloc(1, sizeof *input);
    attn_status status = ATTN_OK;

    if (input == NULL || (input->path = strdup(path)) == NULL ||
        (created && (input->temporary = attn_text("%s.tmp", path)) == NULL))
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to open it", path);
    if (input != NULL) {
        input->comm = MPI_COMM_NULL;
        input->file = H5I_INVALID_HID;
        input->direct_bytes = DIRECT_BYTES;
        input->bounce_bytes = BOUNCE_BYTES;
        for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++)
            input->datasets[a] = H5I_INVALID_HID;
    }
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Comm_dup(comm, &input->comm), "MPI_Comm_dup", error);
    if (status != ATTN_OK) {
        release(input, status);
        return status;
    }
    *out = input;
    return ATTN_OK;
}

/* Collective. Closes the file if it is open; a created one is complete on disk then. */
static attn_status close_file(attn_input *input, attn_error *error)
{
    const char *const name = input->temporary != NULL ? input->temporary : input->path;
    attn_status status = ATTN_OK;

    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++)
        attn_h5_close(input->datasets[a]);
    if (input->file >= 0 && input->temporary != NULL)
        status = attn_h5_flush_close(input->file, name, error);
    else if (input->file >= 0 && H5Fclose(input->file) < 0)
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be closed", name);
    input->file = H5I_INVALID_HID;
    return attn_comm_agree(input->comm, status, error);
}

/* The way out of every failure, `status` being the reason. Collective, unless that is ATTN_MPI. */
static void give_up(attn_input *input, attn_status status)
{
    if (input != NULL && status != ATTN_MPI)
        status = close_file(input, NULL);
    release(input, status);
}

static attn_status open_file(attn_input *input, const char *path, unsigned mode, attn_error *error)
{
    const hid_t access = attn_h5_file_access(), together = H5Pcreate(H5P_DATASET_ACCESS);
    attn_status status = ATTN_OK;

    if (H5Pset_fapl_mpio(access, input->comm, MPI_INFO_NULL) < 0 || H5Pset_all_coll_metadata_ops(together, true) < 0 ||
        (input->file = H5Fopen(path, mode, access)) < 0)
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be opened by all ranks", path);
    if (status != ATTN_MPI) /* it has a communicator, and freeing that is collective */
        attn_h5_close(access);
    /* Not for the whole file: the index of a chunked array is read in its transfers, which each rank makes alone. */
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT && status == ATTN_OK; a++) {
        const char *const name = attn_input_array_path((attn_input_array)a);

        if (!input->header.present[a])
            continue;
        input->datasets[a] = H5Dopen2(input->file, name, together);
        if (input->datasets[a] < 0)
            status = attn_h5_error(error, ATTN_FILE, "%s: dataset %s cannot be opened by all ranks", path, name);
    }
    attn_h5_close(together);
    return status;
}

/* Collective. Opens the file and its arrays on all ranks. That every rank sees the file is agreed first: HDF5 does not
 * return everywhere when it opens only somewhere.
 *   unseen  in, the status when a rank does not see it */
static attn_status open_together(attn_input *input, const char *path, unsigned mode, attn_status unseen,
                                 attn_error *error)
{
    attn_status status = ATTN_OK;

    if (access(path, mode == H5F_ACC_RDWR ? R_OK | W_OK : R_OK) != 0)
        status = attn_error_set(error, unseen, "%s: rank %d: %s; all ranks must see the file", path,
                                attn_comm_rank(input->comm), strerror(errno));
    status = attn_comm_agree(input->comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_agree(input->comm, open_file(input, path, mode, error), error);
    return status;
}

attn_status attn_input_open(MPI_Comm comm, const char *path, attn_input **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_input *input = NULL;
    attn_status status;

    *out = NULL;
    status = prepare(comm, path, false, &input, error);
    if (status != ATTN_OK)
        goto end;
    if (attn_comm_rank(comm) == 0)
        status = attn_input_scan(path, &input->header, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_input_header_share(comm, &input->header, error);
    if (status == ATTN_OK)
        status = open_together(input, path, H5F_ACC_RDONLY, ATTN_INPUT, error);
    if (status == ATTN_OK)
        *out = input;
    else
        give_up(input, status);
end:
    attn_h5_quiet_end(saved);
    return status;
}

/* What the caller asks for, on each rank. */
static attn_status check_request(const char *path, const attn_problem *problem, const attn_dtype *stored,
                                 const bool *present, attn_error *error)
{
    const attn_status status = attn_problem_check(problem, error);

    if (status != ATTN_OK)
        return status;
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++) {
        if (a <= ATTN_INPUT_V && !present[a])
            return attn_error_set(error, ATTN_ARGUMENT, "%s: an input file has q, k and v; %s is left out", path,
                                  attn_input_array_path((attn_input_array)a));
        if (present[a] && (unsigned)stored[a] >= ATTN_DTYPE_COUNT)
            return attn_error_set(error, ATTN_ARGUMENT, "%s: %s: element type %d; 0 to %d are known", path,
                                  attn_input_array_path((attn_input_array)a), (int)stored[a], ATTN_DTYPE_COUNT - 1);
    }
    return ATTN_OK;
}

/* Rank 0, alone: takes the name, and makes the file with all but the elements. What is at the name is looked at under
 * the lock, for another writer may just have finished. */
static attn_status begin_file(attn_input *input, bool replace, attn_error *error)
{
    attn_status status = attn_file_check_target(input->path, error);

    if (status == ATTN_OK)
        status = attn_lock_take(input->path, &input->lock, error);
    if (status == ATTN_OK && !replace && attn_path_exists(input->path))
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: exists; a new name is accepted", input->path);
    return status == ATTN_OK ? attn_input_lay_out(input->temporary, &input->header, error) : status;
}

attn_status attn_input_create(MPI_Comm comm, const char *path, bool replace, const attn_problem *problem,
                              const attn_dtype stored[ATTN_INPUT_ARRAY_COUNT],
                              const bool present[ATTN_INPUT_ARRAY_COUNT], attn_input **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_input *input = NULL;
    attn_status status;

    *out = NULL;
    status = attn_comm_agree(comm, check_request(path, problem, stored, present, error), error);
    if (status == ATTN_OK)
        status = prepare(comm, path, true, &input, error);
    if (status != ATTN_OK)
        goto end;
    status = attn_input_header_set(&input->header, problem, error);
    memcpy(input->header.stored, stored, sizeof input->header.stored);
    memcpy(input->header.present, present, sizeof input->header.present);
    if (status == ATTN_OK && attn_comm_rank(comm) == 0)
        status = begin_file(input, replace, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = open_together(input, input->temporary, H5F_ACC_RDWR, ATTN_ARGUMENT, error);
    if (status == ATTN_OK)
        *out = input;
    else
        give_up(input, status);
end:
    attn_h5_quiet_end(saved);
    return status;
}

/* Rank 0, alone. The lock goes before the other ranks hear of it, so that none of them finds it afterwards. */
static attn_status publish(attn_input *input, attn_error *error)
{
    const attn_status status = attn_file_publish(input->temporary, input->path, error);

    if (status == ATTN_OK) {
        attn_lock_release(input->lock);
        input->lock = NULL;
    }
    return status;
}

attn_status attn_input_close(attn_input *input, attn_error *error)
{
    attn_h5_quiet saved;
    attn_status status;

    if (input == NULL)
        return ATTN_OK;
    saved = attn_h5_quiet_begin();
    status = close_file(input, error);
    if (status == ATTN_OK && input->incomplete)
        status = attn_error_set(error, ATTN_FILE, "%s: not kept, as some of it could not be written", input->path);
    if (status == ATTN_OK && input->temporary != NULL) {
        if (input->lock != NULL)
            status = publish(input, error);
        status = attn_comm_agree(input->comm, status, error);
    }
    release(input, status);
    attn_h5_quiet_end(saved);
    return status;
}

void attn_input_discard(attn_input *input)
{
    attn_h5_quiet saved;

    if (input == NULL)
        return;
    saved = attn_h5_quiet_begin();
    give_up(input, ATTN_OK);
    attn_h5_quiet_end(saved);
}

const attn_problem *attn_input_problem(const attn_input *input)
{
    return &input->header.problem;
}

bool attn_input_has(const attn_input *input, attn_input_array array)
{
    return input->header.present[array];
}

attn_dtype attn_input_stored_dtype(const attn_input *input, attn_input_array array)
{
    return input->header.stored[array];
}
