#include "io/files.h"

#include "core/checked.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

attn_status attn_names_append(attn_names *names, const char *name, attn_error *error)
{
    char *copy;

    if (names->count == names->capacity) {
        const size_t capacity = names->capacity > 0 ? 2 * names->capacity : 16;
        char **const list = attn_realloc_array(names->list, (int64_t)capacity, sizeof *list);

        if (list == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for a list of %zu names", capacity);
        names->list = list;
        names->capacity = capacity;
    }
    copy = strdup(name);
    if (copy == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the name %s", name);
    names->list[names->count++] = copy;
    return ATTN_OK;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void attn_names_sort(attn_names *names)
{
    if (names->count > 0)
        qsort(names->list, names->count, sizeof *names->list, compare);
}

bool attn_names_contain(const attn_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i], name) == 0)
            return true;
    return false;
}

void attn_names_release(attn_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
    *names = (attn_names)ATTN_NAMES_EMPTY;
}

char *attn_text(const char *format, ...)
{
    va_list arguments;
    char *text;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || (text = malloc((size_t)length + 1)) == NULL)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

bool attn_text_ends(const char *text, const char *ending)
{
    const size_t length = strlen(text), tail = strlen(ending);

    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

const char *attn_path_base(const char *path)
{
    const char *const slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

bool attn_path_exists(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0;
}

bool attn_path_is_folder(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* The folder that a path lies in, to be freed; "." when it names none. */
static char *folder_of(const char *path)
{
    const char *const base = attn_path_base(path);

    if (base == path)
        return attn_text(".");
    return base - path == 1 ? attn_text("/") : attn_text("%.*s", (int)(base - path - 1), path);
}

attn_status attn_folder_list(const char *folder, const char *ending, attn_names *out, attn_error *error)
{
    DIR *const stream = opendir(folder);
    attn_status status = ATTN_OK;
    const struct dirent *entry;

    if (stream == NULL)
        return attn_error_set(error, ATTN_FILE, "%s: %s; a readable folder is needed", folder, strerror(errno));
    while (status == ATTN_OK && (entry = readdir(stream)) != NULL)
        if (attn_text_ends(entry->d_name, ending))
            status = attn_names_append(out, entry->d_name, error);
    closedir(stream);
    return status;
}

attn_status attn_file_check_target(const char *path, attn_error *error)
{
    char *const folder = folder_of(path);
    attn_status status = ATTN_OK;
    struct stat info;

    if (folder == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the path %s", path);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: not a regular file; the name of a file is needed", path);
    else if (stat(folder, &info) != 0)
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: folder %s: %s", path, folder, strerror(errno));
    else if (!S_ISDIR(info.st_mode))
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: %s is not a folder", path, folder);
    else if (access(folder, W_OK | X_OK) != 0)
        status =
            attn_error_set(error, ATTN_ARGUMENT, "%s: folder %s cannot be written: %s", path, folder, strerror(errno));
    free(folder);
    return status;
}

attn_status attn_file_write(const char *path, const void *bytes, size_t count, attn_error *error)
{
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    const char *const from = bytes;
    attn_status status = ATTN_OK;

    if (descriptor < 0)
        return attn_error_set(error, ATTN_FILE, "%s: cannot be created: %s", path, strerror(errno));
    for (size_t done = 0; done < count && status == ATTN_OK;) {
        const ssize_t written = write(descriptor, from + done, count - done);

        if (written > 0)
            done += (size_t)written;
        else if (written == 0 || errno != EINTR)
            status = attn_error_set(error, ATTN_FILE, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (close(descriptor) != 0 && status == ATTN_OK)
        status = attn_error_set(error, ATTN_FILE, "%s: cannot be closed: %s", path, strerror(errno));
    if (status != ATTN_OK)
        unlink(path);
    return status;
}

attn_status attn_file_reserve(const char *path, int64_t length, attn_error *error)
{
    const int descriptor = open(path, O_RDWR | O_CLOEXEC);
    int failed = descriptor < 0 ? errno : EINTR;

    while (failed == EINTR && descriptor >= 0)
        failed = posix_fallocate(descriptor, 0, (off_t)length);
    if (descriptor >= 0)
        close(descriptor);
    return failed == 0 ? ATTN_OK
                       : attn_error_set(error, ATTN_FILE, "%s: cannot get the %lld bytes that it needs: %s", path,
                                        (long long)length, strerror(failed));
}

/* Some file systems cannot sync a folder and say so with EINVAL. */
static bool sync_descriptor(int descriptor)
{
    return fsync(descriptor) == 0 || errno == EINVAL;
}

static attn_status sync_file(const char *path, attn_error *error)
{
    const int descriptor = open(path, O_RDWR | O_CLOEXEC);
    attn_status status = ATTN_OK;

    if (descriptor < 0)
        return attn_error_set(error, ATTN_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    if (!sync_descriptor(descriptor))
        status = attn_error_set(error, ATTN_FILE, "%s: cannot be made durable: %s", path, strerror(errno));
    if (close(descriptor) != 0 && status == ATTN_OK)
        status = attn_error_set(error, ATTN_FILE, "%s: cannot be closed: %s", path, strerror(errno));
    return status;
}

attn_status attn_file_publish(const char *from, const char *to, attn_error *error)
{
    char *const folder = folder_of(to);
    int descriptor;
    attn_status status;

    if (folder == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the path %s", to);
    /* Opened first, so that a folder that cannot be opened fails before the file has its name. */
    descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        status = attn_error_set(error, ATTN_FILE, "%s: folder %s: %s", to, folder, strerror(errno));
    else
        status = sync_file(from, error);
    if (status == ATTN_OK && rename(from, to) != 0)
        status = attn_error_set(error, ATTN_FILE, "%s: cannot be renamed from %s: %s", to, from, strerror(errno));
    if (status == ATTN_OK && !sync_descriptor(descriptor))
        status = attn_error_set(error, ATTN_FILE, "%s: is written, but its name may not be durable: %s", to,
                                strerror(errno));
    if (descriptor >= 0)
        close(descriptor);
    free(folder);
    return status;
}
