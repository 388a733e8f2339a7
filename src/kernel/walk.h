/* Walks over the keys of a part: its segments, and its rows before they are needed. */
#ifndef KERNEL_WALK_H
#define KERNEL_WALK_H

#include <attn/segments.h>

#include <stddef.h>

/* Global numbers of the local rows begin .. begin + count - 1 of a part. */
static inline void find_positions(const attn_segments *part, int64_t begin, int64_t count, int64_t *positions)
{
    const attn_segment *s = &part->list[attn_segments_find(part, begin)];

    for (int64_t j = 0; j < count; j++) {
        if (begin + j == s->offset + s->length)
            s++;
        positions[j] = s->begin + (begin + j - s->offset);
    }
}

/* attn_segments_below for rising global numbers: *next segments began below the last one asked for. Neighbouring rows
 * of a striped layout end a segment apart, which a step finds faster than a search. */
static inline int64_t find_below(const attn_segments *part, int64_t global, int64_t *next)
{
    enum { STEPS = 4 };
    const attn_segment *s;

    for (int step = 0; step < STEPS && *next < part->count && part->list[*next].begin < global; step++)
        ++*next;
    if (*next < part->count && part->list[*next].begin < global) {
        const int64_t row = attn_segments_below(part, global); /* > 0: a segment begins below */

        *next = attn_segments_find(part, row - 1) + 1;
        return row;
    }
    if (*next == 0)
        return 0;
    s = &part->list[*next - 1];
    return s->offset + (global - s->begin < s->length ? global - s->begin : s->length);
}

/* Rows of keys, then of values, that are to be brought towards the second-level cache before they are used: a few lines
 * beside each group of products, since a burst of them would keep other loads waiting. */
typedef struct row_stream {
    const char *row[2]; /* the next row of each array */
    size_t step[2];     /* bytes from row to row */
    size_t bytes[2];    /* of a row */
    int64_t rows[2];    /* left */
    size_t at;          /* in the row at hand */
    int64_t lines;      /* to prefetch at a time */
} row_stream;

enum { CACHE_LINE = 64 };

static inline void prefetch_lines(row_stream *stream)
{
    int n = stream->rows[0] > 0 ? 0 : 1;

    for (int64_t line = 0; line < stream->lines && stream->rows[n] > 0; line++) {
        __builtin_prefetch(stream->row[n] + stream->at, 0, 2);
        stream->at += CACHE_LINE;
        if (stream->at >= stream->bytes[n]) {
            stream->at = 0;
            stream->row[n] += stream->step[n];
            if (--stream->rows[n] == 0)
                n = 1;
        }
    }
}

#endif
