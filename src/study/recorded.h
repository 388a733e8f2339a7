/* The cases that have a timeline, and their names. */
#ifndef ATTN_STUDY_RECORDED_H
#define ATTN_STUDY_RECORDED_H

#include <attn/result.h>

typedef struct attn_recorded {
    const attn_result **cases; /* [count], count >= 1; of several launches of a case the first */
    char **names;              /* [count], what tells a case from the others, "" where it is alone */
    size_t count;
    char *title; /* what they have in common */
} attn_recorded;

/* Finds them.
 *   out  refers to results; released with attn_recorded_release, on failure too
 * ATTN_UNSUPPORTED when there is none, ATTN_MEMORY. */
attn_status attn_recorded_find(const attn_results *results, attn_recorded *out, attn_error *error);
void attn_recorded_release(attn_recorded *recorded);

#endif
