/* A cache of keys and values that is filled in every way, token by token and in chunks, against the definition of
 * causal attention over all tokens so far; what travels; refusals. */
#include "fixture.h"
#include "harness.h"

#include "dist/cache.h"
#include "dist/pieces.h"

#include <attn/comm.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double sent_bytes, sent_messages;

/* Where > 0, so many more allocations succeed on this rank. */
static int allocations;

void *__real_attn_aligned_alloc(size_t bytes);
void *__wrap_attn_aligned_alloc(size_t bytes);

void *__wrap_attn_aligned_alloc(size_t bytes)
{
    return allocations > 0 && --allocations == 0 ? NULL : __real_attn_aligned_alloc(bytes);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    int size;

    MPI_Type_size(type, &size);
    sent_bytes += (double)count * size;
    sent_messages++;
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

/* What is done to a cache, one after the other. */
typedef enum action { APPEND, DECODE, PREFILL_AUTO, PREFILL_KV, PREFILL_Q, TRUNCATE } action;

typedef struct deed {
    action what;
    int64_t tokens; /* new ones; those that stay, for TRUNCATE */
} deed;

/* The arrays of some tokens of a fixture, for the heads of a rank. */
typedef struct tokens {
    attn_cache_buffers buffers;
    void *q, *k, *v;
    size_t o_bytes, lse_bytes;
} tokens;

static tokens take(const fixture *f, const attn_part *part, const attn_segments *rows)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype dtype = f->problem.dtype;
    const size_t lines = (size_t)fixture_elements(s, part->head_count, rows->rows, 1);
    tokens of = {.o_bytes = lines * (size_t)s->v_head_dim * attn_dtype_size(dtype),
                 .lse_bytes = lines * attn_dtype_size(attn_dtype_accumulator(dtype))};

    of.q = fixture_cut(s, dtype, f->q, s->heads, s->seq, s->head_dim, part->head_begin, part->head_count, rows);
    of.k = fixture_cut(s, dtype, f->k, s->kv_heads, s->kv_seq, s->head_dim, part->kv_head_begin, part->kv_head_count,
                       rows);
    of.v = fixture_cut(s, dtype, f->v, s->kv_heads, s->kv_seq, s->v_head_dim, part->kv_head_begin, part->kv_head_count,
                       rows);
    of.buffers = (attn_cache_buffers){
        .q = of.q, .k = of.k, .v = of.v, .o = malloc(of.o_bytes + 1), .lse = malloc(of.lse_bytes + 1)};
    memset(of.buffers.o, 0xff, of.o_bytes);
    memset(of.buffers.lse, 0xff, of.lse_bytes);
    return of;
}

static void drop(tokens *of)
{
    free(of->q);
    free(of->k);
    free(of->v);
    free(of->buffers.o);
    free(of->buffers.lse);
}

static void compare(const fixture *f, const attn_part *part, const attn_segments *rows, const tokens *of)
{
    const attn_shape *s = &f->problem.shape;
    const attn_dtype sum_dtype = attn_dtype_accumulator(f->problem.dtype);
    int64_t n = 0;

    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < part->head_count; h++)
            for (int64_t r = 0; r < rows->rows; r++, n++) {
                const int64_t at = (b * s->heads + part->head_begin + h) * s->seq + attn_segments_global(rows, r);

                for (int64_t d = 0; d < s->v_head_dim; d++)
                    TEST_CLOSE(attn_load(f->problem.dtype, of->buffers.o, (size_t)(n * s->v_head_dim + d)),
                               f->o[at * s->v_head_dim + d], fixture_tolerance(f));
                TEST_CLOSE(attn_load(sum_dtype, of->buffers.lse, (size_t)n), f->lse[at], fixture_tolerance(f));
            }
}

static void check_seconds(const double seconds[ATTN_PHASE_COUNT])
{
    double sum = 0;

    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
        CU_ASSERT(seconds[phase] >= 0);
        sum += phase == ATTN_PHASE_TOTAL ? 0 : seconds[phase];
    }
    TEST_CLOSE(sum, seconds[ATTN_PHASE_TOTAL], 1e-9); /* the phases leave nothing out */
}

