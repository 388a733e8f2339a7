/* A cache of keys and values that is spread over the ranks of a sequence group, for generating token by token.
 *
 * Tokens are numbered from 0 in the order in which they come; token i sees the tokens up to itself, as the causal mask
 * and a window say. They are dealt to the ranks of a sequence group block by block: token i is kept by rank
 * (i / block) mod Ps. So each rank has as many as the others, to within a block, however long the sequence becomes, and
 * the rows of a prefill see as many keys on each of them, to within a block. Heads are dealt as everywhere
 * (partition.h); outputs stay with their heads, as with the combine `none`.
 *
 *   prefill  many new tokens: each rank has q, k and v of those that it is to keep, and gets o of these. Either keys
 *            and values travel (exchange `ring`) or queries and partial results do (`ring-q`), whatever has fewer
 *            bytes: pass-KV and pass-Q of Yang et al. 2024, "Context Parallelism for Scalable Million-Token Inference"
 *   decode   a few new tokens: all ranks of the sequence group have q, k and v of all of them, and all get o. Each rank
 *            computes all rows over the keys that it keeps, and partial results are reduced to all ranks in about
 *            log2 Ps rounds (Thakur et al. 2005, recursive doubling)
 *
 * A decode step and an append do not allocate: memory is that of `capacity` tokens, from the beginning. */
#ifndef ATTN_CACHE_H
#define ATTN_CACHE_H

#include <attn/kernel.h>
#include <attn/partition.h>
#include <attn/phase.h>

#include <mpi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tokens of a block where the caller leaves it open: as small as a page of a paged cache (Kwon et al. 2023, section
 * 7.2). */
#define ATTN_CACHE_BLOCK 16

/* Most tokens of a decode step. */
#define ATTN_CACHE_STEP_MAX 8

/* What a cache is for. Plain values; the arrays of the score are borrowed by the cache. */
typedef struct attn_cache_setup {
    attn_problem problem; /* batch, heads, kv_heads, head_dim, v_head_dim, dtype, score; its mask is causal, with or
                                 without window_left, and its lengths seq and kv_seq are not read */
    int64_t capacity;     /* most tokens of a sequence, > 0 */
    int64_t block;        /* tokens that follow each other on a rank; 0: ATTN_CACHE_BLOCK */
    int64_t step;         /* most tokens of a decode step, up to ATTN_CACHE_STEP_MAX; 0: 1 */
    attn_grid grid;       /* {0, 0}: Ps x 1 with all ranks */
    const attn_kernel *kernel; /* NULL: that of attn_kernel_choose */
    int threads;               /* OpenMP threads of each rank; 0: 1 */
} attn_cache_setup;

typedef struct attn_cache attn_cache;

/* Collective. Makes an empty cache with all the memory that it will need, touched by this rank's threads.
 *   comm   in, a duplicate of it is used, so it may be freed before destroy
 *   setup  in, the same on every rank; copied
 *   out    out, NULL on failure, on all ranks alike
 * ATTN_ARGUMENT with the name and value at fault, ATTN_UNSUPPORTED for a grid that the ranks do not make or a kernel
 * that cannot run here, ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_cache_create(MPI_Comm comm, const attn_cache_setup *setup, attn_cache **out,
                                       attn_error *error);

/* Collective. Destroys; takes NULL. Not to be called after ATTN_MPI. */
ATTN_API void attn_cache_destroy(attn_cache *cache);

/* Not collective. This rank's heads, and as kv_rows the tokens that it keeps of a full cache (q_rows are the same);
 * borrowed until destroy. */
ATTN_API const attn_part *attn_cache_part(const attn_cache *cache);

/* Not collective. Counts the tokens of the sequence so far, on all ranks together. */
ATTN_API int64_t attn_cache_tokens(const attn_cache *cache);

/* Not collective. Tells the bytes that this rank holds: keys, values, passes and buffers of decode steps. */
ATTN_API size_t attn_cache_bytes(const attn_cache *cache);

/* Not collective. Lists which of the next tokens this rank is to keep: the rows of its arrays in a prefill.
 *   tokens  in, >= 0, the tokens that will be new
 *   out     out, global numbers, destroyed by the caller with attn_segments_destroy; NULL on failure
 * ATTN_ARGUMENT when capacity is too small for so many, ATTN_MEMORY. */
