/* What series have in common and what tells them apart, in words. */
#ifndef ATTN_STUDY_NAMES_H
#define ATTN_STUDY_NAMES_H

#include "study/describe.h"
#include "study/series.h"

/* Describes the problems of all points of some series: all but ranks, threads and how the ranks share the work.
 *   chosen  in, [count] pointers to series, count >= 1, each with at least one point */
attn_status attn_series_describe(const attn_series *const *chosen, size_t count, attn_description **out,
                                 attn_error *error);

/* Describes how the ranks of one series share the work: exchange, layout and combine of its points of several ranks. */
attn_status attn_series_describe_sharing(const attn_series *series, attn_description **out, attn_error *error);

/* Writes what tells a series from the others that `problem` describes: exchange and layout, what varies of the problem,
 * and grid or threads where these were swept. */
attn_status attn_series_write_name(const attn_description *problem, const attn_series *series, FILE *stream,
                                   attn_error *error);

#endif