/* Every rank of a sequence group has the same bits. */
static void check_alike(const attn_cache *cache, const tokens *of)
{
    char *o = malloc(of->o_bytes + 1);

    memcpy(o, of->buffers.o, of->o_bytes);
    CU_ASSERT_EQUAL(MPI_Bcast(o, (int)of->o_bytes, MPI_BYTE, 0, cache->seq_comm), MPI_SUCCESS);
    CU_ASSERT(memcmp(o, of->buffers.o, of->o_bytes) == 0);
    free(o);
}

/* Appends to what has been computed, for comparing two runs. */
typedef struct bits {
    char *data;
    size_t size;
} bits;

static void add_bits(bits *to, const void *data, size_t size)
{
    to->data = realloc(to->data, to->size + size + 1);
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void check_sent(const attn_cache *cache, int64_t count)
{
    const attn_problem *problem = &cache->plan.problem;
    const int messages = attn_tree_messages(cache->plan.grid.seq, cache->part->seq_index);
    const double bytes =
        (double)(problem->shape.batch * count * cache->part->head_count * (problem->shape.v_head_dim + 1)) *
        (double)attn_dtype_size(attn_dtype_accumulator(problem->dtype));

    if (cache->plan.grid.seq == 1) {
        CU_ASSERT(sent_bytes == 0 && sent_messages == 0);
        return;
    }
    CU_ASSERT_EQUAL(sent_bytes, messages * bytes);
    if (cache->message_bytes == ATTN_MESSAGE_BYTES && bytes > 0)
        CU_ASSERT_EQUAL(sent_messages, messages);
}

static void decode(const fixture *f, attn_cache *cache, int64_t count, bits *out)
{
    const attn_segments rows = {
        .list = &(attn_segment){.begin = attn_cache_tokens(cache), .length = count}, .count = 1, .rows = count};
    tokens of = take(f, cache->part, &rows);
    double seconds[ATTN_PHASE_COUNT];

    sent_bytes = sent_messages = 0;
    TEST_OK(attn_cache_decode(cache, count, &of.buffers, seconds, &attn_test_error));
    check_sent(cache, count);
    check_seconds(seconds);
    compare(f, cache->part, &rows, &of);
    check_alike(cache, &of);
    add_bits(out, of.buffers.o, of.o_bytes);
    add_bits(out, of.buffers.lse, of.lse_bytes);
    drop(&of);
}

static void prefill(const fixture *f, attn_cache *cache, int64_t count, attn_prefill way, bits *out)
{
    double seconds[ATTN_PHASE_COUNT];
    attn_segments *rows;
    tokens of;

    TEST_OK(attn_cache_rows(cache, count, &rows, &attn_test_error));
    of = take(f, cache->part, rows);
    TEST_OK(attn_cache_prefill(cache, count, way, &of.buffers, seconds, &attn_test_error));
    check_seconds(seconds);
    compare(f, cache->part, rows, &of);
    add_bits(out, of.buffers.o, of.o_bytes);
    add_bits(out, of.buffers.lse, of.lse_bytes);
    drop(&of);
    attn_segments_destroy(rows);
}

static void append(const fixture *f, attn_cache *cache, int64_t count)
{
    const attn_segments rows = {
        .list = &(attn_segment){.begin = attn_cache_tokens(cache), .length = count}, .count = 1, .rows = count};
    tokens of = take(f, cache->part, &rows);

    TEST_OK(attn_cache_append(cache, count, of.k, of.v, &attn_test_error));
    drop(&of);
}

static void act(const fixture *f, attn_cache *cache, const deed *what, bits *out)
{
    const int64_t before = attn_cache_tokens(cache);

    switch (what->what) {
    case APPEND:
        append(f, cache, what->tokens);
        break;
    case DECODE:
        decode(f, cache, what->tokens, out);
        break;
    case TRUNCATE:
        attn_cache_truncate(cache, what->tokens);
        CU_ASSERT_EQUAL(attn_cache_tokens(cache), what->tokens);
        return;
    default:
        prefill(f, cache, what->tokens,
                what->what == PREFILL_KV  ? ATTN_PREFILL_KV
                : what->what == PREFILL_Q ? ATTN_PREFILL_Q
                                          : ATTN_PREFILL_AUTO,
                out);
    }
    CU_ASSERT_EQUAL(attn_cache_tokens(cache), before + what->tokens);
}

/* Does a list of deeds, which ends with one of 0 tokens. */
static void act_all(const fixture *f, const attn_cache_setup *setup, int64_t message_bytes, const deed *deeds,
                    bits *out)
{
    attn_cache *cache;
    size_t bytes;

    TEST_OK(attn_cache_create_limited(MPI_COMM_WORLD, setup, message_bytes, &cache, &attn_test_error));
    bytes = attn_cache_bytes(cache);
    for (; deeds->tokens > 0; deeds++)
        act(f, cache, deeds, out);
    CU_ASSERT_EQUAL(attn_cache_bytes(cache), bytes);
    attn_cache_destroy(cache);
}

/* On every grid, with whole messages and with small pieces, twice: with the same bits. */
static void check(const fixture *f, attn_cache_setup setup, const deed *deeds)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    setup.problem = f->problem;
    setup.threads = 2;
    for (int head = 1; head <= ranks; head++) {
        bits once = {NULL, 0}, twice = {NULL, 0};

        if (ranks % head != 0)
            continue;
        setup.grid = (attn_grid){.seq = ranks / head, .head = head};
        act_all(f, &setup, ATTN_MESSAGE_BYTES, deeds, &once);
        act_all(f, &setup, 60, deeds, &twice);
        CU_ASSERT_EQUAL(once.size, twice.size);
        CU_ASSERT(once.size == twice.size && (once.size == 0 || memcmp(once.data, twice.data, once.size) == 0));
        free(once.data);
        free(twice.data);
    }
}

