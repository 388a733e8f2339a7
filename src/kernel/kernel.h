/* The contract between the forward pass (forward.c) and the kernels (one file each).
 *
 * forward.c owns the tasks, the threads and the scratch memory; a kernel computes one task: some consecutive query rows
 * of the heads that share a key-value head, against all visible keys of all parts. A kernel does no MPI, no allocation,
 * no I/O, and cannot fail. It owns its edges: any row count up to block_rows, any D and Dv, any alignment, any strides.
 * Arrays do not alias. A row without a visible key gets o = 0 and lse = -inf (or its sink). Every row of the task is
 * written.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <attn/kernel.h>

/* Rows of a task are folded: the query heads that share a key-value head stand together, row by row, so that keys and
 * values are read once for all of them. Folded row f is query row f / heads of head `head + f % heads`; the visible
 * intervals of consecutive folded rows rise as those of the rows do. */
typedef struct attn_task {
    int64_t b;
    int64_t kv_head;     /* local key-value head */
    int64_t head, heads; /* local query heads head .. head + heads - 1, all of kv_head */
    int64_t row, rows;   /* folded rows row .. row + rows - 1 */
    int64_t pairs;       /* visible pairs: the work */
    attn_interval keys;  /* global keys that count, of those that the rows see */
} attn_task;

/* The local query head of a folded row, and its local query row. */
static inline int64_t attn_task_head(const attn_task *task, int64_t folded)
{
    return task->head + folded % task->heads;
}

static inline int64_t attn_task_row(const attn_task *task, int64_t folded)
{
    return folded / task->heads;
}

/* The keys of a task that query row i sees, global numbers. Both ends rise with i. */
static inline attn_interval attn_task_seen(const attn_forward_setup *setup, const attn_task *task, int64_t i)
{
    const attn_interval seen = attn_mask_row(&setup->problem->mask, &setup->problem->shape, task->b, i);
    const int64_t lo = task->keys.lo, hi = task->keys.hi;

    return (attn_interval){seen.lo < lo   ? lo
                           : seen.lo < hi ? seen.lo
                                          : hi,
                           seen.hi < lo   ? lo
                           : seen.hi < hi ? seen.hi
                                          : hi};
}

/* The element of an array of a part (k or v) at which a local row of it begins. */
static inline int64_t attn_part_place(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                                      int64_t part, const attn_array *array, int64_t b, int64_t kv_head, int64_t row)
{
    if (setup->page_rows > 0) {
        const attn_page_table *table = &buffers->pages[part];
        const int64_t page = table->page[b * table->stride + row / setup->page_rows];

        return page * array->batch_stride + kv_head * array->head_stride + row % setup->page_rows * array->row_stride;
    }
    return b * array->batch_stride + kv_head * array->head_stride + row * array->row_stride;
}

/* How many local rows from a row on, at most count, stand row_stride apart. */
static inline int64_t attn_part_run(const attn_forward_setup *setup, int64_t row, int64_t count)
{
    const int64_t run = setup->page_rows > 0 ? setup->page_rows - row % setup->page_rows : count;

    return run < count ? run : count;
}

/* Computes one task.
 *   scratch  [scratch_bytes], 64-byte aligned, this thread's own, contents undefined before and after */
typedef void attn_task_forward(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                               const attn_task *task, void *scratch);

/* Computes one task of the backward pass; its contract is in kernel/backward.h. */
struct attn_backward_call;
struct attn_backward_task;
typedef void attn_task_backward(const struct attn_backward_call *call, struct attn_backward_task *task, void *scratch);

struct attn_kernel {
    const char *name, *summary;
    const char *needs;         /* instruction sets in words, for the message when they are missing */
    bool (*cpu_has)(void);     /* whether this CPU and build can run it */
    bool (*cpu_prefers)(void); /* whether it is faster here than those before it in the table; NULL: it is */
    const char *peak;          /* see attn_kernel_peak */
    attn_task_forward *forward[ATTN_DTYPE_COUNT];                     /* NULL: not for this type */
    attn_task_backward *backward[ATTN_DTYPE_COUNT];                   /* the same */
    int64_t (*block_rows)(const attn_shape *shape, attn_dtype dtype); /* most rows of a task; its best size */
    int64_t key_block;                                                /* see attn_kernel_key_block */
    int64_t (*panel_rows)(attn_dtype dtype);                          /* rows of a task are best a multiple of this */
    size_t (*scratch_bytes)(const attn_shape *shape, attn_dtype dtype, int64_t rows);
    int64_t (*backward_keys)(const attn_shape *shape, attn_dtype dtype); /* most keys of a task of the backward pass */
    size_t (*backward_bytes)(const attn_shape *shape, attn_dtype dtype); /* its scratch */
    const struct attn_decode_level *decode; /* few rows against many keys (kernel/decode.h); NULL: as any other rows */
    bool paged;                             /* it finds keys and values through attn_part_place */
    bool dropout;                           /* both passes compute the problem's dropout */
};

#endif
