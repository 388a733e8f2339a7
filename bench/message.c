#include "message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_line(const char *kind, const char *text)
{
    char line[ATTN_MESSAGE_MAX];
    size_t length = 0;

    for (; text[length] != '\0' && length + 1 < sizeof line; length++)
        line[length] = text[length] == '\n' || text[length] == '\r' ? ' ' : text[length];
    line[length] = '\0';
    fprintf(stderr, "attnbench: %s%s\n", kind, line);
}

void message_error(const char *text)
{
    print_line("", text);
}

static void print_formatted(const bench *launch, const char *kind, const char *format, va_list arguments)
{
    char text[ATTN_MESSAGE_MAX];

    if (launch->rank != 0)
        return;
    vsnprintf(text, sizeof text, format, arguments);
    print_line(kind, text);
}

void message_note(const bench *launch, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_formatted(launch, "", format, arguments);
    va_end(arguments);
}

void message_warning(const bench *launch, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_formatted(launch, "warning: ", format, arguments);
    va_end(arguments);
}

/* Under mpirun a rank's stderr is a pipe to the launcher; whether anybody watches is told by the launcher's own. */
bool message_on_terminal(void)
{
    char link[64], target[64];
    ssize_t length;

    if (isatty(STDERR_FILENO))
        return true;
    if (getenv("OMPI_COMM_WORLD_RANK") == NULL) /* not started by mpirun: the parent's stderr is not ours */
        return false;
    snprintf(link, sizeof link, "/proc/%ld/fd/2", (long)getppid());
    length = readlink(link, target, sizeof target - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}
