/* A cache of keys and values: its memory, appending, and decode steps.
 *
 * Volume of a decode step: that of the reduction (tree.h); appending sends nothing. Memory: the keys and values of the
 * share of the capacity, the passes of each length of a step, and two partial results of the longest step. */
#include "dist/cache.h"

#include "core/checked.h"
#include "dist/pieces.h"
#include "plan/part.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const attn_part *attn_cache_part(const attn_cache *cache)
{
    return cache->part;
}

int64_t attn_cache_tokens(const attn_cache *cache)
{
    return cache->tokens;
}

static int64_t capacity_of(const attn_cache *cache)
{
    return cache->plan.problem.shape.kv_seq;
}

/* Bytes of one token of one key-value head. */
static size_t key_bytes(const attn_cache *cache)
{
    return (size_t)cache->plan.problem.shape.head_dim * attn_dtype_size(cache->plan.problem.dtype);
}

static size_t value_bytes(const attn_cache *cache)
{
    return (size_t)cache->plan.problem.shape.v_head_dim * attn_dtype_size(cache->plan.problem.dtype);
}

/* Key-value heads of all sequences of the batch. */
static int64_t lines_of(const attn_cache *cache)
{
    return cache->plan.problem.shape.batch * cache->part->kv_head_count;
}

attn_status attn_cache_deal(const attn_cache *cache, int part, int64_t first, int64_t end, attn_segments **out,
                            attn_error *error)
{
    const int64_t block = cache->block, parts = cache->plan.grid.seq;
    const int64_t begin = first / block, blocks = end > first ? (end - 1) / block + 1 - begin : 0;
    /* Of the blocks from `begin` on, the first that is this part's. */
    const int64_t lead = (part - begin % parts + parts) % parts,
                  count = lead < blocks ? (blocks - lead - 1) / parts + 1 : 0;
    int64_t *begins = attn_calloc_array(count, sizeof *begins), *lengths = attn_calloc_array(count, sizeof *lengths);
    attn_status status;

    *out = NULL;
    for (int64_t n = 0; n < count && begins != NULL && lengths != NULL; n++) {
        const int64_t from = (begin + lead + n * parts) * block;
        const int64_t to = end - from < block ? end : from + block;

        begins[n] = from > first ? from : first;
        lengths[n] = to - begins[n];
    }
    if (begins == NULL || lengths == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld segments of tokens", (long long)count);
    else
        status = attn_segments_create(count, begins, lengths, out, error);
    free(begins);
    free(lengths);
    return status;
}

/* ---- Create ---- */

static attn_status check_setup(const attn_cache_setup *setup, attn_error *error)
{
    const attn_mask *mask = &setup->problem.mask;

    if (setup->capacity <= 0)
        return attn_error_set(error, ATTN_ARGUMENT, "capacity %lld: must be a positive number of tokens",
                              (long long)setup->capacity);
    if (setup->block < 0)
        return attn_error_set(error, ATTN_ARGUMENT, "block %lld: must be a positive number of tokens, or 0 for %d",
                              (long long)setup->block, ATTN_CACHE_BLOCK);
    if (setup->step < 0 || setup->step > ATTN_CACHE_STEP_MAX)
        return attn_error_set(error, ATTN_ARGUMENT, "step %lld: must be 1 to %d tokens, or 0 for 1",
                              (long long)setup->step, ATTN_CACHE_STEP_MAX);
    if (!mask->causal)
        return attn_error_set(error, ATTN_ARGUMENT, "causal 0: must be 1 in a cache, whose tokens see none to come");
    if (mask->kv_len != NULL || mask->cu_seqlens != NULL)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "%s: must be absent in a cache, whose sequences are as long as each "
                              "other and whole",
                              mask->kv_len != NULL ? "kv_len" : "cu_seqlens");
    if (setup->problem.dropout > 0)
        return attn_error_set(error, ATTN_ARGUMENT, "dropout %g: must be 0 in a cache", setup->problem.dropout);
    return ATTN_OK;
}

static attn_status make_plan(attn_cache *cache, const attn_cache_setup *setup, int ranks, attn_error *error)
{
    attn_plan_options options = {.grid = setup->grid, .kernel = setup->kernel, .threads = setup->threads};
    attn_problem problem = setup->problem;
    attn_status status = check_setup(setup, error);

    if (status != ATTN_OK)
        return status;
    if (options.grid.seq == 0 && options.grid.head == 0)
        options.grid = (attn_grid){.seq = ranks, .head = 1};
    problem.shape.seq = problem.shape.kv_seq = setup->capacity;
    status = attn_plan_make(&problem, ranks, &options, &cache->plan, error);
    cache->block = setup->block > 0 ? setup->block : ATTN_CACHE_BLOCK;
    /* A block longer than the sequence is as long as any. */
    cache->block = cache->block < setup->capacity ? cache->block : setup->capacity;
    cache->step = setup->step > 0 ? setup->step : 1;
    return status;
}

