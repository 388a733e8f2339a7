/* Queries that come to the keys: rows of any rank of a sequence group over this rank's own keys, as partial results.
 *
 * What the exchanges have in common that move queries and partial results (partial.h): the kernel's passes, one for
 * each rank whose rows see keys of this one, and where the partial result of this rank's own rows is gathered. Nothing
 * here communicates. */
#ifndef DIST_OWN_KEYS_H
#define DIST_OWN_KEYS_H

#include "dist/exchange.h"
#include "dist/partial.h"

typedef struct attn_own_keys attn_own_keys;

/* For the forward pass. Not collective. Destroy takes NULL.
 *   group  in, copied; the sequence group
 *   out    out, NULL on failure
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_own_keys_create(const attn_group *group, attn_own_keys **out, attn_error *error);
void attn_own_keys_destroy(attn_own_keys *keys);

/* Begins a pass: this rank's rows over its own keys, as a partial result to which others are merged, or at once as the
 * result where its rows see no keys of others.
 *   call      in, whose arrays stay until attn_own_keys_end
 *   progress  in, made while it computes */
void attn_own_keys_begin(attn_own_keys *keys, const attn_exchange_call *call, const attn_progress *progress,
                         attn_laps *laps);

/* Computes the partial result of rank j's rows, j another rank whose rows see keys of this one.
 *   q       in, [B,head_count,rows of j,D], dense
 *   packed  out, attn_own_keys_packed_bytes of j */
void attn_own_keys_compute(attn_own_keys *keys, int j, const void *q, void *packed, const attn_progress *progress,
                           attn_laps *laps);

/* Merges one packed partial result of rank j's rows into another. */
void attn_own_keys_merge(attn_own_keys *keys, int j, void *packed, const void *other, attn_laps *laps);

/* Merges a packed partial result of this rank's rows, over keys of others, into what was begun. */
void attn_own_keys_gather(attn_own_keys *keys, const void *packed, attn_laps *laps);

/* Ends a pass: the result is in the arrays of the call. */
void attn_own_keys_end(attn_own_keys *keys, attn_laps *laps);

/* Bytes of the queries of rank j, and of their partial result, for the heads of a part. */
int64_t attn_own_keys_q_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j);
int64_t attn_own_keys_packed_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j);

/* Bytes that create allocates for partial results: o of the rank's rows where the problem's dtype is not its
 * accumulator and others have keys that they see. */
double attn_own_keys_extra_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part);

#endif
