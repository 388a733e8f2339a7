/* Few query rows against many keys: ranges of keys as tasks, their partial results, and how those merge. */
#include "kernel/decode.h"
#include "kernel/scratch.h"

#include "core/checked.h"
#include "kernel/head_group.h"
#include "kernel/merge.h"

#include <attn/memory.h>

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

/* Keys of a range. About RANGES of them all together, so that there is work for many threads; each long enough for what
 * a task costs besides its keys. A multiple of the block. */
enum { RANGES = 128, LEAST_KEYS = 256, MOST_KEYS = 4096 };

/* The same for ranges of a blocked kernel, whose partial results have more rows; ends that are multiples of its longest
 * block cut none of them. */
enum { WIDE_RANGES = 64, WIDE_LEAST_KEYS = 512, WIDE_BLOCK = 256 };

struct attn_decode {
    const attn_forward_setup *setup;
    attn_task_decode *run;          /* NULL: the tasks are those of a blocked kernel */
    attn_task_forward *run_blocked; /* with its setup, that of a partial result */
    attn_forward_setup blocked_setup;
    const attn_task *groups; /* [group_count] */
    int64_t *first_task;     /* [group_count + 1] */
    int64_t group_count;
    attn_decode_task *tasks; /* [task_count], those of a group one after the other, in the order of the keys */
    int64_t task_count, task_room;
    int64_t keys; /* most of a range, and for a blocked kernel the least of one with others after it */
    char
        *partials; /* [task_room] of o [rows_most][o_stride], lse [lse_stride], accumulator type; after `lead` elements,
                       so that where a blocked task counts its rows from is inside too */
    int64_t rows_most, o_stride, lse_stride, lead;
};

bool attn_decode_applies(const attn_kernel *kernel, const attn_forward_setup *setup)
{
    if (setup->deterministic || setup->problem->dropout > 0 || kernel->decode == NULL ||
        kernel->decode->decode[setup->problem->dtype] == NULL)
        return false;
    for (int64_t g = 0; g < attn_head_groups(setup); g++)
        if (setup->q_rows->rows > ATTN_DECODE_ROWS / attn_head_group_at(setup, g).heads)
            return false;
    return true;
}

bool attn_decode_cuts(const attn_kernel *kernel, const attn_forward_setup *setup)
{
    return !setup->deterministic && kernel->decode != NULL && setup->q_rows->rows <= ATTN_DECODE_SEQ &&
           !attn_decode_applies(kernel, setup);
}

/* Keys between the first and the last that some row of a batch sees. */
static attn_interval seen_keys(const attn_forward_setup *setup, int64_t b)
{
    const attn_problem *problem = setup->problem;
    const attn_segments *rows = setup->q_rows;

    if (rows->rows == 0)
        return (attn_interval){0, 0};
    return (attn_interval){
        attn_mask_row(&problem->mask, &problem->shape, b, attn_segments_global(rows, 0)).lo,
        attn_mask_row(&problem->mask, &problem->shape, b, attn_segments_global(rows, rows->rows - 1)).hi};
}

static int64_t count_keys(const attn_forward_setup *setup, attn_interval seen)
{
    int64_t keys = 0;

    for (int64_t p = 0; p < setup->part_count; p++)
        keys += attn_segments_below(setup->part_rows[p], seen.hi) - attn_segments_below(setup->part_rows[p], seen.lo);
    return keys;
}

/* The most keys of the parts that the rows may see, wherever they move. */
static int64_t most_keys(const attn_forward_setup *setup)
{
    const attn_mask *mask = &setup->problem->mask;
    const int64_t right = mask->causal ? 0 : mask->window_right;
    int64_t keys = 0;

    for (int64_t p = 0; p < setup->part_count; p++)
        keys += setup->part_rows[p]->rows;
    /* Differences, as a window may be near INT64_MAX. */
    if (mask->window_left < 0 || right < 0 || mask->window_left >= keys - setup->q_rows->rows ||
        right >= keys - setup->q_rows->rows - mask->window_left)
        return keys;
    return mask->window_left + right + setup->q_rows->rows;
}

static int64_t keys_of_group(const attn_forward_setup *setup, const attn_task *group)
{
    return setup->moves ? most_keys(setup) : count_keys(setup, seen_keys(setup, group->b));
}

