/* The rows of a sequence that a rank owns: pieces [begin, begin + length) of the global sequence, in rising order.
 *
 * A rank stores its rows one after the other, so local row numbers rise with global ones. Because every mask is an
 * interval of global keys, it is an interval of local keys too, [attn_segments_below(lo), attn_segments_below(hi)),
 * whatever the layout; a kernel needs nothing else.
 */
#ifndef ATTN_SEGMENTS_H
#define ATTN_SEGMENTS_H

#include <attn/status.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_segment {
    int64_t begin;  /* global row of the first row */
    int64_t length; /* rows, > 0 */
    int64_t offset; /* local row of the first row: sum of the lengths before */
} attn_segment;

/* A list of segments; owned through attn_segments_create and attn_segments_destroy. */
typedef struct attn_segments {
    attn_segment *list; /* [count], rising and disjoint */
    int64_t count;
    int64_t rows; /* sum of the lengths */
} attn_segments;

/* Makes a list of pieces; empty ones are dropped and adjacent ones joined. Destroy takes NULL.
 *   begins, lengths  in, [count] each, global rows; copied
 *   out              out, destroyed by the caller; NULL on failure
 * ATTN_ARGUMENT when the pieces do not rise or overlap, ATTN_MEMORY. */
ATTN_API attn_status attn_segments_create(int64_t count, const int64_t *begins, const int64_t *lengths,
                                          attn_segments **out, attn_error *error);
ATTN_API void attn_segments_destroy(attn_segments *segments);

/* Tells the global row of a local row, 0 <= local < rows. O(log count). */
ATTN_API int64_t attn_segments_global(const attn_segments *segments, int64_t local);

/* Finds the index in the list of the segment that holds a local row, 0 <= local < rows. O(log count). */
ATTN_API int64_t attn_segments_find(const attn_segments *segments, int64_t local);

/* Counts the owned rows whose global row is below the given one: where it would stand locally. O(log count). */
ATTN_API int64_t attn_segments_below(const attn_segments *segments, int64_t global);

#ifdef __cplusplus
}
#endif
#endif
