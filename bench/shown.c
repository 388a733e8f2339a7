#include "shown.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_MAX = 60, PATH_MAX_SHOWN = 200 };

/* Whether a character of UTF-8 goes on here. */
static bool goes_on(char byte)
{
    return ((unsigned char)byte & 0xc0U) == 0x80U;
}

shown shown_value(const char *value)
{
    shown out;
    int kept = VALUE_MAX;

    if (strlen(value) <= VALUE_MAX) {
        snprintf(out.text, sizeof out.text, "%s", *value != '\0' ? value : "\"\"");
        return out;
    }
    while (kept > 0 && goes_on(value[kept]))
        kept--;
    snprintf(out.text, sizeof out.text, "%.*s...", kept, value);
    return out;
}

shown shown_path(const char *path)
{
    const size_t length = strlen(path);
    shown out;

    if (length <= PATH_MAX_SHOWN) {
        snprintf(out.text, sizeof out.text, "%s", *path != '\0' ? path : "\"\"");
        return out;
    }
    path += length - PATH_MAX_SHOWN;
    while (goes_on(*path))
        path++;
    snprintf(out.text, sizeof out.text, "...%s", path);
    return out;
}

const char *shown_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}
