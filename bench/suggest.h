/* The name that was probably meant. */
#ifndef BENCH_SUGGEST_H
#define BENCH_SUGGEST_H

#include <stddef.h>

/* Edits (insert, delete, replace, swap neighbours) that lead from one text to the other: the optimal string alignment
 * distance (Damerau 1964). Texts longer than 63 characters count as far away. */
size_t suggest_distance(const char *a, const char *b);

/* Keeps the nearest name so far, among those that are a slip or an abbreviation away. Start with { typed, NULL, 0 } and
 * offer every accepted name. */
typedef struct suggestion {
    const char *typed;
    const char *nearest; /* NULL: none is near enough */
    size_t distance;
} suggestion;

void suggest_offer(suggestion *best, const char *name);

#endif
