/* A folder of its own for a test, known to all ranks, and byte-wise files in it. */
#ifndef ATTN_TEST_FOLDER_H
#define ATTN_TEST_FOLDER_H

#include "harness.h"

#include <dirent.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER_SIZE 256
#define PATH_SIZE 512

static char test_folder[FOLDER_SIZE];

static inline int test_rank(void)
{
    int rank;

    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

static inline int test_ranks(void)
{
    int size;

    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

/* Collective. Makes the folder. */
static inline void folder_make(void)
{
    if (test_rank() == 0) {
        const char *const place = getenv("TMPDIR");

        snprintf(test_folder, sizeof test_folder, "%s/attn-test-XXXXXX", place != NULL ? place : "/tmp");
        if (mkdtemp(test_folder) == NULL) {
            perror(test_folder);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
    MPI_Bcast(test_folder, sizeof test_folder, MPI_CHAR, 0, MPI_COMM_WORLD);
}

/* The path of a file in the folder. */
static inline const char *folder_path(const char *name, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/%s", test_folder, name);
    return path;
}

/* Number of entries in a folder of the folder ("" for itself); -1 when there is no such folder. */
static inline int folder_count(const char *name)
{
    char path[PATH_SIZE];
    DIR *const stream = opendir(folder_path(name, path));
    const struct dirent *entry;
    int count = 0;

    if (stream == NULL)
        return -1;
    while ((entry = readdir(stream)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(stream);
    return count;
}

/* Removes what is in a folder, one level of folders deep, and the folder. */
static inline void folder_empty(const char *folder, int depth)
{
    DIR *const stream = opendir(folder);
    const struct dirent *entry;
    char path[2 * PATH_SIZE];

    if (stream == NULL)
        return;
    while ((entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%.500s/%.255s", folder, entry->d_name);
        if (unlink(path) != 0 && depth > 0)
            folder_empty(path, depth - 1);
    }
    closedir(stream);
    rmdir(folder);
}

/* Collective. */
static inline void folder_remove(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
    if (test_rank() == 0)
        folder_empty(test_folder, 2);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Writes bytes into a file of the folder; false on failure. */
static inline int folder_write(const char *name, const void *bytes, size_t count)
{
    char path[PATH_SIZE];
    FILE *const stream = fopen(folder_path(name, path), "wb");
    int written;

    if (stream == NULL)
        return 0;
    written = fwrite(bytes, 1, count, stream) == count;
    return fclose(stream) == 0 && written;
}

#endif