static attn_status make_part(attn_cache *cache, int rank, attn_error *error)
{
    attn_part *part = cache->part = calloc(1, sizeof *part);
    attn_status status;

    if (part == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the part of rank %d", rank);
    part->rank = rank;
    part->seq_index = rank / cache->plan.grid.head;
    attn_part_assign_heads(part, &cache->plan.problem, cache->plan.grid, rank % cache->plan.grid.head);
    status = attn_cache_deal(cache, part->seq_index, 0, capacity_of(cache), &part->q_rows, error);
    return status == ATTN_OK ? attn_cache_deal(cache, part->seq_index, 0, capacity_of(cache), &part->kv_rows, error)
                             : status;
}

/* Keys and values, touched by the threads. */
static attn_status make_arrays(attn_cache *cache, attn_error *error)
{
    const int64_t lines = lines_of(cache), rows = cache->part->kv_rows->rows;
    const size_t k = key_bytes(cache) * (size_t)rows, v = value_bytes(cache) * (size_t)rows;

    cache->k = attn_aligned_alloc((size_t)lines * k);
    cache->v = attn_aligned_alloc((size_t)lines * v);
    if (cache->k == NULL || cache->v == NULL)
        return attn_error_set(error, ATTN_MEMORY,
                              "no memory for keys and values of %lld tokens and %lld heads, %.0f bytes",
                              (long long)rows, (long long)lines, (double)lines * (double)(k + v));
#pragma omp parallel for schedule(static) num_threads(cache->plan.threads)
    for (int64_t n = 0; n < lines; n++) {
        memset((char *)cache->k + (size_t)n * k, 0, k);
        memset((char *)cache->v + (size_t)n * v, 0, v);
    }
    return ATTN_OK;
}

static attn_partial_rows rows_of_step(const attn_cache *cache, int64_t tokens)
{
    return (attn_partial_rows){&cache->plan, cache->part->head_begin, cache->part->head_count, tokens};
}

/* The pass of steps of so many tokens. */
static attn_status make_step(attn_cache *cache, int64_t tokens, attn_error *error)
{
    const bool alone = cache->plan.grid.seq == 1;
    const attn_problem *problem = &cache->plan.problem;
    const attn_segments rows = {.list = &(attn_segment){.length = tokens}, .count = 1, .rows = tokens};
    const attn_forward_setup setup = {.problem = problem,
                                      .head_begin = cache->part->head_begin,
                                      .head_count = cache->part->head_count,
                                      .kv_head_begin = cache->part->kv_head_begin,
                                      .q_rows = &rows,
                                      .part_count = 1,
                                      .part_rows = (const attn_segments *const *)&cache->part->kv_rows,
                                      .o_dtype = alone ? problem->dtype : attn_dtype_accumulator(problem->dtype),
                                      .add_sinks = alone,
                                      .threads = cache->plan.threads,
                                      .scratch = cache->scratch,
                                      .moves = true};

    return attn_forward_create(cache->plan.kernel, &setup, &cache->forward[tokens - 1], error);
}

static attn_status make_steps(attn_cache *cache, attn_error *error)
{
    const int64_t longest = cache->step < capacity_of(cache) ? cache->step : capacity_of(cache);
    const attn_partial_rows of = rows_of_step(cache, longest);
    attn_status status = attn_scratch_create(&cache->scratch, error);

    for (int64_t tokens = 1; tokens <= longest && status == ATTN_OK; tokens++)
        status = make_step(cache, tokens, error);
    if (status == ATTN_OK && cache->plan.grid.seq > 1)
        status =
            attn_tree_create(cache->seq_comm, cache->message_bytes,
                             (int64_t)(attn_partial_o_bytes(&of) + attn_partial_lse_bytes(&of)), &cache->tree, error);
    return status;
}

static attn_status split(attn_cache *cache, MPI_Comm comm, attn_error *error)
{
    attn_status status = attn_comm_check(MPI_Comm_dup(comm, &cache->comm), "MPI_Comm_dup", error);

    if (status != ATTN_OK)
        return status;
    MPI_Comm_set_errhandler(cache->comm, MPI_ERRORS_RETURN); /* inherited by the group */
    return attn_comm_check(
        MPI_Comm_split(cache->comm, cache->part->head_index, cache->part->seq_index, &cache->seq_comm),
        "MPI_Comm_split", error);
}

/* Everything that a rank may fail at alone once it can communicate. */
static attn_status create_local(attn_cache *cache, attn_error *error)
{
    const attn_status status = make_arrays(cache, error);

    return status == ATTN_OK ? make_steps(cache, error) : status;
}

attn_status attn_cache_create_limited(MPI_Comm comm, const attn_cache_setup *setup, int64_t message_bytes,
                                      attn_cache **out, attn_error *error)
{
    attn_cache *cache = calloc(1, sizeof *cache);
    attn_status status;

    *out = NULL;
    if (cache == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the cache");
    } else {
        cache->comm = cache->seq_comm = MPI_COMM_NULL;
        cache->message_bytes = message_bytes;
        status = make_plan(cache, setup, attn_comm_size(comm), error);
        if (status == ATTN_OK)
            status = make_part(cache, attn_comm_rank(comm), error);
    }
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = split(cache, comm, error);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, create_local(cache, error), error);
    if (status == ATTN_MPI && cache != NULL) /* freeing a communicator waits for others, who may be elsewhere */
        cache->comm = cache->seq_comm = MPI_COMM_NULL;
    if (status != ATTN_OK) {
        attn_cache_destroy(cache);
        return status;
    }
    *out = cache;
    return ATTN_OK;
}

