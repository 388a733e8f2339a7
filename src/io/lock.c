#include "io/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct attn_lock {
    char *path; /* FILE.lock */
    int descriptor;
};

/* Whether the descriptor is still the file of that name: its last owner may have removed it before we locked it. */
static bool is_current(int descriptor, const char *path)
{
    struct stat ours, current;

    return fstat(descriptor, &ours) == 0 && stat(path, &current) == 0 && ours.st_dev == current.st_dev &&
           ours.st_ino == current.st_ino;
}

/* The lock belongs to the open descriptor, so that it ends with the process however that ends. */
static attn_status acquire(attn_lock *lock, const char *path, attn_error *error)
{
    for (;;) {
        const int descriptor = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

        if (descriptor < 0)
            return attn_error_set(error, ATTN_FILE, "%s: cannot be created: %s", lock->path, strerror(errno));
        if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
            const int reason = errno;

            close(descriptor);
            if (reason == EWOULDBLOCK)
                return attn_error_set(error, ATTN_ARGUMENT, "%s: another attnbench is writing it (lock %s)", path,
                                      lock->path);
            return attn_error_set(error, ATTN_FILE, "%s: cannot be locked: %s; a file system with locks is needed",
                                  lock->path, strerror(reason));
        }
        if (is_current(descriptor, lock->path)) {
            lock->descriptor = descriptor;
            return ATTN_OK;
        }
        close(descriptor);
    }
}

attn_status attn_lock_take(const char *path, attn_lock **out, attn_error *error)
{
    attn_lock *lock = calloc(1, sizeof *lock);
    attn_status status;

    *out = NULL;
    if (lock != NULL) {
        lock->descriptor = -1;
        lock->path = attn_text("%s.lock", path);
    }
    if (lock == NULL || lock->path == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to lock it", path);
    else
        status = acquire(lock, path, error);
    if (status == ATTN_OK)
        *out = lock;
    else
        attn_lock_release(lock);
    return status;
}

void attn_lock_release(attn_lock *lock)
{
    if (lock == NULL)
        return;
    if (lock->descriptor >= 0) {
        /* Removed while it is held: who opened it before finds that it is no longer current. */
        unlink(lock->path);
        close(lock->descriptor);
    }
    free(lock->path);
    free(lock);
}