enum { LENGTH = 150 };

static const deed one_by_one[] = {{DECODE, 1}, {DECODE, 1}, {DECODE, 1}, {DECODE, 1}, {DECODE, 1}, {DECODE, 1},
                                  {DECODE, 1}, {DECODE, 1}, {DECODE, 1}, {DECODE, 1}, {DECODE, 1}, {APPEND, 0}};
static const deed mixed[] = {{PREFILL_KV, 37}, {DECODE, 1},        {DECODE, 3},    {PREFILL_Q, 41},
                             {DECODE, 8},      {PREFILL_AUTO, 5},  {APPEND, 1},    {APPEND, 20},
                             {DECODE, 2},      {PREFILL_KV, 1},    {PREFILL_Q, 2}, {TRUNCATE, 60},
                             {DECODE, 5},      {PREFILL_AUTO, 80}, {DECODE, 5},    {APPEND, 0}};
static const deed long_first[] = {{APPEND, 140},   {PREFILL_Q, 2}, {TRUNCATE, 140}, {PREFILL_KV, 2}, {DECODE, 4},
                                  {TRUNCATE, 140}, {DECODE, 8},    {DECODE, 2},     {APPEND, 0}};

static void check_lists(const attn_problem *problem, attn_cache_setup setup)
{
    fixture f = fixture_make(problem);

    setup.capacity = LENGTH;
    setup.step = ATTN_CACHE_STEP_MAX;
    check(&f, setup, one_by_one);
    check(&f, setup, mixed);
    check(&f, setup, long_first);
    fixture_drop(&f);
}

/* Heads that share keys and odd numbers of them, fewer heads than ranks, blocks of one token, of the usual number, of
 * one that divides nothing, and of the whole sequence. */
static void test_shapes(void)
{
    static const int64_t shapes[][5] = {{1, 4, 4, 8, 8}, {2, 6, 2, 9, 5}, {1, 5, 1, 16, 12}, {1, 1, 1, 4, 7}};
    static const int64_t blocks[] = {0, 1, 7, 1000};

    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        const int64_t *s = shapes[n];
        attn_problem problem = PROBLEM(s[0], s[1], s[2], LENGTH, LENGTH, s[3], s[4], ATTN_FLOAT32);

        problem.mask.causal = true;
        check_lists(&problem, (attn_cache_setup){.block = blocks[n]});
    }
}

