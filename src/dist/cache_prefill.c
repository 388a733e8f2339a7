/* A prefill: many new tokens over those of a cache, by an exchange whose parts are the tokens that each rank keeps.
 *
 * Either keys and values travel (exchange_ring.c), in a copy that has no more than the tokens so far, or queries and
 * partial results do (exchange_ring_q.c), over the arrays of the cache as they are: the causal mask leaves out the rows
 * that are not filled yet. Volumes are those of the exchanges: of T new tokens after C, each of p - 1 steps hands over
 * B hkv (C + T)/p (D + Dv) e bytes, or B hq T/p (D e + a (Dv + 1)) bytes, without what a mask hides. */
#include "dist/cache.h"

#include "dist/exchange.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <stdlib.h>
#include <string.h>

/* The exchange of one prefill. */
typedef struct prefill {
    const attn_cache *cache;
    int64_t tokens;
    bool keys; /* keys and values travel */
    attn_plan plan;
    attn_part part;
    attn_needs *needs;
    attn_exchange_state *exchange;
    void *k, *v; /* copies that travel; NULL: the arrays of the cache */
} prefill;

static attn_status rows_of(const void *context, int part, attn_segments **q_rows, attn_segments **kv_rows,
                           attn_error *error)
{
    const prefill *of = context;
    const attn_cache *cache = of->cache;
    const int64_t end = cache->tokens + of->tokens;
    const attn_status status = attn_cache_deal(cache, part, cache->tokens, end, q_rows, error);

    return status == ATTN_OK
               ? attn_cache_deal(cache, part, 0, of->keys ? end : cache->plan.problem.shape.kv_seq, kv_rows, error)
               : status;
}

/* What each rank has, and the exchange. */
static attn_status lay_out(prefill *of, attn_error *error)
{
    const attn_cache *cache = of->cache;
    const attn_status status =
        attn_needs_of_rows(&cache->plan.problem, cache->plan.grid.seq, rows_of, of, &of->needs, error);

    if (status != ATTN_OK)
        return status;
    of->plan = cache->plan;
    of->plan.exchange = attn_exchange_find(of->keys ? "ring" : "ring-q");
    of->plan.transfer = of->plan.exchange->transfer;
    of->part = *cache->part;
    of->part.q_rows = of->needs->q_rows[of->part.seq_index];
    of->part.kv_rows = of->needs->kv_rows[of->part.seq_index];
    return ATTN_OK;
}

/* Bytes that the ranks of the sequence group hand over all together. */
static attn_status count_bytes(const attn_cache *cache, int64_t tokens, bool keys, double *bytes, attn_error *error)
{
    prefill of = {.cache = cache, .tokens = tokens, .keys = keys};
    attn_prediction prediction = {0};
    attn_status status = lay_out(&of, error);

    for (int rank = 0; rank < cache->plan.grid.seq && status == ATTN_OK; rank++) {
        of.part.seq_index = rank;
        of.part.q_rows = of.needs->q_rows[rank];
        of.part.kv_rows = of.needs->kv_rows[rank];
        status = attn_exchange_of(&of.plan)->predict(&of.plan, of.needs, &of.part, &prediction, error);
    }
    attn_needs_destroy(of.needs);
    *bytes = prediction.exchange_bytes;
    return status;
}

attn_status attn_cache_choose(const attn_cache *cache, int64_t tokens, attn_prefill *out, attn_error *error)
{
    double keys, queries;
    attn_status status = attn_cache_check_room(cache, tokens, error);

    if (status == ATTN_OK)
        status = count_bytes(cache, tokens, true, &keys, error);
    if (status == ATTN_OK)
        status = count_bytes(cache, tokens, false, &queries, error);
    if (status == ATTN_OK)
        *out = keys < queries ? ATTN_PREFILL_KV : ATTN_PREFILL_Q;
    return status;
}

/* Room for the keys and values that travel. With one rank none do. */
static attn_status make_copies(prefill *of, attn_error *error)
{
    const attn_shape *shape = &of->plan.problem.shape;
    const size_t rows = (size_t)(shape->batch * of->part.kv_head_count * of->part.kv_rows->rows);
    const size_t element = attn_dtype_size(of->plan.problem.dtype);

    if (!of->keys)
        return ATTN_OK;
    of->k = attn_aligned_alloc(rows * (size_t)shape->head_dim * element);
    of->v = attn_aligned_alloc(rows * (size_t)shape->v_head_dim * element);
    if (of->k == NULL || of->v == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a copy of the keys and values of %lld tokens",
                              (long long)of->part.kv_rows->rows);
    return ATTN_OK;
}

