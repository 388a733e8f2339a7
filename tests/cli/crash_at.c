/* Preloaded into attnbench: the process kills itself before the CRASH_AT-th step on a file whose path holds CRASH_PATH.
 * A step is a call that changes what is in a file or in a folder. Without CRASH_AT the steps are counted in
 * CRASH_COUNT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(long steps)
{
    const char *path = getenv("CRASH_COUNT");
    FILE *stream = path != NULL ? fopen(path, "w") : NULL;

    if (stream != NULL) {
        fprintf(stream, "%ld\n", steps);
        fclose(stream);
    }
}

static void step(const char *path)
{
    static long steps;
    const char *wanted = getenv("CRASH_PATH"), *at = getenv("CRASH_AT");

    if (wanted == NULL || strstr(path, wanted) == NULL)
        return;
    steps++;
    if (at == NULL)
        note(steps);
    else if (steps == atol(at))
        kill(getpid(), SIGKILL);
}

static void step_on(int descriptor)
{
    char link[64], path[4096];
    ssize_t length;

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = '\0';
        step(path);
    }
}

#define NEXT(name) *(void **)&next = dlsym(RTLD_NEXT, name)

#define WRAP_PATH(name, parameters, arguments)                                                                         \
    int name parameters                                                                                                \
    {                                                                                                                  \
        int(*next) parameters;                                                                                         \
                                                                                                                       \
        NEXT(#name);                                                                                                   \
        step(path);                                                                                                    \
        return next arguments;                                                                                         \
    }

WRAP_PATH(rename, (const char *path, const char *to), (path, to))
WRAP_PATH(unlink, (const char *path), (path))
WRAP_PATH(rmdir, (const char *path), (path))
WRAP_PATH(mkdir, (const char *path, mode_t mode), (path, mode))

#define WRAP_FILE(type, name, parameters, arguments)                                                                   \
    type name parameters                                                                                               \
    {                                                                                                                  \
        type(*next) parameters;                                                                                        \
                                                                                                                       \
        NEXT(#name);                                                                                                   \
        step_on(file);                                                                                                 \
        return next arguments;                                                                                         \
    }

WRAP_FILE(int, fsync, (int file), (file))
WRAP_FILE(int, ftruncate, (int file, off_t length), (file, length))
WRAP_FILE(int, posix_fallocate, (int file, off_t offset, off_t length), (file, offset, length))
WRAP_FILE(ssize_t, write, (int file, const void *bytes, size_t count), (file, bytes, count))
WRAP_FILE(ssize_t, pwrite, (int file, const void *bytes, size_t count, off_t offset), (file, bytes, count, offset))