static void test_types(void)
{
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        attn_problem problem = PROBLEM(1, 4, 2, LENGTH, LENGTH, 8, 8, (attn_dtype)dtype);

        problem.mask.causal = true;
        check_lists(&problem, (attn_cache_setup){.block = 3});
    }
}

/* Windows of which some ranks keep no token, scores that depend on positions, sinks, which count once. */
static void test_masks_and_scores(void)
{
    double slopes[6], sinks[] = {1, -2, 0.5, 30, 0, 0};
    attn_problem problem = PROBLEM(1, 6, 3, LENGTH, LENGTH, 8, 8, ATTN_FLOAT32);

    attn_alibi_slopes(6, slopes);
    problem.mask.causal = true;
    problem.mask.window_left = 0;
    check_lists(&problem, (attn_cache_setup){.block = 0});
    problem.mask.window_left = 33;
    problem.score.alibi_slopes = slopes;
    problem.score.softcap = 3;
    check_lists(&problem, (attn_cache_setup){.block = 0});
    problem.score.sinks = sinks;
    problem.mask.window_left = -1;
    check_lists(&problem, (attn_cache_setup){.block = 5});
}

static void test_kernels(void)
{
    attn_problem problem = PROBLEM(1, 4, 2, LENGTH, LENGTH, 8, 8, ATTN_FLOAT32);

    problem.mask.causal = true;
    for (size_t n = 0; n < attn_kernel_count(); n++)
        if (attn_kernel_available(attn_kernel_at(n), ATTN_PASS_FORWARD, problem.dtype, NULL, 0))
            check_lists(&problem, (attn_cache_setup){.block = 4, .kernel = attn_kernel_at(n)});
}

static attn_cache_setup usual_setup(int64_t capacity)
{
    attn_cache_setup setup = {
        .problem = PROBLEM(1, 4, 2, LENGTH, LENGTH, 8, 8, ATTN_FLOAT32), .capacity = capacity, .block = 4};

    setup.problem.mask.causal = true;
    return setup;
}

static void expect(attn_status want, const char *name, attn_status got, attn_error *error)
{
    CU_ASSERT_EQUAL(got, want);
    CU_ASSERT_EQUAL(error->status, want);
    CU_ASSERT(strstr(error->message, name) != NULL);
    *error = (attn_error)ATTN_ERROR_INIT;
}

