#include "io/together.h"

#include "io/h5.h"

#include "core/checked.h"

#include <attn/comm.h>

#include <errno.h>
#include <hdf5_hl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECT_BYTES ((size_t)256 << 20) /* below the 2 GiB at which counts of MPI-IO end */
#define BOUNCE_BYTES ((size_t)64 << 20)
#define SLACK_BYTES ((int64_t)1 << 16) /* for HDF5's own needs between the arrays */

static const char *open_name(const attn_together *t)
{
    return t->temporary != NULL ? t->temporary : t->path;
}

attn_status attn_together_prepare(MPI_Comm comm, const char *path, bool created, attn_together *out, attn_error *error)
{
    attn_status status = ATTN_OK;

    if (out != NULL) {
        *out = (attn_together){.comm = MPI_COMM_NULL,
                               .path = strdup(path),
                               .temporary = created ? attn_text("%s.tmp", path) : NULL,
                               .file = H5I_INVALID_HID,
                               .direct_bytes = DIRECT_BYTES,
                               .bounce_bytes = BOUNCE_BYTES};
    }
    if (out == NULL || out->path == NULL || (created && out->temporary == NULL))
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to open it", path);
    status = attn_comm_agree(comm, status, error);
    return status == ATTN_OK ? attn_comm_check(MPI_Comm_dup(comm, &out->comm), "MPI_Comm_dup", error) : status;
}

/* What is at the name is looked at under the lock, for another writer may just have finished. */
attn_status attn_together_claim(attn_together *t, bool replace, attn_error *error)
{
    attn_status status = attn_file_check_target(t->path, error);

    if (status == ATTN_OK)
        status = attn_lock_take(t->path, &t->lock, error);
    if (status == ATTN_OK && !replace && attn_path_exists(t->path))
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: exists; a new name is accepted", t->path);
    return status;
}

attn_status attn_together_reserve(const attn_together *t, int64_t bytes, attn_error *error)
{
    const char *const path = open_name(t);
    int64_t length;
    struct stat info;

    if (stat(path, &info) != 0)
        return attn_error_set(error, ATTN_FILE, "%s: cannot be created: %s", path, strerror(errno));
    if (bytes < 0 || !attn_int64_add(SLACK_BYTES + (int64_t)info.st_size, bytes, &length))
        return attn_error_set(error, ATTN_FILE, "%s: cannot get the bytes that it needs: %s", path, strerror(EFBIG));
    return attn_file_reserve(path, length, error);
}

static attn_status open_file(attn_together *t, const char *const *names, attn_error *error)
{
    const char *const path = open_name(t);
    const hid_t access = attn_h5_file_access(), together = H5Pcreate(H5P_DATASET_ACCESS);
    attn_status status = ATTN_OK;

    if (H5Pset_fapl_mpio(access, t->comm, MPI_INFO_NULL) < 0 || H5Pset_all_coll_metadata_ops(together, true) < 0 ||
        (t->file = H5Fopen(path, t->temporary != NULL ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access)) < 0)
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be opened by all ranks", path);
    if (status != ATTN_MPI) /* it has a communicator, and freeing that is collective */
        attn_h5_close(access);
    /* Not for the whole file: the index of a chunked array is read in its transfers, which each rank makes alone. */
    for (int n = 0; n < t->count && status == ATTN_OK; n++) {
        if (names[n] == NULL)
            continue;
        t->datasets[n] = H5Dopen2(t->file, names[n], together);
        if (t->datasets[n] < 0)
            status = attn_h5_error(error, ATTN_FILE, "%s: dataset %s cannot be opened by all ranks", path, names[n]);
    }
    attn_h5_close(together);
    return status;
}