static int64_t choose_keys(const attn_forward_setup *setup, const attn_task *groups, int64_t count, bool blocked)
{
    int64_t keys = 0;

    for (int64_t n = 0; n < count; n++)
        keys += keys_of_group(setup, &groups[n]);
    if (blocked) {
        keys = (keys / WIDE_RANGES + WIDE_BLOCK - 1) / WIDE_BLOCK * WIDE_BLOCK;
        return keys < WIDE_LEAST_KEYS ? WIDE_LEAST_KEYS : keys;
    }
    keys = (keys / RANGES + ATTN_DECODE_BLOCK - 1) / ATTN_DECODE_BLOCK * ATTN_DECODE_BLOCK;
    return keys < LEAST_KEYS ? LEAST_KEYS : keys < MOST_KEYS ? keys : MOST_KEYS;
}

/* Cuts the keys of a group into ranges of at most `most` keys. Returns the tasks that this took; tasks may be NULL. */
static int64_t cut_keys(const attn_forward_setup *setup, const attn_task *group, int64_t most, attn_decode_task *tasks)
{
    const attn_interval seen = seen_keys(setup, group->b);
    int64_t count = 0, room = 0; /* in the last task */

    for (int64_t p = 0; p < setup->part_count; p++) {
        const int64_t end = attn_segments_below(setup->part_rows[p], seen.hi);
        int64_t row = attn_segments_below(setup->part_rows[p], seen.lo);

        while (row < end) {
            int64_t taken;

            if (room == 0) {
                if (tasks != NULL)
                    tasks[count] = (attn_decode_task){.rows = *group, .seen = seen, .part = p, .row = row};
                count++;
                room = most;
            }
            taken = end - row < room ? end - row : room;
            if (tasks != NULL)
                tasks[count - 1].keys += taken;
            room -= taken;
            row += taken;
        }
    }
    return count;
}