ATTN_API attn_status attn_cache_rows(const attn_cache *cache, int64_t tokens, attn_segments **out, attn_error *error);

/* Not collective, but every rank calls it alike. Appends new tokens without asking anything of them; does not
 * allocate.
 *   tokens  in, >= 0, the same on every rank
 *   k, v    in, [B,kv_head_count,tokens,D] and [B,kv_head_count,tokens,Dv] of all new tokens, dense; those that this
 *           rank does not keep are not read
 * ATTN_ARGUMENT when capacity is too small for so many; the cache is unchanged then. */
ATTN_API attn_status attn_cache_append(attn_cache *cache, int64_t tokens, const void *k, const void *v,
                                       attn_error *error);

/* Not collective, but every rank calls it alike. Forgets all but the first tokens, such as those of a guess that was
 * wrong.
 *   tokens  in, 0 <= tokens <= attn_cache_tokens, the same on every rank */
ATTN_API void attn_cache_truncate(attn_cache *cache, int64_t tokens);

/* This rank's arrays, dense, in the problem's dtype (lse: its accumulator type). `rows` are all new tokens in a decode
 * step, and in a prefill those that this rank keeps. Owned by the caller. */
typedef struct attn_cache_buffers {
    const void *q; /* [B,head_count,rows,D] */
    const void *k; /* [B,kv_head_count,rows,D] */
    const void *v; /* [B,kv_head_count,rows,Dv] */
    void *o;       /* out, [B,head_count,rows,Dv] */
    void *lse;     /* out, [B,head_count,rows] */
} attn_cache_buffers;

/* Collective. One decode step: appends new tokens and computes o and lse of all of them, on every rank of a sequence
 * group with the same bits. Does not allocate.
 *   tokens   in, 1 to `step` of the setup, the same on every rank
 *   buffers  in, whose q, k and v are the same on all ranks of a sequence group; o and lse are written
 *   seconds  out, [ATTN_PHASE_COUNT], s, this rank's phases
 * ATTN_ARGUMENT when the cache is full or tokens are more than a step has, on all ranks alike and with the cache
 * unchanged; ATTN_MPI. */
ATTN_API attn_status attn_cache_decode(attn_cache *cache, int64_t tokens, const attn_cache_buffers *buffers,
                                       double seconds[ATTN_PHASE_COUNT], attn_error *error);

/* What travels in a prefill. */
typedef enum attn_prefill {
    ATTN_PREFILL_AUTO, /* what has fewer bytes */
    ATTN_PREFILL_KV,   /* keys and values */
    ATTN_PREFILL_Q     /* queries and partial results */
} attn_prefill;

/* Not collective. Tells what `auto` means for so many new tokens: the way in which the ranks of this sequence group
 * hand over fewer bytes all together, from the exact predictions of both exchanges. With a full mask these are, for T
 * new tokens after C, at each step of either ring, T hq (D e + a (Dv + 1)) against (C + T) hkv (D + Dv) e, for elements
 * of e and sums of a bytes; at the same number queries travel.
 *   tokens  in, >= 0
 *   out     out, ATTN_PREFILL_KV or ATTN_PREFILL_Q; unchanged on failure
 * ATTN_ARGUMENT when capacity is too small for so many, ATTN_MEMORY. */
ATTN_API attn_status attn_cache_choose(const attn_cache *cache, int64_t tokens, attn_prefill *out, attn_error *error);

/* Collective. Appends many new tokens and computes o and lse of them. It is planned anew each time, before its time is
 * taken, and its memory is freed at the end: with keys and values that travel a copy of those that this rank keeps and
 * the buffers of exchange `ring`, otherwise the buffers of `ring-q`.
 *   tokens   in, >= 0, the same on every rank
 *   way      in, the same on every rank
 *   buffers  in, whose rows are those of attn_cache_rows; o and lse are written
 *   seconds  out, [ATTN_PHASE_COUNT], s, this rank's phases
 * ATTN_ARGUMENT when capacity is too small for so many, ATTN_UNSUPPORTED, ATTN_MEMORY, on all ranks alike and with the
 * cache unchanged; ATTN_MPI. */
ATTN_API attn_status attn_cache_prefill(attn_cache *cache, int64_t tokens, attn_prefill way,
                                        const attn_cache_buffers *buffers, double seconds[ATTN_PHASE_COUNT],
                                        attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