/* A full cache says so and stays as it is; one that was truncated does not show what it had. */
static void test_full(void)
{
    const attn_cache_setup setup = usual_setup(40);
    fixture f = fixture_make(&setup.problem);
    double seconds[ATTN_PHASE_COUNT];
    attn_error error = ATTN_ERROR_INIT;
    bits out = {NULL, 0};
    attn_segments *rows;
    attn_prefill way;
    attn_cache *cache;
    tokens of;

    TEST_OK(attn_cache_create(MPI_COMM_WORLD, &setup, &cache, &attn_test_error));
    of = take(&f, cache->part, &(attn_segments){.list = &(attn_segment){.length = 50}, .count = 1, .rows = 50});
    prefill(&f, cache, 39, ATTN_PREFILL_AUTO, &out);
    expect(ATTN_ARGUMENT, "capacity 40", attn_cache_append(cache, 2, of.k, of.v, &error), &error);
    expect(ATTN_ARGUMENT, "capacity 40", attn_cache_prefill(cache, 2, ATTN_PREFILL_AUTO, &of.buffers, seconds, &error),
           &error);
    decode(&f, cache, 1, &out);
    expect(ATTN_ARGUMENT, "capacity 40", attn_cache_decode(cache, 1, &of.buffers, seconds, &error), &error);
    expect(ATTN_ARGUMENT, "capacity 40", attn_cache_rows(cache, 1, &rows, &error), &error);
    CU_ASSERT_PTR_NULL(rows);
    expect(ATTN_ARGUMENT, "capacity 40", attn_cache_choose(cache, INT64_MAX, &way, &error), &error);
    CU_ASSERT_EQUAL(attn_cache_tokens(cache), 40);
    attn_cache_truncate(cache, 10);
    expect(ATTN_ARGUMENT, "step of 2", attn_cache_decode(cache, 2, &of.buffers, seconds, &error), &error);
    expect(ATTN_ARGUMENT, "step of 0", attn_cache_decode(cache, 0, &of.buffers, seconds, &error), &error);
    CU_ASSERT_EQUAL(attn_cache_tokens(cache), 10);
    for (int64_t n = 0; n < fixture_elements(&f.problem.shape, cache->part->kv_head_count, 50, 8); n++) {
        attn_store(ATTN_FLOAT32, of.k, (size_t)n, NAN);
        attn_store(ATTN_FLOAT32, of.v, (size_t)n, n % 2 == 0 ? NAN : INFINITY);
    }
    TEST_OK(attn_cache_append(cache, 30, of.k, of.v, &attn_test_error));
    attn_cache_truncate(cache, 10);
    decode(&f, cache, 1, &out);
    prefill(&f, cache, 6, ATTN_PREFILL_KV, &out);
    prefill(&f, cache, 5, ATTN_PREFILL_Q, &out);
    drop(&of);
    free(out.data);
    attn_cache_destroy(cache);
    fixture_drop(&f);
}

static void refuse(attn_cache_setup setup, attn_status want, const char *name)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_cache *cache;

    expect(want, name, attn_cache_create(MPI_COMM_WORLD, &setup, &cache, &error), &error);
    CU_ASSERT_PTR_NULL(cache);
}

static void test_refusals(void)
{
    static const int64_t kv_len[] = {3}, cu_seqlens[] = {0, 40};
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    attn_cache_setup setup = usual_setup(40);

    setup.capacity = 0;
    refuse(setup, ATTN_ARGUMENT, "capacity 0");
    setup = usual_setup(40);
    setup.block = -1;
    refuse(setup, ATTN_ARGUMENT, "block -1");
    setup = usual_setup(40);
    setup.step = ATTN_CACHE_STEP_MAX + 1;
    refuse(setup, ATTN_ARGUMENT, "step 9");
    setup = usual_setup(40);
    setup.problem.mask.causal = false;
    refuse(setup, ATTN_ARGUMENT, "causal 0");
    setup = usual_setup(40);
    setup.problem.mask.kv_len = kv_len;
    refuse(setup, ATTN_ARGUMENT, "kv_len");
    setup = usual_setup(40);
    setup.problem.mask.cu_seqlens = cu_seqlens;
    setup.problem.mask.documents = 1;
    refuse(setup, ATTN_ARGUMENT, "cu_seqlens");
    setup = usual_setup(40);
    setup.problem.dropout = 0.5;
    refuse(setup, ATTN_ARGUMENT, "dropout 0.5");
    setup = usual_setup(40);
    setup.problem.shape.heads = 3;
    refuse(setup, ATTN_ARGUMENT, "heads 3");
    setup = usual_setup(40);
    setup.grid = (attn_grid){.seq = ranks + 1, .head = 1};
    refuse(setup, ATTN_UNSUPPORTED, "grid");
}

/* Few queries over many keys travel themselves, and many queries whose keys are fewer let these travel. */
static void test_what_travels(void)
{
    attn_cache_setup setup = usual_setup(LENGTH);
    attn_prefill way = ATTN_PREFILL_AUTO;
    attn_cache *cache;
    fixture f;

    if (attn_comm_size(MPI_COMM_WORLD) == 1)
        return;
    f = fixture_make(&setup.problem);
    TEST_OK(attn_cache_create(MPI_COMM_WORLD, &setup, &cache, &attn_test_error));
    TEST_OK(attn_cache_choose(cache, LENGTH, &way, &attn_test_error));
    CU_ASSERT_EQUAL(way, ATTN_PREFILL_KV);
    append(&f, cache, LENGTH - 8);
    TEST_OK(attn_cache_choose(cache, 8, &way, &attn_test_error));
    CU_ASSERT_EQUAL(way, ATTN_PREFILL_Q);
    attn_cache_destroy(cache);
    fixture_drop(&f);
}

