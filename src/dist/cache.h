/* Inside of a cache of keys and values (attn/cache.h): who keeps which token, and the arrays. */
#ifndef DIST_CACHE_H
#define DIST_CACHE_H

#include "dist/laps.h"
#include "dist/tree.h"

#include <attn/cache.h>
#include <attn/plan.h>

/* Its problem has as many query rows as keys, all tokens that a full cache has: row i is token i, and the causal mask
 * leaves out what is not there yet. So nothing but the place of the query rows changes as the sequence grows. */
struct attn_cache {
    attn_plan plan;
    attn_part *part; /* its rows are the tokens of a full cache that this rank keeps */
    int64_t block, step, tokens, message_bytes;
    MPI_Comm comm, seq_comm; /* all ranks; the sequence group */
    void *k, *v;             /* [B,kv_head_count,kv_rows,D or Dv], of which the first ones are filled */
    attn_scratch *scratch;   /* of all passes */
    attn_forward *forward[ATTN_CACHE_STEP_MAX]; /* [step] decode steps of 1, 2, ... tokens */
    attn_tree *tree;                            /* NULL: one rank has all keys of its heads */
};

/* As attn_cache_create, with at most message_bytes handed over in one call (dist/pieces.h). */
attn_status attn_cache_create_limited(MPI_Comm comm, const attn_cache_setup *setup, int64_t message_bytes,
                                      attn_cache **out, attn_error *error);

/* Lists the tokens from first to end, without end, that a part of the sequence group keeps.
 *   out  out, NULL on failure
 * ATTN_MEMORY. */
attn_status attn_cache_deal(const attn_cache *cache, int part, int64_t first, int64_t end, attn_segments **out,
                            attn_error *error);

/* ATTN_ARGUMENT where there is no room for so many more tokens. */
attn_status attn_cache_check_room(const attn_cache *cache, int64_t tokens, attn_error *error);

/* Keeps this rank's share of new tokens, which are counted when their step has ended.
 *   all  in, whether k and v have rows for all of them, or for this rank's share */
void attn_cache_keep(attn_cache *cache, int64_t tokens, bool all, const void *k, const void *v);

#endif