/* The least global number x up to which there are so many keys of an interval before x, or its end. */
static int64_t find_end(const attn_forward_setup *setup, attn_interval keys, int64_t count)
{
    int64_t low = keys.lo, high = keys.hi;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;

        if (count_keys(setup, (attn_interval){keys.lo, middle}) < count)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Cuts the keys of a task of a blocked kernel, as cut_keys does, but by their global numbers. */
static int64_t cut_blocked(const attn_forward_setup *setup, const attn_task *group, int64_t most,
                           attn_decode_task *tasks)
{
    const attn_interval seen = seen_keys(setup, group->b);
    int64_t count = 0, begin = seen.lo;

    while (count_keys(setup, (attn_interval){begin, seen.hi}) > 0) {
        int64_t end = find_end(setup, (attn_interval){begin, seen.hi}, most);

        end = (end + WIDE_BLOCK - 1) / WIDE_BLOCK * WIDE_BLOCK;
        end = end < seen.hi ? end : seen.hi;
        if (tasks != NULL) {
            tasks[count].rows = *group;
            tasks[count].rows.keys = (attn_interval){begin, end};
        }
        count++;
        begin = end;
    }
    return count;
}

static int64_t cut_group(const attn_decode *decode, const attn_task *group, int64_t most, attn_decode_task *tasks)
{
    return decode->run == NULL ? cut_blocked(decode->setup, group, most, tasks)
                               : cut_keys(decode->setup, group, most, tasks);
}

/* Ranges for which there must be room: all but the last of a group have at least decode->keys keys. */
static int64_t count_ranges(const attn_decode *decode, const attn_task *group)
{
    return decode->setup->moves ? most_keys(decode->setup) / decode->keys + 1
                                : cut_group(decode, group, decode->keys, NULL);
}

/* What a blocked kernel is told, whose o is a partial result. */
static void open_blocked(attn_decode *decode, const attn_kernel *kernel)
{
    const attn_forward_setup *setup = decode->setup;

    decode->run_blocked = kernel->forward[setup->problem->dtype];
    decode->blocked_setup = *setup;
    decode->blocked_setup.o_dtype = attn_dtype_accumulator(setup->problem->dtype);
    decode->blocked_setup.add_sinks = false;
    for (int64_t n = 0; n < decode->group_count; n++) {
        const int64_t lead = (decode->groups[n].head + decode->groups[n].row) * decode->o_stride;

        decode->lead = lead > decode->lead ? lead : decode->lead;
    }
}

static size_t partial_elements(const attn_decode *decode)
{
    return (size_t)(decode->rows_most * decode->o_stride + decode->lse_stride);
}

attn_status attn_decode_create(const attn_kernel *kernel, const attn_forward_setup *setup, const attn_task *groups,
                               int64_t count, attn_decode **out, attn_error *error)
{
    const attn_problem *problem = setup->problem;
    const bool blocked = attn_decode_cuts(kernel, setup);
    const size_t element = attn_dtype_size(attn_dtype_accumulator(problem->dtype));
    const int64_t line = ATTN_DECODE_O_BYTES / (int64_t)element;
    attn_decode *decode = calloc(1, sizeof *decode);
    size_t bytes = 0;
    attn_status status;

    *out = NULL;
    if (decode == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to plan");
    decode->setup = setup;
    decode->run = blocked ? NULL : kernel->decode->decode[problem->dtype];
    decode->groups = groups;
    decode->group_count = count;
    decode->keys = choose_keys(setup, groups, count, blocked);
    for (int64_t n = 0; n < count; n++)
        decode->rows_most = groups[n].rows > decode->rows_most ? groups[n].rows : decode->rows_most;
    decode->o_stride = (problem->shape.v_head_dim + line - 1) / line * line;
    decode->lse_stride = (decode->rows_most + line - 1) / line * line;
    if (blocked)
        open_blocked(decode, kernel);
    decode->first_task = attn_calloc_array(count + 1, sizeof *decode->first_task);
    if (decode->first_task != NULL) {
        for (int64_t n = 0; n < count; n++)
            decode->task_room += count_ranges(decode, &groups[n]);
        decode->tasks = attn_calloc_array(decode->task_room, sizeof *decode->tasks);
        if (attn_size_multiply((size_t)decode->task_room, partial_elements(decode) * element, &bytes))
            decode->partials = attn_aligned_alloc(bytes + (size_t)decode->lead * element);
    }
    if (decode->tasks == NULL || decode->partials == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the partial results of ranges of %lld keys",
                                (long long)decode->keys);
        attn_decode_destroy(decode);
        return status;
    }
    attn_decode_cut(decode);
    *out = decode;
    return ATTN_OK;
}

void attn_decode_cut(attn_decode *decode)
{
    decode->task_count = 0;
    for (int64_t n = 0; n < decode->group_count; n++) {
        decode->first_task[n] = decode->task_count;
        decode->task_count += cut_group(decode, &decode->groups[n], decode->keys, decode->tasks + decode->task_count);
    }
    decode->first_task[decode->group_count] = decode->task_count;
    assert(decode->task_count <= decode->task_room);
}

void attn_decode_destroy(attn_decode *decode)
{
    if (decode == NULL)
        return;
    free(decode->tasks);
    free(decode->first_task);
    free(decode->partials);
    free(decode);
}

/* The partial result of a task for a row: o, and where lse stands. */
static char *partial_o(const attn_decode *decode, int64_t task, int64_t row)
{
    const size_t element = attn_dtype_size(attn_dtype_accumulator(decode->setup->problem->dtype));

    return decode->partials +
           ((size_t)(decode->lead + row * decode->o_stride) + (size_t)task * partial_elements(decode)) * element;
}

static char *partial_lse(const attn_decode *decode, int64_t task, int64_t row)
{
    const size_t element = attn_dtype_size(attn_dtype_accumulator(decode->setup->problem->dtype));

    return partial_o(decode, task, decode->rows_most) + (size_t)row * element;
}

/* Merges a row's partial results, neighbours first: as few roundings one after the other as there can be. */
static void merge_row(const attn_decode *decode, int64_t group, int64_t row)
{
    const attn_dtype dtype = attn_dtype_accumulator(decode->setup->problem->dtype);
    const int64_t first = decode->first_task[group], end = decode->first_task[group + 1];

    for (int64_t step = 1; step < end - first; step *= 2)
        for (int64_t t = first; t + step < end; t += 2 * step)
            attn_merge(dtype, 1, decode->setup->problem->shape.v_head_dim, partial_o(decode, t, row), decode->o_stride,
                       partial_lse(decode, t, row), NULL, partial_o(decode, t + step, row), decode->o_stride,
                       partial_lse(decode, t + step, row));
}

/* Merges, adds the sink, and writes o and lse of a row. */
static void finish_row(const attn_decode *decode, const attn_forward_buffers *buffers, int64_t group, int64_t row)
{
    const attn_forward_setup *setup = decode->setup;
    const attn_problem *problem = setup->problem;
    const attn_task *rows = &decode->groups[group];
    const attn_dtype dtype = attn_dtype_accumulator(problem->dtype);
    const int64_t Dv = problem->shape.v_head_dim, head = attn_task_head(rows, rows->row + row);
    const int64_t r = attn_task_row(rows, rows->row + row);
    const attn_array *o = &buffers->o, *lse = &buffers->lse;
    const int64_t o_place = rows->b * o->batch_stride + head * o->head_stride + r * o->row_stride;
    const int64_t lse_place = rows->b * lse->batch_stride + head * lse->head_stride + r * lse->row_stride;
    const bool sink = setup->add_sinks && problem->score.sinks != NULL;
    const int64_t task = decode->first_task[group];

    if (task == decode->first_task[group + 1]) { /* no keys */
        attn_store(dtype, lse->data, (size_t)lse_place,
                   sink ? problem->score.sinks[setup->head_begin + head] : -INFINITY);
        for (int64_t d = 0; d < Dv; d++)
            attn_store(setup->o_dtype, o->data, (size_t)(o_place + d), 0);
        return;
    }
    merge_row(decode, group, row);
    if (sink)
        attn_merge_sink(dtype, Dv, partial_o(decode, task, row), partial_lse(decode, task, row),
                        problem->score.sinks[setup->head_begin + head]);
    attn_convert(dtype, (char *)lse->data + (size_t)lse_place * attn_dtype_size(dtype), dtype,
                 partial_lse(decode, task, row), 1);
    attn_convert(setup->o_dtype, (char *)o->data + (size_t)o_place * attn_dtype_size(setup->o_dtype), dtype,
                 partial_o(decode, task, row), (size_t)Dv);
}

/* A blocked kernel finds folded row f of a task where row f / heads of head `head + f % heads` stands. */
static void run_blocked(const attn_decode *decode, const attn_forward_buffers *buffers, int64_t t, void *scratch)
{
    const attn_task *rows = &decode->tasks[t].rows;
    const size_t element = attn_dtype_size(decode->blocked_setup.o_dtype);
    const int64_t before = rows->head + rows->row;
    attn_forward_buffers partial = *buffers;

    partial.o = (attn_array){.data = partial_o(decode, t, 0) - (size_t)(before * decode->o_stride) * element,
                             .head_stride = decode->o_stride,
                             .row_stride = rows->heads * decode->o_stride};
    partial.lse = (attn_array){
        .data = partial_lse(decode, t, 0) - (size_t)before * element, .head_stride = 1, .row_stride = rows->heads};
    decode->run_blocked(&decode->blocked_setup, &partial, rows, scratch);
}

static void run_task(const attn_decode *decode, const attn_forward_buffers *buffers, int64_t t, void *scratch)
{
    if (decode->run == NULL)
        run_blocked(decode, buffers, t, scratch);
    else
        decode->run(decode->setup, buffers, &decode->tasks[t], partial_o(decode, t, 0), decode->o_stride,
                    partial_lse(decode, t, 0), scratch);
}

void attn_decode_execute(attn_decode *decode, const attn_forward_buffers *buffers, const attn_scratch *scratch)
{
#pragma omp parallel num_threads(decode->setup->threads)
    {
        const int thread = omp_get_thread_num();
        void *const mine = attn_scratch_at(scratch, thread);

#pragma omp for schedule(dynamic, 1)
        for (int64_t t = 0; t < decode->task_count; t++) {
            attn_progress_make(&buffers->progress, thread);
            run_task(decode, buffers, t, mine);
        }
#pragma omp for schedule(static)
        for (int64_t n = 0; n < decode->group_count * decode->rows_most; n++)
            if (n % decode->rows_most < decode->groups[n / decode->rows_most].rows)
                finish_row(decode, buffers, n / decode->rows_most, n % decode->rows_most);
    }
}

size_t attn_decode_bytes(const attn_decode *decode)
{
    size_t partial;

    if (decode == NULL)
        return 0;
    partial = partial_elements(decode) * attn_dtype_size(attn_dtype_accumulator(decode->setup->problem->dtype));
    return (size_t)decode->lead * attn_dtype_size(attn_dtype_accumulator(decode->setup->problem->dtype)) +
           (size_t)decode->task_room * (sizeof *decode->tasks + partial) +
           (size_t)(decode->group_count + 1) * sizeof *decode->first_task;
}
