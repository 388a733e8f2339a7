/* The backward pass of one rank: tasks (batch, key-value head, key block) and the order in which dq is summed. */
#include <attn/memory.h>

#include "core/checked.h"
#include "kernel/backward.h"
#include "kernel/scratch.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* A unit is (b, key-value head): its tasks share rows of dq. Tasks stand in the order in which they are started: parts;
 * rounds of `slots` units; key blocks; units of the round. So threads work on units of their own where there are
 * enough. */
typedef struct backward_unit {
    _Atomic int64_t left; /* tasks that are not finished; -1: and dq is stored */
} backward_unit;

struct attn_backward {
    const attn_kernel *kernel;
    attn_backward_setup setup;
    attn_backward_task *tasks; /* [task_count] */
    int64_t task_count;
    int64_t *part_end;         /* [part_count] tasks of this part and those before */
    int64_t unit_count, slots; /* slots: units in work at a time */
    backward_unit *units;      /* [unit_count] */
    double *delta;             /* [B,head_count,q rows] */
    char *sums;                /* [slots][slot_bytes] dq in the accumulator type; NULL where dq itself has it */
    size_t slot_bytes;
    _Atomic int64_t next;                /* task to start */
    attn_scratch *scratch, *own_scratch; /* the setup's, or an own one */
    size_t bytes;
};

/* Spins a little, then lets other threads run, as there may be more of them than cores. */
static void wait_until(const _Atomic int64_t *value, int64_t least)
{
    enum { SPINS = 1000 };

    for (int spins = 0; atomic_load_explicit(value, memory_order_acquire) < least; spins++)
        if (spins >= SPINS)
            sched_yield();
}

void attn_backward_await(const attn_backward_task *task, int64_t end)
{
    if (task->before != NULL)
        wait_until(task->before, end < task->before_last ? end : task->before_last);
}

void attn_backward_publish(attn_backward_task *task, int64_t end)
{
    atomic_store_explicit(&task->rows_done, end, memory_order_release);
}

/* The first query row whose visible keys end (or begin) after local row `key` of a part; both ends never decrease. */
static int64_t find_row(const attn_backward_setup *setup, int64_t b, const attn_segments *part, int64_t key, bool ends)
{
    const attn_problem *problem = setup->problem;
    int64_t first = 0, last = setup->q_rows->rows;

    while (first < last) {
        const int64_t middle = first + (last - first) / 2, i = attn_segments_global(setup->q_rows, middle);
        const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, b, i);

        if (attn_segments_below(part, ends ? keys.hi : keys.lo) > key)
            last = middle;
        else
            first = middle + 1;
    }
    return first;
}

/* The query heads of the call that share a key-value head of the parts. */
static void find_heads(const attn_backward_setup *setup, attn_backward_task *task)
{
    const int64_t group = attn_shape_group(&setup->problem->shape), shared = setup->kv_head_begin + task->kv_head;
    const int64_t end = setup->head_begin + setup->head_count;
    const int64_t first = shared * group > setup->head_begin ? shared * group : setup->head_begin;
    const int64_t last = (shared + 1) * group < end ? (shared + 1) * group : end;

    task->head = first - setup->head_begin;
    task->heads = first < last ? last - first : 0;
}

static int64_t key_blocks(const attn_kernel *kernel, const attn_backward_setup *setup, int64_t part)
{
    const int64_t keys = kernel->backward_keys(&setup->problem->shape, setup->problem->dtype);

    return (setup->part_rows[part]->rows + keys - 1) / keys;
}

static void make_task(const attn_backward *backward, int64_t unit, int64_t part, int64_t block,
                      attn_backward_task *task)
{
    const attn_backward_setup *setup = &backward->setup;
    const attn_segments *rows = setup->part_rows[part];
    const int64_t keys = backward->kernel->backward_keys(&setup->problem->shape, setup->problem->dtype);
    const int64_t key = block * keys, left = rows->rows - key;

    task->unit = unit;
    task->b = unit / setup->kv_head_count;
    task->kv_head = unit % setup->kv_head_count;
    task->part = part;
    task->key = key;
    task->keys = left < keys ? left : keys;
    find_heads(setup, task);
    task->first = find_row(setup, task->b, rows, key, true) * task->heads;
    task->last = find_row(setup, task->b, rows, key + task->keys - 1, false) * task->heads;
}

