/* Which keys a query row sees.
 *
 * Every mask here is an interval: row i of batch b sees the keys [lo(b,i), hi(b,i)). Causal, sliding window, key
 * padding and packed documents are intersections of intervals, and both ends never decrease with i. From that one
 * function follow tile skipping, exact pair and FLOP counts, and which keys a rank needs at all.
 *
 * With i' = i + Skv - Sq (the diagonal is aligned to the bottom right corner):
 *   causal     j <= i'
 *   window     i' - window_left <= j <= i' + window_right
 *   padding    j < kv_len[b]
 *   documents  i and j in the same document (needs Sq = Skv)
 */
#ifndef ATTN_MASK_H
#define ATTN_MASK_H

#include <attn/shape.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_mask {
    bool causal;
    int64_t window_left;       /* keys before the diagonal that are visible; -1: no limit */
    int64_t window_right;      /* keys after the diagonal that are visible; -1: no limit */
    const int64_t *kv_len;     /* [B] number of valid keys of each batch, or NULL; borrowed */
    const int64_t *cu_seqlens; /* [documents + 1] starts of the documents, 0 first, S last, or NULL; borrowed */
    int64_t documents;         /* number of documents; 0 when cu_seqlens is NULL */
} attn_mask;

/* Most documents of a problem: 32 MiB of starts on every rank. */
#define ATTN_DOCUMENTS_MAX (4 * 1024 * 1024)

/* No restriction: every row sees every key. */
#define ATTN_MASK_FULL                                                                                                 \
    {                                                                                                                  \
        .causal = false, .window_left = -1, .window_right = -1, .kv_len = NULL, .cu_seqlens = NULL, .documents = 0     \
    }

/* Keys [lo, hi); empty when lo == hi. */
typedef struct attn_interval {
    int64_t lo, hi;
} attn_interval;

/* Checks the settings against the shape: windows >= -1, 0 <= kv_len[b] <= Skv, cu_seqlens from 0 to S without a
 * decrease, 1 to ATTN_DOCUMENTS_MAX documents, and only with Sq = Skv.
 *   shape  in, itself valid
 * ATTN_ARGUMENT with name, position and value. */
ATTN_API attn_status attn_mask_check(const attn_mask *mask, const attn_shape *shape, attn_error *error);

/* Tells the keys visible to query row i of batch b, 0 <= lo <= hi <= Skv. Both ends never decrease with i.
 *   mask  in, valid for the shape
 *   b, i  in, 0 <= b < B, 0 <= i < Sq, global numbers
 * O(log documents). */
ATTN_API attn_interval attn_mask_row(const attn_mask *mask, const attn_shape *shape, int64_t b, int64_t i);

/* Counts the visible (query, key) pairs of one head, summed over the batch.
 *   mask  in, valid for the shape
 * O(B Sq log documents). */
ATTN_API int64_t attn_mask_pairs(const attn_mask *mask, const attn_shape *shape);

#ifdef __cplusplus
}
#endif
#endif
