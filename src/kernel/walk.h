/* Walks over the keys of a part: its segments, and its rows before they are needed. */
#ifndef KERNEL_WALK_H
#define KERNEL_WALK_H

#include <attn/segments.h>

#include <stdbool.h>
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

/* Rows of an array that are to be brought into a cache before they are used, a few lines beside each register tile,
 * since a burst of them would keep the loads of the tiles waiting. Row n stands at
 * first + n / folded * step + n % folded * fold_step. */
typedef struct row_stream {
    const char *first;
    size_t step, fold_step; /* bytes */
    size_t bytes;           /* of a row */
    int64_t folded, rows;
    int64_t row;
    size_t at; /* the next line to come, in that row */
} row_stream;

typedef struct row_streams {
    row_stream of[2]; /* one after the other */
    int64_t lines;    /* to prefetch at a time */
    bool to_write;
} row_streams;

enum { CACHE_LINE = 64 };

static inline void prefetch_lines(row_streams *streams)
{
    row_stream *s = streams->of[0].row < streams->of[0].rows ? &streams->of[0] : &streams->of[1];
    const char *row = s->first + (size_t)(s->row / s->folded) * s->step + (size_t)(s->row % s->folded) * s->fold_step;

    for (int64_t line = 0; line < streams->lines && s->row < s->rows; line++) {
        if (streams->to_write)
            __builtin_prefetch(row + s->at, 1, 2);
        else
            __builtin_prefetch(row + s->at, 0, 2);
        s->at += CACHE_LINE;
        if (s->at >= s->bytes) {
            s->at = 0;
            s->row++;
            row = s->first + (size_t)(s->row / s->folded) * s->step + (size_t)(s->row % s->folded) * s->fold_step;
        }
    }
}

/* Portions so that all lines come in `times` of them. */
static inline void share_lines(row_streams *streams, int64_t times)
{
    int64_t lines = 0;

    for (int n = 0; n < 2; n++)
        lines += (streams->of[n].rows - streams->of[n].row) *
                 (int64_t)((streams->of[n].bytes + CACHE_LINE - 1) / CACHE_LINE);
    streams->lines = (lines + times - 1) / times;
}

#endif