attn_status attn_cache_create(MPI_Comm comm, const attn_cache_setup *setup, attn_cache **out, attn_error *error)
{
    return attn_cache_create_limited(comm, setup, ATTN_MESSAGE_BYTES, out, error);
}

void attn_cache_destroy(attn_cache *cache)
{
    if (cache == NULL)
        return;
    attn_tree_destroy(cache->tree);
    for (int n = 0; n < ATTN_CACHE_STEP_MAX; n++)
        attn_forward_destroy(cache->forward[n]);
    attn_scratch_destroy(cache->scratch);
    attn_comm_free(&cache->seq_comm);
    attn_comm_free(&cache->comm);
    attn_part_destroy(cache->part);
    free(cache->k);
    free(cache->v);
    free(cache);
}

size_t attn_cache_bytes(const attn_cache *cache)
{
    const size_t rows = (size_t)(lines_of(cache) * cache->part->kv_rows->rows);
    size_t bytes = rows * (key_bytes(cache) + value_bytes(cache)) + attn_scratch_bytes(cache->scratch) +
                   attn_tree_bytes(cache->tree);

    for (int n = 0; n < ATTN_CACHE_STEP_MAX; n++)
        bytes += cache->forward[n] != NULL ? attn_forward_bytes(cache->forward[n]) : 0;
    return bytes;
}

/* ---- Tokens ---- */

attn_status attn_cache_check_room(const attn_cache *cache, int64_t tokens, attn_error *error)
{
    assert(tokens >= 0);
    if (tokens <= capacity_of(cache) - cache->tokens)
        return ATTN_OK;
    return attn_error_set(error, ATTN_ARGUMENT,
                          "capacity %lld: too small for %lld new tokens after %lld; at most %lld fit",
                          (long long)capacity_of(cache), (long long)tokens, (long long)cache->tokens,
                          (long long)(capacity_of(cache) - cache->tokens));
}

attn_status attn_cache_rows(const attn_cache *cache, int64_t tokens, attn_segments **out, attn_error *error)
{
    const attn_status status = attn_cache_check_room(cache, tokens, error);

    *out = NULL;
    return status == ATTN_OK
               ? attn_cache_deal(cache, cache->part->seq_index, cache->tokens, cache->tokens + tokens, out, error)
               : status;
}

/* Keeps this rank's new tokens of one head: arrays of `rows` rows each. */
static void keep_line(attn_cache *cache, int64_t tokens, bool all, int64_t rows, int64_t line, const char *k,
                      const char *v)
{
    const int64_t end = cache->tokens + tokens, parts = cache->plan.grid.seq;
    const size_t k_bytes = key_bytes(cache), v_bytes = value_bytes(cache);
    char *const to_k = (char *)cache->k + (size_t)(line * cache->part->kv_rows->rows) * k_bytes;
    char *const to_v = (char *)cache->v + (size_t)(line * cache->part->kv_rows->rows) * v_bytes;
    int64_t kept = 0;

    for (int64_t token = cache->tokens; token < end;) {
        const int64_t block = token / cache->block, begin = token % cache->block;
        const int64_t run = cache->block - begin < end - token ? cache->block - begin : end - token;

        if (block % parts == cache->part->seq_index) {
            const size_t from = (size_t)(line * rows + (all ? token - cache->tokens : kept));
            const size_t to = (size_t)(block / parts * cache->block + begin);

            memcpy(to_k + to * k_bytes, k + from * k_bytes, (size_t)run * k_bytes);
            memcpy(to_v + to * v_bytes, v + from * v_bytes, (size_t)run * v_bytes);
            kept += run;
        }
        token += run;
    }
}

