/* Blocks of a small problem, moved by any partition of the ranks: elements say where they stand. */
#ifndef ATTN_TEST_BLOCKS_H
#define ATTN_TEST_BLOCKS_H

#include "folder.h"

#include "io/input_file.h"

#include <attn/dtype.h>
#include <attn/input.h>

enum { B = 2, HQ = 6, HKV = 3, SQ = 37, SKV = 53, D = 5, DV = 3 };

static const attn_shape shape = {B, HQ, HKV, SQ, SKV, D, DV};

static inline attn_problem plain_problem(void)
{
    return (attn_problem){.shape = shape,
                          .dtype = ATTN_FLOAT32,
                          .mask = ATTN_MASK_FULL,
                          .score = {.scale = attn_scale_default(shape.head_dim)}};
}

/* ---- Partitions: which rows and heads a rank has ---- */

typedef enum layout { CONTIGUOUS, ZIGZAG, STRIPED, RAGGED, LAST_RANK_ONLY, LAYOUT_COUNT } layout;

/* Which of `parts` owns a global row. */
static inline int owner(layout kind, int64_t seq, int parts, int64_t row)
{
    const int64_t chunk = (seq + parts - 1) / parts, half = (seq + 2 * parts - 1) / (2 * parts);
    int64_t piece;

    switch (kind) {
    case CONTIGUOUS:
        return (int)(row / chunk);
    case ZIGZAG:
        piece = row / half;
        return (int)(piece < parts ? piece : 2 * parts - 1 - piece);
    case STRIPED:
        return (int)(row % parts);
    case RAGGED: /* blocks of 1, 2, 3, 1, 2, 3 ... rows, one after the other */
        return (int)((row / 6 * 3 + (row % 6 > 0) + (row % 6 > 2)) % parts);
    default:
        return parts - 1;
    }
}

static inline attn_segments *make_rows(layout kind, int64_t seq, int parts, int part)
{
    int64_t *const begins = calloc((size_t)seq, sizeof *begins), *const lengths = calloc((size_t)seq, sizeof *lengths);
    attn_segments *rows = NULL;
    int64_t count = 0;

    for (int64_t row = 0; row < seq; row++)
        if (owner(kind, seq, parts, row) == part) {
            begins[count] = row;
            lengths[count++] = 1;
        }
    TEST_OK(attn_segments_create(count, begins, lengths, &rows, &attn_test_error));
    free(lengths);
    free(begins);
    return rows;
}

typedef struct partition {
    layout kind;
    int head_parts; /* ranks that share the heads, a divisor of the number of ranks */
} partition;

/* This rank's block of an array; rows are destroyed by the caller. */
static inline attn_block make_block(partition how, attn_input_array array, attn_segments **rows)
{
    const int head_parts = test_ranks() % how.head_parts == 0 ? how.head_parts : 1;
    const int seq_parts = test_ranks() / head_parts;
    const int head_part = test_rank() % head_parts, seq_part = test_rank() / head_parts;
    int64_t extents[4], begin, end;

    attn_input_extents(&shape, array, extents);
    begin = extents[1] * head_part / head_parts;
    end = extents[1] * (head_part + 1) / head_parts;
    *rows = make_rows(how.kind, extents[2], seq_parts, seq_part);
    return (attn_block){.head_begin = begin, .head_count = end - begin, .rows = *rows};
}

/* ---- Values that say where they stand ---- */

/* Small whole numbers in eighths: exact in all four types (bfloat16 has 8 bits), and different over a wide range. */
static inline double value_at(attn_input_array array, int64_t b, int64_t h, int64_t row, int64_t x)
{
    const int64_t mixed = ((b * 7 + h) * 61 + row) * 11 + x * 3 + (int64_t)array * 17;

    return (double)(mixed % 251 - 125) / 8;
}

/* Calls for each element of a block, in the order of the dense array. */
static inline void for_each(attn_input_array array, const attn_block *block, attn_dtype dtype, void *buffer, bool check)
{
    int64_t extents[4] = {0, 0, 0, 1}, wrong = 0;
    size_t index = 0;

    attn_input_extents(&shape, array, extents);
    for (int64_t b = 0; b < extents[0]; b++)
        for (int64_t h = 0; h < block->head_count; h++)
            for (int64_t r = 0; r < block->rows->rows; r++)
                for (int64_t x = 0; x < extents[3]; x++, index++) {
                    const double want =
                        value_at(array, b, block->head_begin + h, attn_segments_global(block->rows, r), x);

                    if (!check)
                        attn_store(dtype, buffer, index, want);
                    else
                        wrong += attn_load(dtype, buffer, index) != want;
                }
    CU_ASSERT_EQUAL(wrong, 0);
}

static inline size_t block_elements(attn_input_array array, const attn_block *block)
{
    int64_t extents[4] = {0, 0, 0, 1};

    attn_input_extents(&shape, array, extents);
    return (size_t)(extents[0] * block->head_count * block->rows->rows * extents[3]);
}

static inline void move_array(attn_input *input, attn_input_array array, partition how, attn_dtype dtype, bool writing)
{
    attn_segments *rows;
    const attn_block block = make_block(how, array, &rows);
    const size_t elements = block_elements(array, &block);
    void *const buffer = elements > 0 ? calloc(elements, attn_dtype_size(dtype)) : NULL;

    if (writing) {
        for_each(array, &block, dtype, buffer, false);
        TEST_OK(attn_input_write(input, array, &block, dtype, buffer, &attn_test_error));
    } else {
        TEST_OK(attn_input_read(input, array, &block, dtype, buffer, &attn_test_error));
        for_each(array, &block, dtype, buffer, true);
    }
    free(buffer);
    attn_segments_destroy(rows);
}

#endif
