/* Few query rows against many keys: the contract between the plan (decode.c) and the kernels (decode_level.h).
 *
 * The keys of each group of query heads are cut into ranges, and a task is all folded rows of the group against one
 * range. It gives a partial result, o and lse in the accumulator type, and the partial results of a row are merged in
 * the order of the keys. The ranges depend on the problem alone, so neither the number of threads nor their timing
 * changes a bit. Where a group has too many folded rows for that, a task is one of the blocked kernel, for one range of
 * global keys; all else is the same.
 */
#ifndef KERNEL_DECODE_H
#define KERNEL_DECODE_H

#include "kernel/kernel.h"

/* Rows of partial results are a multiple of the longest line of values, of two vectors (decode_level.h). */
enum { ATTN_DECODE_O_BYTES = 128 };

/* Folded rows up to which decoding is chosen, and keys of a block: enough to hide that each block rescales the sums,
 * few enough for the block after the one at hand to be on its way to the second-level cache. */
enum { ATTN_DECODE_ROWS = 16, ATTN_DECODE_BLOCK = 64 };

/* Query rows up to which the tasks of a blocked kernel are cut by keys where there are more folded rows than that. */
enum { ATTN_DECODE_SEQ = 8 };

typedef struct attn_decode_task {
    attn_task rows;     /* all folded rows of a group; for a blocked kernel some of them, and the range as its keys */
    attn_interval seen; /* global keys that some row may see */
    int64_t part, row;  /* the first key: a local row of a part */
    int64_t keys;       /* from there on, of those seen in this and the following parts; > 0 */
} attn_decode_task;

/* A block of keys, wherever they stand: rows of several parts or pages follow each other. */
typedef struct attn_decode_keys {
    int64_t count;
    const char *k[ATTN_DECODE_BLOCK], *v[ATTN_DECODE_BLOCK];
    int64_t position[ATTN_DECODE_BLOCK]; /* global numbers */
    int64_t lowest, highest;             /* of the positions */
} attn_decode_keys;

/* Where a task stands in its range. */
typedef struct attn_decode_cursor {
    const attn_forward_setup *setup;
    const attn_forward_buffers *buffers;
    const attn_decode_task *task;
    int64_t part, row, end; /* local rows [row, end) of the part are next */
    int64_t left;           /* keys */
} attn_decode_cursor;

/* Stands before the first key of a task. */
attn_decode_cursor attn_decode_open(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                                    const attn_decode_task *task);

/* Fills the next block, with count 0 at the end. */
void attn_decode_next(attn_decode_cursor *cursor, attn_decode_keys *keys);

/* Computes one task.
 *   o        out, [rows][stride] accumulator type; written up to the stride, whole multiples of ATTN_DECODE_O_BYTES
 *   lse      out, [rows] accumulator type
 *   scratch  [scratch_bytes], 64-byte aligned, this thread's own, contents undefined before and after */
typedef void attn_task_decode(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                              const attn_decode_task *task, void *o, int64_t stride, void *lse, void *scratch);

/* What a kernel has for decoding, by instruction-set level. */
typedef struct attn_decode_level {
    attn_task_decode *decode[ATTN_DTYPE_COUNT]; /* NULL: not for this type */
    size_t (*scratch_bytes)(const attn_shape *shape, attn_dtype dtype, int64_t rows);
} attn_decode_level;

extern const attn_decode_level attn_decode_baseline, attn_decode_avx2, attn_decode_avx512, attn_decode_amx;

/* The tasks and partial results of one forward pass. */
typedef struct attn_decode attn_decode;

/* Tells whether a pass is to be decoded: few folded rows, no dropout, and a kernel that can. */
bool attn_decode_applies(const attn_kernel *kernel, const attn_forward_setup *setup);

/* Tells whether the tasks of a blocked kernel are to be cut by keys instead: few rows, but too many when folded. */
bool attn_decode_cuts(const attn_kernel *kernel, const attn_forward_setup *setup);

/* Plans the ranges, for a pass to which one of the two applies; one that moves (setup->moves) gets room for as many
 * ranges as its rows may see at any place.
 *   setup   in, must outlive the attn_decode
 *   groups  in, [count] all folded rows of each batch and group of heads, for a blocked kernel in as many tasks as they
 *           take; must outlive the attn_decode
 *   out     out, destroyed by the caller (destroy takes NULL); NULL on failure
 * ATTN_MEMORY. */
attn_status attn_decode_create(const attn_kernel *kernel, const attn_forward_setup *setup, const attn_task *groups,
                               int64_t count, attn_decode **out, attn_error *error);
void attn_decode_destroy(attn_decode *decode);

/* Cuts the ranges again after the rows of the setup have moved, as long as they were. Does not allocate. */
void attn_decode_cut(attn_decode *decode);

/* Computes o and lse with the threads of the setup.
 *   scratch  with scratch_bytes for each thread */
void attn_decode_execute(attn_decode *decode, const attn_forward_buffers *buffers, const attn_scratch *scratch);

/* Tells the bytes that create allocated; 0 for NULL. */
size_t attn_decode_bytes(const attn_decode *decode);

#endif
