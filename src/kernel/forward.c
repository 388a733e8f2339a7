/* The forward pass of one rank: tasks in decreasing work, dealt to threads. */
#include "core/checked.h"
#include "kernel/decode.h"
#include "kernel/head_group.h"
#include "kernel/kernel.h"
#include "kernel/scratch.h"

#include <attn/memory.h>

#include <assert.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct attn_forward {
    const attn_kernel *kernel;
    attn_forward_setup setup;
    attn_task *tasks; /* [task_count] largest first */
    int64_t task_count;
    int64_t pairs;
    int64_t rows_of_task;
    attn_decode *decode;                 /* NULL, or how the tasks are cut further, by keys */
    attn_scratch *scratch, *own_scratch; /* the setup's, or an own one */
    /* Of a pass that moves: its query rows, and the sums of make_tasks. */
    attn_segments rows;
    attn_segment row;
    int64_t *sums;
};

attn_array attn_array_dense(void *data, int64_t heads, int64_t rows, int64_t width)
{
    return (attn_array){
        .data = data, .batch_stride = heads * rows * width, .head_stride = rows * width, .row_stride = width};
}

attn_array attn_array_of_const(const void *data, int64_t heads, int64_t rows, int64_t width)
{
    union {
        const void *read;
        void *write;
    } pointer = {.read = data};

    return attn_array_dense(pointer.write, heads, rows, width);
}

static int64_t round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* Whether one task for each group of heads is as much work for every thread: cut further, it would only convert keys
 * and values more often. */
static bool deals_evenly(const attn_forward_setup *setup, int64_t rows_of_task)
{
    const attn_problem *problem = setup->problem;
    const int64_t group = attn_shape_group(&problem->shape), groups = attn_head_groups(setup);

    return group * setup->q_rows->rows <= rows_of_task && groups * group == setup->head_count &&
           groups * problem->shape.batch % setup->threads == 0 && problem->mask.kv_len == NULL;
}

/* Folded rows of a task: the kernel's best, less when that would leave threads without work or badly balanced. */
static int64_t choose_rows(const attn_kernel *kernel, const attn_forward_setup *setup)
{
    enum { TASKS_PER_THREAD = 6 };
    const attn_problem *problem = setup->problem;
    const int64_t best = kernel->block_rows(&problem->shape, problem->dtype);
    const int64_t panel = kernel->panel_rows(problem->dtype);
    const int64_t folded = problem->shape.batch * setup->head_count * setup->q_rows->rows;
    const int64_t wanted = (int64_t)setup->threads * TASKS_PER_THREAD;
    int64_t rows;

    if (setup->threads == 1 || deals_evenly(setup, best))
        return best;
    rows = round_up((folded + wanted - 1) / wanted, panel);
    return rows < panel ? panel : rows < best ? rows : best;
}

/* Visible pairs of a query row. The interval is the same for all heads. */
static int64_t count_row_pairs(const attn_forward_setup *setup, int64_t b, int64_t row)
{
    const attn_problem *problem = setup->problem;
    const int64_t i = attn_segments_global(setup->q_rows, row);
    const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, b, i);
    int64_t pairs = 0;

    for (int64_t p = 0; p < setup->part_count; p++)
        pairs += attn_segments_below(setup->part_rows[p], keys.hi) - attn_segments_below(setup->part_rows[p], keys.lo);
    return pairs;
}

