/* Points: the launches of each case taken together. */
#ifndef ATTN_STUDY_POINTS_H
#define ATTN_STUDY_POINTS_H

#include "study/series.h"

/* A point with what decides which series it is in. */
typedef struct attn_keyed_point {
    attn_point point;
    char *key;    /* "name=value" of all factors that a series has in common, and the processor */
    size_t group; /* points of equal key and equal base have the same group */
    bool by_threads;
} attn_keyed_point;

/* Makes the points of all cases, in file order.
 *   points  out, [count], released with attn_points_release; NULL on failure */
attn_status attn_points_make(const attn_results *results, attn_keyed_point **points, size_t *count, attn_error *error);
void attn_points_release(attn_keyed_point *points, size_t count);

/* The processor of the launch that measured a case: times of different processors are not one series. */
const char *attn_point_processor(const attn_results *results, const attn_result *result);

#endif
