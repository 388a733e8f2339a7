#include "plan/balance.h"

#include "core/checked.h"
#include "plan/part.h"

#include <stdlib.h>

enum { BLOCKS_OF_A_PART = 16 };

typedef struct balance_block {
    int64_t begin, length;
    double pairs;
    int part;
} balance_block;

static int by_pairs(const void *left, const void *right)
{
    const balance_block *a = left, *b = right;

    if (a->pairs != b->pairs)
        return a->pairs < b->pairs ? 1 : -1;
    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

static int by_row(const void *left, const void *right)
{
    const balance_block *a = left, *b = right;

    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* The blocks in the order of the sequence; length is that of all but the last. */
static void cut(const attn_problem *problem, int64_t length, balance_block *blocks, int64_t count)
{
    for (int64_t n = 0; n < count; n++) {
        const int64_t begin = n * length, left = problem->shape.seq - begin;
        attn_segment segment = {.begin = begin, .length = left < length ? left : length};
        const attn_segments rows = {.list = &segment, .count = 1, .rows = segment.length};

        blocks[n] = (balance_block){begin, segment.length, attn_part_head_pairs(problem, &rows), 0};
    }
}

static void deal(balance_block *blocks, int64_t count, int parts, double *pairs, int64_t *taken)
{
    const int64_t share = count / parts;
    int64_t more = count % parts; /* parts that may still take one more than that */

    qsort(blocks, (size_t)count, sizeof *blocks, by_pairs);
    for (int64_t n = 0; n < count; n++) {
        int to = -1;

        for (int part = 0; part < parts; part++)
            if (taken[part] < share + (more > 0) && (to < 0 || pairs[part] < pairs[to]))
                to = part;
        more -= taken[to] == share;
        blocks[n].part = to;
        pairs[to] += blocks[n].pairs;
        taken[to]++;
    }
    qsort(blocks, (size_t)count, sizeof *blocks, by_row);
}

attn_status attn_balance_rows(const attn_problem *problem, int parts, int part, attn_segments **out, attn_error *error)
{
    const int64_t seq = problem->shape.seq;
    const int64_t most = (int64_t)BLOCKS_OF_A_PART * parts < seq ? (int64_t)BLOCKS_OF_A_PART * parts : seq;
    const int64_t length = most > 0 ? (seq - 1) / most + 1 : 1, count = most > 0 ? (seq - 1) / length + 1 : 0;
    balance_block *blocks = attn_calloc_array(count + 1, sizeof *blocks);
    int64_t *begins = attn_calloc_array(count + 1, sizeof *begins);
    int64_t *lengths = attn_calloc_array(count + 1, sizeof *lengths);
    int64_t *taken = attn_calloc_array(parts, sizeof *taken);
    double *pairs = attn_calloc_array(parts, sizeof *pairs);
    attn_status status;
    int64_t mine = 0;

    *out = NULL;
    if (blocks == NULL || begins == NULL || lengths == NULL || taken == NULL || pairs == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory to deal %lld blocks of rows", (long long)count);
    } else {
        cut(problem, length, blocks, count);
        if (count > 0)
            deal(blocks, count, parts, pairs, taken);
        for (int64_t n = 0; n < count; n++)
            if (blocks[n].part == part) {
                begins[mine] = blocks[n].begin;
                lengths[mine++] = blocks[n].length;
            }
        status = attn_segments_create(mine, begins, lengths, out, error);
    }
    free(blocks);
    free(begins);
    free(lengths);
    free(taken);
    free(pairs);
    return status;
}
