/* Cases in words: every factor has a phrase ("S 4096", "causal"), so tables can say once what is the same in all cases
 * and put in their rows what varies. Factors that this file does not know are said as "name value". */
#ifndef ATTN_STUDY_DESCRIBE_H
#define ATTN_STUDY_DESCRIBE_H

#include <attn/result.h>

#include <stdio.h>

typedef struct attn_description attn_description;

/* Compares the phrases of cases.
 *   cases  in, [count], count >= 1, must outlive the description
 *   omit   in, factors that the caller shows elsewhere, separated by '|' ("ranks|threads"); behind a leading '=' the
 * only ones to be said. grid_seq stands for the grid, window_left for the window. */
attn_status attn_description_create(const attn_result *const *cases, size_t count, const char *omit,
                                    attn_description **out, attn_error *error);
void attn_description_destroy(attn_description *description);

/* Writes what is the same in all cases, separated by ", ". */
void attn_description_common(const attn_description *description, FILE *stream);

/* Writes what varies, for one of the cases, separated by two spaces; nothing when nothing varies. */
void attn_description_case(const attn_description *description, const attn_result *result, FILE *stream);

/* Whether anything that is not omitted varies. */
bool attn_description_varies(const attn_description *description);

/* Writes all of a case as one path, "attn/forward/float32/B1/.../ranks:4/threads:1". */
void attn_describe_path(const attn_result *result, FILE *stream);

/* Writes all of a case, separated by ", ". */
void attn_describe_case(const attn_result *result, FILE *stream);

#endif