/* That every rank sees the file is agreed first: HDF5 does not return everywhere when it opens only somewhere. */
attn_status attn_together_open(attn_together *t, const char *const *names, int count, attn_error *error)
{
    const bool created = t->temporary != NULL;
    attn_status status = ATTN_OK;

    t->attempted = true;
    t->datasets = attn_calloc_array(count, sizeof *t->datasets);
    if (t->datasets == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to open it", t->path);
    } else {
        t->count = count;
        for (int n = 0; n < count; n++)
            t->datasets[n] = H5I_INVALID_HID;
    }
    if (status == ATTN_OK && access(open_name(t), created ? R_OK | W_OK : R_OK) != 0)
        status =
            attn_error_set(error, created ? ATTN_ARGUMENT : ATTN_INPUT, "%s: rank %d: %s; all ranks must see the file",
                           open_name(t), attn_comm_rank(t->comm), strerror(errno));
    status = attn_comm_agree(t->comm, status, error);
    return status == ATTN_OK ? attn_comm_agree(t->comm, open_file(t, names, error), error) : status;
}

/* Collective. Closes the file if it is open; a created one is complete on disk then. */
static attn_status close_file(attn_together *t, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (int n = 0; n < t->count; n++)
        attn_h5_close(t->datasets[n]);
    t->count = 0;
    if (t->file >= 0 && t->temporary != NULL)
        status = attn_h5_flush_close(t->file, open_name(t), error);
    else if (t->file >= 0 && H5Fclose(t->file) < 0)
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be closed", open_name(t));
    t->file = H5I_INVALID_HID;
    t->attempted = false;
    return attn_comm_agree(t->comm, status, error);
}

/* Rank 0, alone. The lock goes before the other ranks hear of it, so that none of them finds it afterwards. */
static attn_status publish(attn_together *t, attn_error *error)
{
    const attn_status status = attn_file_publish(t->temporary, t->path, error);

    if (status == ATTN_OK) {
        attn_lock_release(t->lock);
        t->lock = NULL;
    }
    return status;
}

attn_status attn_together_close(attn_together *t, attn_error *error)
{
    attn_status status = close_file(t, error);

    if (status == ATTN_OK && t->incomplete)
        status = attn_error_set(error, ATTN_FILE, "%s: not kept, as some of it could not be written", t->path);
    if (status == ATTN_OK && t->temporary != NULL) {
        if (t->lock != NULL)
            status = publish(t, error);
        status = attn_comm_agree(t->comm, status, error);
    }
    return status;
}

void attn_together_give_up(attn_together *t, attn_status status)
{
    if (status != ATTN_MPI && t->attempted)
        status = close_file(t, NULL);
    if (t->lock != NULL && t->temporary != NULL)
        unlink(t->temporary); /* a created file that was not published */
    attn_lock_release(t->lock);
    if (status != ATTN_MPI)
        attn_comm_free(&t->comm);
    free(t->datasets);
    free(t->temporary);
    free(t->path);
    *t = (attn_together){.comm = MPI_COMM_NULL, .file = H5I_INVALID_HID};
}

static hid_t array_properties(void)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_layout(properties, H5D_CONTIGUOUS);
    H5Pset_alloc_time(properties, H5D_ALLOC_TIME_LATE);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    return properties;
}

bool attn_together_make_array(hid_t file, const char *path, attn_dtype stored, int rank, const int64_t *extents,
                              const char *meaning, const char *const *labels)
{
    const hid_t links = H5Pcreate(H5P_LINK_CREATE), properties = array_properties(), type = attn_h5_type(stored);
    hsize_t sizes[H5S_MAX_RANK];
    hid_t space, dataset;
    bool made;

    for (int d = 0; d < rank; d++)
        sizes[d] = (hsize_t)extents[d];
    space = H5Screate_simple(rank, sizes, NULL);
    H5Pset_create_intermediate_group(links, 1);
    dataset = H5Dcreate2(file, path, type, space, links, properties, H5P_DEFAULT);
    made = dataset >= 0 && attn_h5_write_text(dataset, "long_name", meaning);
    if (stored == ATTN_BFLOAT16)
        made = made && attn_h5_write_text(dataset, "dtype", attn_dtype_name(stored));
    for (int d = 0; d < rank; d++)
        made = made && H5DSset_label(dataset, (unsigned)d, labels[d]) >= 0;
    attn_h5_close(dataset);
    attn_h5_close(space);
    attn_h5_close(type);
    attn_h5_close(properties);
    attn_h5_close(links);
    return made;
}
