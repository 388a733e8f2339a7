#include "message.h"

#include <stdarg.h>
#include <stdio.h>

static void print_line(const char *kind, const char *text)
{
    char line[ATTN_MESSAGE_MAX];
    size_t length = 0;

    for (; text[length] != '\0' && length + 1 < sizeof line; length++)
        line[length] = text[length] == '\n' || text[length] == '\r' ? ' ' : text[length];
    line[length] = '\0';
    fprintf(stderr, "attnbench: %s%s\n", kind, line);
}

void message_error(const bench *launch, const char *text)
{
    if (launch->rank == 0)
        print_line("", text);
}

void message_warning(const bench *launch, const char *format, ...)
{
    char text[ATTN_MESSAGE_MAX];
    va_list arguments;

    if (launch->rank != 0)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_line("warning: ", text);
}