static int by_work(const void *left, const void *right)
{
    const attn_task *a = left, *b = right;

    if (a->pairs != b->pairs)
        return a->pairs < b->pairs ? 1 : -1;
    if (a->b != b->b)
        return a->b < b->b ? -1 : 1;
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

static int64_t count_tasks(const attn_forward_setup *setup, int64_t rows_of_task)
{
    int64_t count = 0;

    for (int64_t g = 0; g < attn_head_groups(setup); g++)
        count += (attn_head_group_at(setup, g).heads * setup->q_rows->rows + rows_of_task - 1) / rows_of_task;
    return count * setup->problem->shape.batch;
}

/* sums [rows + 1]: visible pairs of all query rows of batch b before each. */
static void sum_pairs(const attn_forward_setup *setup, int64_t b, int64_t *sums)
{
    sums[0] = 0;
    for (int64_t r = 0; r < setup->q_rows->rows; r++)
        sums[r + 1] = sums[r] + count_row_pairs(setup, b, r);
}

/* Visible pairs of the folded rows before `folded` of a group of so many heads. */
static int64_t pairs_before(const int64_t *sums, int64_t heads, int64_t folded)
{
    const int64_t row = folded / heads, rest = folded % heads;

    return heads * sums[row] + (rest > 0 ? rest * (sums[row + 1] - sums[row]) : 0);
}

/* Those of a pass that moves stay in the order of batches and heads: nothing else depends on where its rows are. */
static void make_tasks(attn_forward *forward, int64_t *sums)
{
    const attn_forward_setup *setup = &forward->setup;
    const int64_t groups = attn_head_groups(setup), rows_of_task = forward->rows_of_task;
    int64_t next = 0;

    forward->pairs = 0;
    for (int64_t b = 0; b < setup->problem->shape.batch; b++) {
        if (b == 0 || setup->problem->mask.kv_len != NULL) /* only key padding differs between batches */
            sum_pairs(setup, b, sums);
        for (int64_t g = 0; g < groups; g++) {
            const attn_head_group at = attn_head_group_at(setup, g);
            const int64_t folded = at.heads * setup->q_rows->rows;

            for (int64_t row = 0; row < folded; row += rows_of_task) {
                const int64_t end = row + rows_of_task < folded ? row + rows_of_task : folded;
                const int64_t pairs = pairs_before(sums, at.heads, end) - pairs_before(sums, at.heads, row);

                forward->tasks[next++] = (attn_task){.b = b,
                                                     .kv_head = at.kv_head,
                                                     .head = at.head,
                                                     .heads = at.heads,
                                                     .row = row,
                                                     .rows = end - row,
                                                     .pairs = pairs,
                                                     .keys = {0, setup->problem->shape.kv_seq}};
                forward->pairs += pairs;
            }
        }
    }
    assert(next == forward->task_count);
    if (!setup->moves)
        qsort(forward->tasks, (size_t)next, sizeof *forward->tasks, by_work);
}

static size_t thread_scratch(const attn_kernel *kernel, const attn_forward_setup *setup, bool decode, int64_t rows)
{
    const attn_problem *problem = setup->problem;

    return decode ? kernel->decode->scratch_bytes(&problem->shape, problem->dtype, rows)
                  : kernel->scratch_bytes(&problem->shape, problem->dtype, rows);
}

static attn_status check_setup(const attn_kernel *kernel, const attn_forward_setup *setup, bool decode,
                               attn_error *error)
{
    char reason[ATTN_MESSAGE_MAX];

    if (!attn_kernel_computes(kernel, ATTN_PASS_FORWARD, setup->problem, reason, sizeof reason))
        return attn_error_set(error, ATTN_UNSUPPORTED, "kernel %s: %s", kernel->name, reason);
    if (setup->page_rows < 0)
        return attn_error_set(error, ATTN_ARGUMENT, "page_rows %lld: must be 0 (not paged) or more",
                              (long long)setup->page_rows);
    if (setup->page_rows > 0 && !decode && !kernel->paged)
        return attn_error_set(error, ATTN_UNSUPPORTED, "kernel %s does not read paged keys and values", kernel->name);
    return ATTN_OK;
}

/* Gives a pass that moves query rows of its own, at first where the caller's are. */
static void own_rows(attn_forward *forward)
{
    const attn_segments *rows = forward->setup.q_rows;

    assert(rows->count <= 1);
    forward->row = (attn_segment){.begin = rows->rows > 0 ? rows->list[0].begin : 0, .length = rows->rows};
    forward->rows = (attn_segments){.list = &forward->row, .count = rows->count, .rows = rows->rows};
    forward->setup.q_rows = &forward->rows;
}

void attn_forward_move(attn_forward *forward, int64_t begin)
{
    assert(forward->setup.moves && begin >= 0 && begin <= forward->setup.problem->shape.seq - forward->rows.rows);
    forward->row.begin = begin;
    make_tasks(forward, forward->sums);
    if (forward->decode != NULL)
        attn_decode_cut(forward->decode);
}

attn_status attn_forward_create(const attn_kernel *kernel, const attn_forward_setup *setup, attn_forward **out,
                                attn_error *error)
{
    const bool decode = attn_decode_applies(kernel, setup), cut = attn_decode_cuts(kernel, setup);
    int64_t rows, count, *sums;
    attn_forward *forward;
    attn_status status;

    *out = NULL;
    status = check_setup(kernel, setup, decode, error);
    if (status != ATTN_OK)
        return status;
    rows = decode ? ATTN_DECODE_ROWS
           : cut  ? kernel->block_rows(&setup->problem->shape, setup->problem->dtype)
                  : choose_rows(kernel, setup);
    count = count_tasks(setup, rows);
    sums = attn_calloc_array(setup->q_rows->rows + 1, sizeof *sums);
    forward = calloc(1, sizeof *forward);
    if (forward != NULL) {
        forward->kernel = kernel;
        forward->setup = *setup;
        if (setup->moves)
            own_rows(forward);
        forward->rows_of_task = rows;
        forward->task_count = count;
        forward->tasks = attn_calloc_array(count + 1, sizeof *forward->tasks);
    }
    if (sums == NULL || forward == NULL || forward->tasks == NULL) {
        free(sums);
        attn_forward_destroy(forward);
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld tasks", (long long)count);
    }
    make_tasks(forward, sums);
    if (setup->moves)
        forward->sums = sums;
    else
        free(sums);
    status = attn_scratch_take(setup->scratch, setup->threads, thread_scratch(kernel, setup, decode, rows),
                               &forward->scratch, &forward->own_scratch, error);
    if (status == ATTN_OK && (decode || cut))
        status = attn_decode_create(kernel, &forward->setup, forward->tasks, count, &forward->decode, error);
    if (status != ATTN_OK) {
        attn_forward_destroy(forward);
        return status;
    }
    *out = forward;
    return ATTN_OK;
}

void attn_forward_destroy(attn_forward *forward)
{
    if (forward == NULL)
        return;
    attn_decode_destroy(forward->decode);
    free(forward->tasks);
    free(forward->sums);
    attn_scratch_destroy(forward->own_scratch);
    free(forward);
}

void attn_forward_execute(attn_forward *forward, const attn_forward_buffers *buffers)
{
    attn_task_forward *const run = forward->kernel->forward[forward->setup.problem->dtype];

    if (forward->decode != NULL) {
        attn_decode_execute(forward->decode, buffers, forward->scratch);
        return;
    }
#pragma omp parallel num_threads(forward->setup.threads)
    {
        const int thread = omp_get_thread_num();
        void *scratch = attn_scratch_at(forward->scratch, thread);

#pragma omp for schedule(dynamic, 1)
        for (int64_t t = 0; t < forward->task_count; t++) {
            attn_progress_make(&buffers->progress, thread);
            run(&forward->setup, buffers, &forward->tasks[t], scratch);
        }
    }
}

size_t attn_forward_bytes(const attn_forward *forward)
{
    const size_t sums = forward->sums != NULL ? (size_t)(forward->rows.rows + 1) * sizeof *forward->sums : 0;

    return (size_t)forward->task_count * sizeof *forward->tasks + sums + attn_scratch_bytes(forward->own_scratch) +
           attn_decode_bytes(forward->decode);
}

int64_t attn_forward_pairs(const attn_forward *forward)
{
    return forward->pairs;
}