static void make_tasks(attn_backward *backward)
{
    const attn_backward_setup *setup = &backward->setup;
    attn_backward_task *task = backward->tasks;

    for (int64_t part = 0; part < setup->part_count; part++) {
        const int64_t blocks = key_blocks(backward->kernel, setup, part);

        for (int64_t begin = 0; begin < backward->unit_count; begin += backward->slots) {
            const int64_t left = backward->unit_count - begin, units = left < backward->slots ? left : backward->slots;

            for (int64_t block = 0; block < blocks; block++)
                for (int64_t u = 0; u < units; u++, task++) {
                    make_task(backward, begin + u, part, block, task);
                    if (block > 0) {
                        task->before = &task[-units].rows_done;
                        task->before_last = task[-units].last;
                    }
                }
        }
        backward->part_end[part] = task - backward->tasks;
    }
    assert(task - backward->tasks == backward->task_count);
}

/* Counts units and tasks, and the bytes of everything; false when they pass the range of their types. */
static bool count_work(attn_backward *backward, size_t *delta_bytes, size_t *sum_bytes)
{
    const attn_backward_setup *setup = &backward->setup;
    const attn_shape *shape = &setup->problem->shape;
    const size_t element = attn_dtype_size(attn_dtype_accumulator(setup->problem->dtype));
    const int64_t rows[3] = {shape->batch, setup->head_count, setup->q_rows->rows};
    const int64_t sums[3] = {attn_shape_group(shape), setup->q_rows->rows, shape->head_dim};
    int64_t row_count, sum_count;

    backward->unit_count = shape->batch * setup->kv_head_count;
    backward->slots =
        setup->part_count > 1 || backward->unit_count < setup->threads ? backward->unit_count : setup->threads;
    for (int64_t part = 0; part < setup->part_count; part++)
        backward->task_count += backward->unit_count * key_blocks(backward->kernel, setup, part);
    if (!attn_int64_product(rows, 3, &row_count) || !attn_int64_product(sums, 3, &sum_count) ||
        !attn_size_multiply((size_t)row_count, sizeof(double), delta_bytes) ||
        !attn_size_multiply((size_t)sum_count, element, &backward->slot_bytes) ||
        !attn_size_multiply(backward->slot_bytes, (size_t)backward->slots, sum_bytes))
        return false;
    if (setup->dq_dtype == attn_dtype_accumulator(setup->problem->dtype))
        *sum_bytes = 0;
    return true;
}

static bool allocate(attn_backward *backward)
{
    size_t delta_bytes, sum_bytes;

    if (!count_work(backward, &delta_bytes, &sum_bytes))
        return false;
    backward->tasks = attn_calloc_array(backward->task_count, sizeof *backward->tasks);
    backward->part_end = attn_calloc_array(backward->setup.part_count, sizeof *backward->part_end);
    backward->units = attn_calloc_array(backward->unit_count, sizeof *backward->units);
    backward->delta = attn_aligned_alloc(delta_bytes);
    backward->sums = sum_bytes > 0 ? attn_aligned_alloc(sum_bytes) : NULL;
    backward->bytes = (size_t)backward->task_count * sizeof *backward->tasks + delta_bytes + sum_bytes;
    return backward->tasks != NULL && backward->part_end != NULL && backward->units != NULL &&
           backward->delta != NULL && (sum_bytes == 0 || backward->sums != NULL);
}

