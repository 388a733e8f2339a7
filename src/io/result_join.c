#include "io/h5.h"
#include "io/result_file.h"

#include "core/checked.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLACK_BYTES ((int64_t)1 << 20) /* for what HDF5 makes anew, and for the provenance of the launch that joins */

typedef struct part {
    char *path; /* borrowed from the list of names */
    struct timespec published;
} part;

static int by_time(const void *a, const void *b)
{
    const part *const x = a, *const y = b;

    if (x->published.tv_sec != y->published.tv_sec)
        return x->published.tv_sec < y->published.tv_sec ? -1 : 1;
    if (x->published.tv_nsec != y->published.tv_nsec)
        return x->published.tv_nsec < y->published.tv_nsec ? -1 : 1;
    return strcmp(x->path, y->path);
}

/* Sorts paths by the time of their last change, then by name. */
static attn_status sort_by_time(attn_names *paths, attn_error *error)
{
    part *const parts = attn_calloc_array((int64_t)paths->count, sizeof *parts);
    struct stat info;

    if (parts == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu names", paths->count);
    for (size_t i = 0; i < paths->count; i++) {
        parts[i].path = paths->list[i];
        if (stat(paths->list[i], &info) == 0)
            parts[i].published = info.st_mtim;
    }
    if (paths->count > 0)
        qsort(parts, paths->count, sizeof *parts, by_time);
    for (size_t i = 0; i < paths->count; i++)
        paths->list[i] = parts[i].path;
    free(parts);
    return ATTN_OK;
}

attn_status attn_result_parts(const char *parts, attn_names *out, attn_error *error)
{
    attn_names names = ATTN_NAMES_EMPTY;
    attn_status status = ATTN_OK;

    if (attn_path_is_folder(parts))
        status = attn_folder_list(parts, ".h5", &names, error);
    for (size_t i = 0; i < names.count && status == ATTN_OK; i++) {
        char *const path = attn_text("%s/%s", parts, names.list[i]);

        status = path != NULL ? attn_names_append(out, path, error)
                              : attn_error_set(error, ATTN_MEMORY, "%s: no memory to list it", parts);
        free(path);
    }
    attn_names_release(&names);
    return status == ATTN_OK ? sort_by_time(out, error) : status;
}

/* The identity of the case that a part holds: its name without folder and ending. */
static bool part_holds(const attn_names *parts, const char *id)
{
    for (size_t i = 0; i < parts->count; i++) {
        const char *const base = attn_path_base(parts->list[i]);

        if (strncmp(base, id, strlen(id)) == 0 && strcmp(base + strlen(id), ".h5") == 0)
            return true;
    }
    return false;
}

static attn_status copy_environments(hid_t from, const char *from_path, hid_t to, const char *to_path,
                                     attn_error *error)
{
    attn_names launches = ATTN_NAMES_EMPTY;
    attn_status status = attn_result_file_launches(from, from_path, &launches, error);

    for (size_t i = 0; i < launches.count && status == ATTN_OK; i++) {
        attn_attributes *environment;

        status = attn_result_file_get_environment(from, from_path, launches.list[i], &environment, error);
        if (status == ATTN_OK)
            status = attn_result_file_put_environment(to, to_path, launches.list[i], environment, error);
        attn_attributes_destroy(environment);
    }
    attn_names_release(&launches);
    return status;
}

/* Copies everything of a file but the cases that a part replaces. */
static attn_status copy_file(const char *path, const attn_names *replaced_by, hid_t to, const char *to_path,
                             attn_error *error)
{
    attn_names ids = ATTN_NAMES_EMPTY;
    hid_t from;
    attn_status status = attn_result_file_open(path, &from, error);

    if (status != ATTN_OK)
        return status;
    status = copy_environments(from, path, to, to_path, error);
    if (status == ATTN_OK)
        status = attn_result_file_cases(from, path, &ids, error);
    for (size_t i = 0; i < ids.count && status == ATTN_OK; i++) {
        attn_result *result;

        if (replaced_by != NULL && part_holds(replaced_by, ids.list[i]))
            continue;
        status = attn_result_file_get_case(from, path, ids.list[i], &result, error);
        if (status == ATTN_OK)
            status = attn_result_file_put_case(to, to_path, result, error);
        attn_result_destroy(result);
    }
    attn_names_release(&ids);
    attn_h5_close(from);
    return status;
}

static int64_t bytes_of(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

/* At least the length of the joined file: each file holds, beside its cases, groups and provenance that are joined. */
static int64_t joined_bytes(const char *path, const attn_names *parts)
{
    int64_t bytes = SLACK_BYTES + bytes_of(path);

    for (size_t i = 0; i < parts->count; i++)
        bytes += bytes_of(parts->list[i]);
    return bytes;
}

/* Makes the new file under its temporary name, with nothing in it yet. */
static attn_status begin(const char *temporary, int64_t bytes, hid_t *to, attn_error *error)
{
    attn_status status = attn_result_file_create(temporary, to, error);

    if (status == ATTN_OK)
        status = attn_h5_save(*to, temporary, error);
    return status == ATTN_OK ? attn_result_file_extend(temporary, bytes, to, error) : status;
}

/* Fills the new file, one case after the other: the memory is that of one case, whatever the file has. */
static attn_status fill(const char *path, const attn_names *parts, const char *temporary, const char *launch_id,
                        const attn_attributes *environment, attn_error *error)
{
    hid_t to;
    attn_status status = begin(temporary, joined_bytes(path, parts), &to, error);

    if (status != ATTN_OK)
        return status;
    if (attn_path_exists(path))
        status = copy_file(path, parts, to, temporary, error);
    for (size_t i = 0; i < parts->count && status == ATTN_OK; i++)
        status = copy_file(parts->list[i], NULL, to, temporary, error);
    if (status == ATTN_OK)
        status = attn_result_file_put_environment(to, temporary, launch_id, environment, error);
    if (status == ATTN_OK)
        return attn_h5_flush_close(to, temporary, error);
    attn_h5_close(to);
    return status;
}

attn_status attn_result_join(const char *path, const char *parts_folder, const char *launch_id,
                             const attn_attributes *environment, attn_error *error)
{
    char *const temporary = attn_text("%s.tmp", path);
    attn_names parts = ATTN_NAMES_EMPTY;
    attn_status status;

    if (temporary == NULL)
        return attn_error_set(error, ATTN_MEMORY, "%s: no memory to join its parts", path);
    status = attn_result_parts(parts_folder, &parts, error);
    /* A complete file to which nothing was added stays as it is. */
    if (status == ATTN_OK && (parts.count > 0 || !attn_path_exists(path))) {
        status = fill(path, &parts, temporary, launch_id, environment, error);
        if (status == ATTN_OK)
            status = attn_file_publish(temporary, path, error);
        if (status != ATTN_OK)
            unlink(temporary);
    }
    for (size_t i = 0; i < parts.count && status == ATTN_OK; i++)
        unlink(parts.list[i]);
    attn_names_release(&parts);
    free(temporary);
    return status;
}
