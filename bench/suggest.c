#include "suggest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LONGEST 63

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t suggest_distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST + 1]; /* the last three rows of the table of distances between prefixes */
    const size_t n = strlen(a), m = strlen(b);

    if (n > LONGEST || m > LONGEST)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);

            row[j] = least(replace, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

/* Whether letters were left out alone, and not the first: "md" for "markdown". */
static bool is_abbreviation(const char *typed, const char *name)
{
    if (typed[0] == '\0' || typed[1] == '\0' || typed[0] != name[0])
        return false;
    for (; *name != '\0'; name++)
        typed += *typed == *name;
    return *typed == '\0';
}

void suggest_offer(suggestion *best, const char *name)
{
    const size_t distance = suggest_distance(best->typed, name);
    const size_t limit = 1 + strlen(best->typed) / 4; /* more than that is another word, not a slip */

    if ((distance <= limit || is_abbreviation(best->typed, name)) &&
        (best->nearest == NULL || distance < best->distance)) {
        best->nearest = name;
        best->distance = distance;
    }
}