/* Memory that one rank alone has not, early or late: all are told, and the cache goes on. */
static void test_memory(void)
{
    static const attn_prefill ways[] = {ATTN_PREFILL_KV, ATTN_PREFILL_Q};
    enum { SEVERAL = 6 };
    const attn_cache_setup setup = usual_setup(LENGTH);
    const int rank = attn_comm_rank(MPI_COMM_WORLD), ranks = attn_comm_size(MPI_COMM_WORLD);
    fixture f = fixture_make(&setup.problem);

    for (int n = 0; n < 2 * SEVERAL && ranks > 1; n++) {
        double seconds[ATTN_PHASE_COUNT], failures;
        attn_segments *rows;
        attn_cache *cache;
        attn_status status;
        tokens of;

        TEST_OK(attn_cache_create(MPI_COMM_WORLD, &setup, &cache, &attn_test_error));
        TEST_OK(attn_cache_rows(cache, LENGTH, &rows, &attn_test_error));
        of = take(&f, cache->part, rows);
        allocations = rank == ranks - 1 ? 1 + n / 2 : 0;
        status = attn_cache_prefill(cache, LENGTH, ways[n % 2], &of.buffers, seconds, &attn_test_error);
        failures = status != ATTN_OK;
        allocations = 0;
        TEST_OK(attn_comm_sum(MPI_COMM_WORLD, &failures, 1, &attn_test_error));
        CU_ASSERT(failures == 0 || failures == ranks);
        CU_ASSERT(n > 1 || status == ATTN_MEMORY); /* the first allocation is made before anything is sent */
        if (status != ATTN_OK) {
            CU_ASSERT_EQUAL(status, ATTN_MEMORY);
            CU_ASSERT_EQUAL(attn_cache_tokens(cache), 0);
            TEST_OK(attn_cache_prefill(cache, LENGTH, ways[n % 2], &of.buffers, seconds, &attn_test_error));
        }
        compare(&f, cache->part, rows, &of);
        drop(&of);
        attn_segments_destroy(rows);
        attn_cache_destroy(cache);
    }
    fixture_drop(&f);
}

/* Over all ranks, every token is kept once, and none keeps more than a block more than another. */
static void test_balance(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_cache_setup setup = usual_setup(LENGTH);
    attn_cache *cache;

    TEST_OK(attn_cache_create(MPI_COMM_WORLD, &setup, &cache, &attn_test_error));
    for (int64_t first = 0; first < LENGTH; first += 7)
        for (int64_t end = first; end <= LENGTH; end += 5) {
            int64_t least = LENGTH, most = 0;
            int kept[LENGTH] = {0};

            for (int part = 0; part < ranks; part++) {
                attn_segments *rows;

                TEST_OK(attn_cache_deal(cache, part, first, end, &rows, &attn_test_error));
                least = rows->rows < least ? rows->rows : least;
                most = rows->rows > most ? rows->rows : most;
                for (int64_t r = 0; r < rows->rows; r++)
                    kept[attn_segments_global(rows, r)]++;
                attn_segments_destroy(rows);
            }
            CU_ASSERT(most - least <= setup.block);
            for (int64_t token = 0; token < LENGTH; token++)
                CU_ASSERT_EQUAL(kept[token], token >= first && token < end);
        }
    attn_cache_destroy(cache);
}

static const attn_test tests[] = {
    {"shapes and blocks", test_shapes},  {"types", test_types},       {"masks and scores", test_masks_and_scores},
    {"kernels", test_kernels},           {"a full cache", test_full}, {"refusals", test_refusals},
    {"what travels", test_what_travels}, {"balance", test_balance},   {"memory on one rank", test_memory},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/cache", tests, sizeof tests / sizeof tests[0]);
}