void attn_cache_keep(attn_cache *cache, int64_t tokens, bool all, const void *k, const void *v)
{
    enum { TOKENS_OF_A_THREAD = 32 };
    const attn_segments *own = cache->part->kv_rows;
    const int64_t lines = lines_of(cache);
    const int64_t rows =
        all ? tokens : attn_segments_below(own, cache->tokens + tokens) - attn_segments_below(own, cache->tokens);

#pragma omp parallel for schedule(static) num_threads(tokens < TOKENS_OF_A_THREAD ? 1 : cache->plan.threads)
    for (int64_t line = 0; line < lines; line++)
        keep_line(cache, tokens, all, rows, line, k, v);
}

attn_status attn_cache_append(attn_cache *cache, int64_t tokens, const void *k, const void *v, attn_error *error)
{
    const attn_status status = attn_cache_check_room(cache, tokens, error);

    if (status != ATTN_OK)
        return status;
    attn_cache_keep(cache, tokens, true, k, v);
    cache->tokens += tokens;
    return ATTN_OK;
}

void attn_cache_truncate(attn_cache *cache, int64_t tokens)
{
    assert(tokens >= 0 && tokens <= cache->tokens);
    cache->tokens = tokens;
}

/* ---- Decode ---- */

static attn_status check_step(const attn_cache *cache, int64_t tokens, attn_error *error)
{
    if (tokens < 1 || tokens > cache->step)
        return attn_error_set(error, ATTN_ARGUMENT, "a step of %lld tokens: must be 1 to %lld, the step of the cache",
                              (long long)tokens, (long long)cache->step);
    return attn_cache_check_room(cache, tokens, error);
}

attn_status attn_cache_decode(attn_cache *cache, int64_t tokens, const attn_cache_buffers *buffers,
                              double seconds[ATTN_PHASE_COUNT], attn_error *error)
{
    const attn_part *part = cache->part;
    const attn_shape *shape = &cache->plan.problem.shape;
    const attn_partial_rows of = rows_of_step(cache, tokens);
    const attn_array k = attn_array_dense(cache->k, part->kv_head_count, part->kv_rows->rows, shape->head_dim);
    const attn_array v = attn_array_dense(cache->v, part->kv_head_count, part->kv_rows->rows, shape->v_head_dim);
    const attn_array o = attn_array_dense(buffers->o, part->head_count, tokens, shape->v_head_dim);
    const attn_array lse = attn_array_dense(buffers->lse, part->head_count, tokens, 1);
    attn_forward_buffers call = {.q = attn_array_of_const(buffers->q, part->head_count, tokens, shape->head_dim),
                                 .k = &k,
                                 .v = &v,
                                 .o = o,
                                 .lse = lse};
    attn_status status = check_step(cache, tokens, error);
    attn_laps laps;

    if (status != ATTN_OK)
        return status;
    laps = attn_laps_start(seconds);
    attn_cache_keep(cache, tokens, true, buffers->k, buffers->v);
    attn_lap(&laps, ATTN_PHASE_PACK);
    if (cache->tree != NULL)
        attn_partial_packed(&of, attn_tree_partial(cache->tree), &call.o, &call.lse);
    attn_forward_move(cache->forward[tokens - 1], cache->tokens);
    attn_forward_execute(cache->forward[tokens - 1], &call);
    attn_lap(&laps, ATTN_PHASE_COMPUTE);
    if (cache->tree != NULL) {
        status = attn_tree_reduce(cache->tree, &of, &laps, error);
        attn_partial_packed(&of, attn_tree_partial(cache->tree), &call.o, &call.lse);
        attn_partial_finish(&of, &call.o, &call.lse, &o, &lse);
        attn_lap(&laps, ATTN_PHASE_MERGE);
    }
    cache->tokens += tokens;
    seconds[ATTN_PHASE_TOTAL] = laps.last - laps.begin;
    return status;
}
