#include <attn/segments.h>

#include "core/checked.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

static attn_status check_pieces(int64_t count, const int64_t *begins, const int64_t *lengths, attn_error *error)
{
    int64_t end = 0;

    for (int64_t i = 0; i < count; i++) {
        int64_t next;

        if (lengths[i] == 0)
            continue;
        if (!attn_int64_add(begins[i], lengths[i], &next))
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "segment %" PRId64 " of %" PRId64 " rows from row %" PRId64
                                  ": must be rows of the sequence",
                                  i, lengths[i], begins[i]);
        if (begins[i] < end)
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "segment %" PRId64 " begins at row %" PRId64 ": must be %" PRId64
                                  " (the end of the one before) or more",
                                  i, begins[i], end);
        end = next;
    }
    return ATTN_OK;
}

attn_status attn_segments_create(int64_t count, const int64_t *begins, const int64_t *lengths, attn_segments **out,
                                 attn_error *error)
{
    attn_segments *made;
    attn_status status;

    *out = NULL;
    status = check_pieces(count, begins, lengths, error);
    if (status != ATTN_OK)
        return status;
    made = calloc(1, sizeof *made);
    if (made == NULL || (made->list = attn_calloc_array(count, sizeof *made->list)) == NULL) {
        attn_segments_destroy(made);
        return attn_error_set(error, ATTN_MEMORY, "no memory for %" PRId64 " segments", count);
    }
    for (int64_t i = 0; i < count; i++) {
        attn_segment *const last = made->count > 0 ? &made->list[made->count - 1] : NULL;

        if (lengths[i] == 0)
            continue;
        if (last != NULL && last->begin + last->length == begins[i])
            last->length += lengths[i];
        else
            made->list[made->count++] = (attn_segment){.begin = begins[i], .length = lengths[i], .offset = made->rows};
        made->rows += lengths[i];
    }
    *out = made;
    return ATTN_OK;
}

void attn_segments_destroy(attn_segments *segments)
{
    if (segments == NULL)
        return;
    free(segments->list);
    free(segments);
}

int64_t attn_segments_find(const attn_segments *segments, int64_t local)
{
    int64_t first = 0, last = segments->count - 1;

    assert(local >= 0 && local < segments->rows);
    while (first < last) {
        const int64_t middle = last - (last - first) / 2;

        if (segments->list[middle].offset <= local)
            first = middle;
        else
            last = middle - 1;
    }
    return first;
}

int64_t attn_segments_global(const attn_segments *segments, int64_t local)
{
    const attn_segment *s = &segments->list[attn_segments_find(segments, local)];

    return s->begin + (local - s->offset);
}

int64_t attn_segments_below(const attn_segments *segments, int64_t global)
{
    int64_t first = 0, end = segments->count;
    const attn_segment *s;

    /* The segments [0, first) begin below `global`. */
    while (first < end) {
        const int64_t middle = first + (end - first) / 2;

        if (segments->list[middle].begin < global)
            first = middle + 1;
        else
            end = middle;
    }
    if (first == 0)
        return 0;
    s = &segments->list[first - 1];
    return s->offset + (global - s->begin < s->length ? global - s->begin : s->length);
}
