/* The contract between the backward pass (backward.c) and the kernels (one file each).
 *
 * A task is a block of keys of one key-value head: it owns their dk and dv, and adds its share of dq to the rows that
 * see them. Rows are folded as in the forward pass (kernel.h). So that dq is summed in a fixed order, whatever the
 * number of threads, each task publishes the rows that it has added to, and a task adds to rows only when the task of
 * the key block before has done so. Tasks are started in an order in which the one before stands earlier, so that
 * somebody always goes on.
 */
#ifndef KERNEL_BACKWARD_H
#define KERNEL_BACKWARD_H

#include "kernel/kernel.h"

#include <stdatomic.h>

typedef struct attn_backward_task {
    int64_t b;
    int64_t kv_head;     /* local key-value head */
    int64_t head, heads; /* local query heads head .. head + heads - 1, all of kv_head; heads may be 0 */
    int64_t part;
    int64_t key, keys;         /* local rows of the part */
    int64_t first, last;       /* folded rows that may see these keys */
    int64_t unit;              /* number of (b, kv_head) */
    _Atomic int64_t *before;   /* folded rows that the task before is done with, rising; or NULL: none is before */
    int64_t before_last;       /* its last */
    _Atomic int64_t rows_done; /* the same of this task */
    void *dq;                  /* row 0 of query head `head`, accumulator type */
    int64_t head_stride, row_stride; /* of dq */
} attn_backward_task;

typedef struct attn_backward_call {
    const attn_backward_setup *setup;
    const attn_backward_buffers *buffers;
    const double *delta; /* [B,head_count,q rows]: sum over d of o do */
} attn_backward_call;

/* Waits until it is this task's turn to add to the folded rows below `end`. */
void attn_backward_await(const attn_backward_task *task, int64_t end);

/* Publishes that this task has added to all folded rows below `end`; INT64_MAX at its end. */
void attn_backward_publish(attn_backward_task *task, int64_t end);

/* The place of a folded row in dq, in elements from task->dq. */
static inline int64_t attn_backward_dq_place(const attn_backward_task *task, int64_t folded)
{
    return folded % task->heads * task->head_stride + folded / task->heads * task->row_stride;
}

/* The place of a folded row in an array of the call, in elements. */
static inline int64_t attn_backward_place(const attn_backward_task *task, const attn_array *array, int64_t folded)
{
    return task->b * array->batch_stride + (task->head + folded % task->heads) * array->head_stride +
           folded / task->heads * array->row_stride;
}

#endif