attn_status attn_backward_create(const attn_kernel *kernel, const attn_backward_setup *setup, attn_backward **out,
                                 attn_error *error)
{
    char reason[ATTN_MESSAGE_MAX];
    attn_backward *backward;
    attn_status status;

    *out = NULL;
    assert(!setup->accumulate ||
           (setup->dq_dtype == attn_dtype_accumulator(setup->problem->dtype) && setup->dkv_dtype == setup->dq_dtype));
    if (!attn_kernel_computes(kernel, ATTN_PASS_BACKWARD, setup->problem, reason, sizeof reason))
        return attn_error_set(error, ATTN_UNSUPPORTED, "kernel %s: %s", kernel->name, reason);
    backward = calloc(1, sizeof *backward);
    if (backward != NULL) {
        backward->kernel = kernel;
        backward->setup = *setup;
    }
    if (backward == NULL || !allocate(backward)) {
        attn_backward_destroy(backward);
        return attn_error_set(error, ATTN_MEMORY, "no memory for the tasks and sums of the backward pass");
    }
    make_tasks(backward);
    status = attn_scratch_take(setup->scratch, setup->threads,
                               kernel->backward_bytes(&setup->problem->shape, setup->problem->dtype),
                               &backward->scratch, &backward->own_scratch, error);
    if (status != ATTN_OK) {
        attn_backward_destroy(backward);
        return status;
    }
    *out = backward;
    return ATTN_OK;
}

void attn_backward_destroy(attn_backward *backward)
{
    if (backward == NULL)
        return;
    free(backward->tasks);
    free(backward->part_end);
    free(backward->units);
    free(backward->delta);
    free(backward->sums);
    attn_scratch_destroy(backward->own_scratch);
    free(backward);
}

/* The sum over d of o do. */
static double find_delta(attn_dtype dtype, const char *o, const char *d_o, int64_t Dv)
{
    enum { CHUNK = 128 };
    const size_t element = attn_dtype_size(dtype);
    double a[CHUNK], b[CHUNK], sum = 0;

    for (int64_t d = 0; d < Dv; d += CHUNK) {
        const int64_t count = Dv - d < CHUNK ? Dv - d : CHUNK;

        attn_convert(ATTN_FLOAT64, a, dtype, o + (size_t)d * element, (size_t)count);
        attn_convert(ATTN_FLOAT64, b, dtype, d_o + (size_t)d * element, (size_t)count);
#pragma omp simd reduction(+ : sum)
        for (int64_t n = 0; n < count; n++)
            sum += a[n] * b[n];
    }
    return sum;
}

/* Row r of (b, h), all local numbers, in an array of elements of a type. */
static char *row_of(const attn_array *array, attn_dtype dtype, int64_t b, int64_t h, int64_t r)
{
    return (char *)array->data +
           (size_t)(b * array->batch_stride + h * array->head_stride + r * array->row_stride) * attn_dtype_size(dtype);
}

/* Before all tasks, by all threads: delta of each row, and dq = 0. */
static void start_rows(attn_backward *backward, const attn_backward_buffers *buffers)
{
    const attn_backward_setup *setup = &backward->setup;
    const attn_shape *shape = &setup->problem->shape;
    const attn_dtype dtype = setup->problem->dtype;
    const int64_t rows = setup->q_rows->rows, all = shape->batch * setup->head_count * rows;

#pragma omp for schedule(static)
    for (int64_t n = 0; n < all; n++) {
        const int64_t r = n % rows, h = n / rows % setup->head_count, b = n / rows / setup->head_count;

        backward->delta[n] = find_delta(dtype, row_of(&buffers->o, dtype, b, h, r),
                                        row_of(&buffers->d_o, dtype, b, h, r), shape->v_head_dim);
        if (!setup->accumulate)
            memset(row_of(&buffers->dq, setup->dq_dtype, b, h, r), 0,
                   (size_t)shape->head_dim * attn_dtype_size(setup->dq_dtype));
    }
    if (backward->sums != NULL) {
#pragma omp for schedule(static)
        for (int64_t slot = 0; slot < backward->slots; slot++)
            memset(backward->sums + (size_t)slot * backward->slot_bytes, 0, backward->slot_bytes);
    }
}

