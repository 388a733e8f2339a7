#include <attn/mask.h>

#include "core/checked.h"

#include <assert.h>
#include <inttypes.h>

static attn_status check_documents(const attn_mask *mask, const attn_shape *shape, attn_error *error)
{
    const int64_t *const starts = mask->cu_seqlens, n = mask->documents;

    if (starts == NULL) {
        if (n != 0)
            return attn_error_set(error, ATTN_ARGUMENT, "documents %" PRId64 ": must be 0 without cu_seqlens", n);
        return ATTN_OK;
    }
    if (n < 1 || n > ATTN_DOCUMENTS_MAX)
        return attn_error_set(error, ATTN_ARGUMENT, "documents %" PRId64 ": must be 1 to %d", n, ATTN_DOCUMENTS_MAX);
    if (shape->seq != shape->kv_seq)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "documents need seq = kv-seq, but seq is %" PRId64 " and kv-seq is %" PRId64, shape->seq,
                              shape->kv_seq);
    if (starts[0] != 0)
        return attn_error_set(error, ATTN_ARGUMENT, "cu_seqlens[0] = %" PRId64 ": must be 0", starts[0]);
    for (int64_t d = 1; d <= n; d++)
        if (starts[d] < starts[d - 1])
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "cu_seqlens[%" PRId64 "] = %" PRId64 ": must not be below the %" PRId64 " before it",
                                  d, starts[d], starts[d - 1]);
    if (starts[n] != shape->seq)
        return attn_error_set(error, ATTN_ARGUMENT, "cu_seqlens[%" PRId64 "] = %" PRId64 ": must be %" PRId64 " (seq)",
                              n, starts[n], shape->seq);
    return ATTN_OK;
}

attn_status attn_mask_check(const attn_mask *mask, const attn_shape *shape, attn_error *error)
{
    if (mask->window_left < -1)
        return attn_error_set(error, ATTN_ARGUMENT, "window-left %" PRId64 ": must be -1 (no limit) or more",
                              mask->window_left);
    if (mask->window_right < -1)
        return attn_error_set(error, ATTN_ARGUMENT, "window-right %" PRId64 ": must be -1 (no limit) or more",
                              mask->window_right);
    for (int64_t b = 0; mask->kv_len != NULL && b < shape->batch; b++)
        if (mask->kv_len[b] < 0 || mask->kv_len[b] > shape->kv_seq)
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "kv_len[%" PRId64 "] = %" PRId64 ": must be 0 to %" PRId64 " (kv-seq)", b,
                                  mask->kv_len[b], shape->kv_seq);
    return check_documents(mask, shape, error);
}

/* The last document that starts at or before row i; it is not empty, as the next one starts after i. */
static int64_t document_of(const attn_mask *mask, int64_t i)
{
    int64_t first = 0, last = mask->documents - 1;

    while (first < last) {
        const int64_t middle = last - (last - first) / 2;

        if (mask->cu_seqlens[middle] <= i)
            first = middle;
        else
            last = middle - 1;
    }
    return first;
}

/* Each end is the maximum or minimum of functions that do not decrease with i, and so does not decrease either. The
 * last step keeps that: where the ends cross, min(lo, hi) still does not decrease. */
attn_interval attn_mask_row(const attn_mask *mask, const attn_shape *shape, int64_t b, int64_t i)
{
    const int64_t diagonal = i + shape->kv_seq - shape->seq;
    int64_t lo = 0, hi = shape->kv_seq;

    assert(b >= 0 && b < shape->batch && i >= 0 && i < shape->seq);
    if (mask->causal && diagonal + 1 < hi)
        hi = diagonal + 1;
    /* Compared as differences of positions: a window may be near INT64_MAX, and its sum with a position may overflow.
     */
    if (mask->window_right >= 0 && mask->window_right < hi - 1 - diagonal)
        hi = diagonal + 1 + mask->window_right;
    if (mask->window_left >= 0 && mask->window_left < diagonal)
        lo = diagonal - mask->window_left;
    if (mask->kv_len != NULL && mask->kv_len[b] < hi)
        hi = mask->kv_len[b];
    if (mask->cu_seqlens != NULL) {
        const int64_t *const document = &mask->cu_seqlens[document_of(mask, i)];

        lo = document[0] > lo ? document[0] : lo;
        hi = document[1] < hi ? document[1] : hi;
    }
    if (hi < 0)
        hi = 0;
    return (attn_interval){lo < hi ? lo : hi, hi};
}

int64_t attn_mask_pairs(const attn_mask *mask, const attn_shape *shape)
{
    /* Only key padding differs between batches. */
    const int64_t batches = mask->kv_len != NULL ? shape->batch : 1;
    int64_t pairs = 0;

    for (int64_t b = 0; b < batches; b++) {
        for (int64_t i = 0; i < shape->seq; i++) {
            const attn_interval row = attn_mask_row(mask, shape, b, i);

            if (!attn_int64_add(pairs, row.hi - row.lo, &pairs))
                return INT64_MAX;
        }
    }
    return attn_int64_multiply(pairs, shape->batch / batches, &pairs) ? pairs : INT64_MAX;
}
