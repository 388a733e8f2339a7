#include <attn/status.h>

#include <stdarg.h>
#include <stdio.h>

const char *attn_status_words(attn_status status)
{
    static const char *const words[] = {
#define STATUS_WORDS(name, text) [ATTN_##name] = text,
        ATTN_STATUS_LIST(STATUS_WORDS)
#undef STATUS_WORDS
    };

    return (unsigned)status < ATTN_STATUS_COUNT ? words[status] : "unknown status";
}

/* In parentheses, as the analyzer has a macro of this name. */
attn_status(attn_error_set)(attn_error *error, attn_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;

        error->status = status;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}
