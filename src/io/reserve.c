#ifdef __linux__
#define _GNU_SOURCE /* for fallocate: posix_fallocate writes every block where the file system cannot reserve */
#endif

#include "io/files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool attn_file_reserve(int descriptor, int64_t length)
{
#ifdef __linux__
    int code;

    do {
        code = fallocate(descriptor, 0, 0, (off_t)length);
    } while (code != 0 && errno == EINTR);
    if (code == 0)
        return true;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return false;
#endif
    return ftruncate(descriptor, (off_t)length) == 0;
}