static void start_tasks(attn_backward *backward)
{
    atomic_store(&backward->next, 0);
    for (int64_t u = 0; u < backward->unit_count; u++)
        atomic_store(&backward->units[u].left, backward->task_count / backward->unit_count);
    for (int64_t t = 0; t < backward->task_count; t++)
        atomic_store(&backward->tasks[t].rows_done, 0);
}

/* The sums of the task's unit become dq, and the next unit finds zeros. */
static void store_sums(attn_backward *backward, const attn_backward_buffers *buffers, const attn_backward_task *task)
{
    const attn_backward_setup *setup = &backward->setup;
    const attn_dtype sum_dtype = attn_dtype_accumulator(setup->problem->dtype);
    const int64_t rows = setup->q_rows->rows, D = setup->problem->shape.head_dim;
    char *const sums = backward->sums + (size_t)(task->unit % backward->slots) * backward->slot_bytes;

    for (int64_t h = 0; h < task->heads; h++)
        for (int64_t r = 0; r < rows; r++)
            attn_convert(setup->dq_dtype, row_of(&buffers->dq, setup->dq_dtype, task->b, task->head + h, r), sum_dtype,
                         sums + (size_t)((h * rows + r) * D) * attn_dtype_size(sum_dtype), (size_t)D);
    if (task->unit + backward->slots < backward->unit_count)
        memset(sums, 0, backward->slot_bytes);
}

static void run_task(attn_backward *backward, const attn_backward_call *call, attn_backward_task *task, char *scratch)
{
    const attn_backward_setup *setup = &backward->setup;
    const attn_array *dq = &call->buffers->dq;

    if (backward->sums == NULL) {
        task->dq = row_of(dq, setup->dq_dtype, task->b, task->head, 0);
        task->head_stride = dq->head_stride;
        task->row_stride = dq->row_stride;
    } else {
        if (task->unit >= backward->slots) { /* the unit that had this slot must be stored: its left falls to -1 */
            while (atomic_load_explicit(&backward->units[task->unit - backward->slots].left, memory_order_acquire) >= 0)
                sched_yield();
        }
        task->dq = backward->sums + (size_t)(task->unit % backward->slots) * backward->slot_bytes;
        task->head_stride = setup->q_rows->rows * setup->problem->shape.head_dim;
        task->row_stride = setup->problem->shape.head_dim;
    }
    backward->kernel->backward[setup->problem->dtype](call, task, scratch);
    attn_backward_publish(task, INT64_MAX);
    if (atomic_fetch_sub(&backward->units[task->unit].left, 1) == 1) {
        if (backward->sums != NULL)
            store_sums(backward, call->buffers, task);
        atomic_store_explicit(&backward->units[task->unit].left, -1, memory_order_release);
    }
}

void attn_backward_execute(attn_backward *backward, const attn_backward_buffers *buffers)
{
    const attn_backward_call call = {.setup = &backward->setup, .buffers = buffers, .delta = backward->delta};

    start_tasks(backward);
#pragma omp parallel num_threads(backward->setup.threads)
    {
        const int thread = omp_get_thread_num();
        char *scratch = attn_scratch_at(backward->scratch, thread);

        start_rows(backward, buffers);
        for (int64_t part = 0; part < backward->setup.part_count; part++) {
            int64_t t;

            /* The parts are taken one after the other, as each may add to any row of dq. */
            while ((t = atomic_load(&backward->next)) < backward->part_end[part]) {
                attn_progress_make(&buffers->progress, thread);
                if (atomic_compare_exchange_weak(&backward->next, &t, t + 1))
                    run_task(backward, &call, &backward->tasks[t], scratch);
            }
#pragma omp barrier
        }
    }
}

size_t attn_backward_bytes(const attn_backward *backward)
{
    return backward->bytes + attn_scratch_bytes(backward->own_scratch);
}