/* What a rank may fail at alone; the caller agrees on the outcome. */
static attn_status make_local(prefill *of, attn_prefill way, attn_error *error)
{
    const attn_cache *cache = of->cache;
    attn_status status = ATTN_OK;

    if (way == ATTN_PREFILL_AUTO)
        status = attn_cache_choose(cache, of->tokens, &way, error);
    of->keys = way == ATTN_PREFILL_KV && cache->plan.grid.seq > 1;
    if (status == ATTN_OK)
        status = lay_out(of, error);
    return status == ATTN_OK ? make_copies(of, error) : status;
}

/* Collective over the sequence group: all ranks have come here. */
static attn_status create_exchange(prefill *of, attn_error *error)
{
    const attn_group group = {.comm = of->cache->seq_comm,
                              .plan = &of->plan,
                              .part = &of->part,
                              .needs = of->needs,
                              .message_bytes = of->cache->message_bytes,
                              .dkv_dtype = of->plan.problem.dtype};

    return attn_exchange_of(&of->plan)->ops->create(&group, &of->exchange, error);
}

static void drop(prefill *of)
{
    if (of->exchange != NULL)
        attn_exchange_of(&of->plan)->ops->destroy(of->exchange);
    attn_needs_destroy(of->needs);
    free(of->k);
    free(of->v);
}

/* Copies the tokens so far out of arrays that have room for the capacity. */
static void copy_rows(const prefill *of, const void *from, void *to, int64_t width)
{
    const attn_problem *problem = &of->plan.problem;
    const size_t row = (size_t)width * attn_dtype_size(problem->dtype);
    const size_t from_line = (size_t)of->cache->part->kv_rows->rows * row,
                 to_line = (size_t)of->part.kv_rows->rows * row;
    const int64_t lines = problem->shape.batch * of->part.kv_head_count;

#pragma omp parallel for schedule(static) num_threads(of->plan.threads)
    for (int64_t line = 0; line < lines; line++)
        memcpy((char *)to + (size_t)line * to_line, (const char *)from + (size_t)line * from_line, to_line);
}

static attn_status run(attn_cache *cache, prefill *of, const attn_cache_buffers *buffers,
                       double seconds[ATTN_PHASE_COUNT], attn_error *error)
{
    const attn_shape *shape = &of->plan.problem.shape;
    const int64_t heads = of->part.head_count, rows = of->part.q_rows->rows;
    const attn_exchange_call call = {.q = attn_array_of_const(buffers->q, heads, rows, shape->head_dim),
                                     .k = of->keys ? of->k : cache->k,
                                     .v = of->keys ? of->v : cache->v,
                                     .o = attn_array_dense(buffers->o, heads, rows, shape->v_head_dim),
                                     .lse = attn_array_dense(buffers->lse, heads, rows, 1)};
    attn_laps laps = attn_laps_start(seconds);
    attn_status status;

    attn_cache_keep(cache, of->tokens, false, buffers->k, buffers->v);
    if (of->keys) {
        copy_rows(of, cache->k, of->k, shape->head_dim);
        copy_rows(of, cache->v, of->v, shape->v_head_dim);
    }
    attn_lap(&laps, ATTN_PHASE_PACK);
    status = attn_exchange_of(&of->plan)->ops->forward(of->exchange, &call, &laps, error);
    cache->tokens += of->tokens;
    seconds[ATTN_PHASE_TOTAL] = laps.last - laps.begin;
    return status;
}

attn_status attn_cache_prefill(attn_cache *cache, int64_t tokens, attn_prefill way, const attn_cache_buffers *buffers,
                               double seconds[ATTN_PHASE_COUNT], attn_error *error)
{
    prefill of = {.cache = cache, .tokens = tokens};
    attn_status status = attn_cache_check_room(cache, tokens, error);

    if (status != ATTN_OK)
        return status;
    status = attn_comm_agree(cache->comm, make_local(&of, way, error), error);
    if (status == ATTN_OK)
        status = attn_comm_agree(cache->comm, create_exchange(&of, error), error);
    if (status == ATTN_OK)
        status = run(cache, &of, buffers, seconds, error);
    if (status != ATTN_MPI) /* transfers may be under way then, which write to what would be freed */
        drop(&of);
    return status;
}
