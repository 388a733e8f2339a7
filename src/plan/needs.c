#include "plan/needs.h"

#include <attn/memory.h>

#include "core/checked.h"
#include "plan/part.h"

#include <stdlib.h>

/* Both ends never decrease with the row (attn_mask_row), and between two rows that follow each other no key is left
 * out: with a window each row's interval, before it is cut to [0, kv_len), holds its own diagonal key or touches it.
 * Rows that see nothing stand at the ends, and there lo = hi. */
attn_interval attn_needs_keys(const attn_problem *problem, int64_t b, int64_t first, int64_t count)
{
    const attn_interval from = attn_mask_row(&problem->mask, &problem->shape, b, first);
    const attn_interval to = attn_mask_row(&problem->mask, &problem->shape, b, first + count - 1);

    return (attn_interval){from.lo, to.hi > from.lo ? to.hi : from.lo};
}

/* The keys that part i sees in batch b, as rising intervals that do not touch; list has room for one each segment. */
static int64_t list_keys(const attn_problem *problem, int64_t b, const attn_segments *rows, attn_interval *list)
{
    int64_t count = 0;

    for (int64_t s = 0; s < rows->count; s++) {
        const attn_interval keys = attn_needs_keys(problem, b, rows->list[s].begin, rows->list[s].length);

        if (keys.lo == keys.hi)
            continue;
        if (count > 0 && keys.lo <= list[count - 1].hi)
            list[count - 1].hi = keys.hi > list[count - 1].hi ? keys.hi : list[count - 1].hi;
        else
            list[count++] = keys;
    }
    return count;
}

static bool touches(const attn_segments *rows, const attn_interval *list, int64_t count)
{
    for (int64_t n = 0; n < count; n++)
        if (attn_segments_below(rows, list[n].hi) > attn_segments_below(rows, list[n].lo))
            return true;
    return false;
}

/* The row of the matrix of part i. */
static void find_needs(const attn_problem *problem, attn_needs *needs, int i, attn_interval *list)
{
    const int64_t batches = problem->mask.kv_len != NULL ? problem->shape.batch : 1;

    for (int64_t b = 0; b < batches; b++) {
        const int64_t count = list_keys(problem, b, needs->q_rows[i], list);

        for (int j = 0; j < needs->parts; j++)
            if (!attn_needs_see(needs, i, j))
                needs->need[i * needs->parts + j] = touches(needs->kv_rows[j], list, count);
    }
}

static void find_reach(attn_needs *needs)
{
    const int parts = needs->parts;

    for (int j = 0; j < parts; j++) {
        needs->reach[j] = -1;
        for (int away = 0; away < parts; away++) {
            if (attn_needs_see(needs, (j + away) % parts, j))
                needs->reach[j] = away;
            if (away == 0 || !attn_needs_see(needs, j, (j + away) % parts))
                continue;
            needs->q_reach[j] = away;
            if (needs->q_first[j] == 0)
                needs->q_first[j] = away;
        }
    }
}

/* Of so many parts; nothing is needed and no rows are known yet. */
static attn_status allocate(int parts, attn_needs **out, attn_error *error)
{
    attn_needs *needs = calloc(1, sizeof *needs);

    if (needs != NULL) {
        needs->parts = parts;
        needs->need = attn_calloc_array((int64_t)parts * parts, sizeof *needs->need);
        needs->reach = attn_calloc_array(parts, sizeof *needs->reach);
        needs->q_first = attn_calloc_array(parts, sizeof *needs->q_first);
        needs->q_reach = attn_calloc_array(parts, sizeof *needs->q_reach);
        needs->q_rows = attn_calloc_array(parts, sizeof(attn_segments *));
        needs->kv_rows = attn_calloc_array(parts, sizeof(attn_segments *));
    }
    *out = needs;
    if (needs == NULL || needs->need == NULL || needs->reach == NULL || needs->q_first == NULL ||
        needs->q_reach == NULL || needs->q_rows == NULL || needs->kv_rows == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for what %d parts need of each other", parts);
    return ATTN_OK;
}

/* Finds what parts whose rows are known need. */
static attn_status find(const attn_problem *problem, attn_needs *needs, attn_error *error)
{
    attn_interval *list;
    int64_t most = 0;

    for (int part = 0; part < needs->parts; part++)
        most = needs->q_rows[part]->count > most ? needs->q_rows[part]->count : most;
    list = attn_calloc_array(most + 1, sizeof *list);
    if (list == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld intervals", (long long)most);
    for (int i = 0; i < needs->parts; i++)
        find_needs(problem, needs, i, list);
    find_reach(needs);
    free(list);
    return ATTN_OK;
}

attn_status attn_needs_of_rows(const attn_problem *problem, int parts, attn_needs_deal *rows_of, const void *context,
                               attn_needs **out, attn_error *error)
{
    attn_needs *needs;
    attn_status status = allocate(parts, &needs, error);

    *out = NULL;
    for (int part = 0; part < parts && status == ATTN_OK; part++)
        status = rows_of(context, part, &needs->q_rows[part], &needs->kv_rows[part], error);
    if (status == ATTN_OK)
        status = find(problem, needs, error);
    if (status != ATTN_OK) {
        attn_needs_destroy(needs);
        return status;
    }
    *out = needs;
    return ATTN_OK;
}

static attn_status rows_of_layout(const void *context, int part, attn_segments **q_rows, attn_segments **kv_rows,
                                  attn_error *error)
{
    const attn_plan *plan = context;
    const int parts = plan->grid.seq;
    const attn_status status = attn_layout_queries(plan->layout, &plan->problem, parts, part, q_rows, error);

    return status == ATTN_OK ? attn_layout_keys(plan->layout, &plan->problem, parts, part, kv_rows, error) : status;
}

attn_status attn_needs_create(const attn_plan *plan, attn_needs **out, attn_error *error)
{
    return attn_needs_of_rows(&plan->problem, plan->grid.seq, rows_of_layout, plan, out, error);
}

static int rising(const void *a, const void *b)
{
    const int64_t x = ((const attn_segment *)a)->begin, y = ((const attn_segment *)b)->begin;

    return (x > y) - (x < y);
}

/* The rows of all parts of a member as one list. */
static attn_status merge_rows(attn_segments *const *rows, int parts, const int *member_of, int member,
                              attn_segments **out, attn_error *error)
{
    int64_t count = 0, *begins, *lengths;
    attn_segment *list;
    attn_status status;

    for (int part = 0; part < parts; part++)
        count += member_of[part] == member ? rows[part]->count : 0;
    list = attn_calloc_array(count, sizeof *list);
    begins = attn_calloc_array(count, sizeof *begins);
    lengths = attn_calloc_array(count, sizeof *lengths);
    if (list == NULL || begins == NULL || lengths == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld segments", (long long)count);
    } else {
        count = 0;
        for (int part = 0; part < parts; part++)
            for (int64_t s = 0; member_of[part] == member && s < rows[part]->count; s++)
                list[count++] = rows[part]->list[s];
        qsort(list, (size_t)count, sizeof *list, rising);
        for (int64_t s = 0; s < count; s++) {
            begins[s] = list[s].begin;
            lengths[s] = list[s].length;
        }
        status = attn_segments_create(count, begins, lengths, out, error);
    }
    free(list);
    free(begins);
    free(lengths);
    return status;
}

attn_status attn_needs_merge(const attn_needs *needs, int members, const int *member_of, attn_needs **out,
                             attn_error *error)
{
    attn_needs *merged;
    attn_status status = allocate(members, &merged, error);

    *out = NULL;
    for (int m = 0; m < members && status == ATTN_OK; m++) {
        status = merge_rows(needs->q_rows, needs->parts, member_of, m, &merged->q_rows[m], error);
        if (status == ATTN_OK)
            status = merge_rows(needs->kv_rows, needs->parts, member_of, m, &merged->kv_rows[m], error);
    }
    if (status != ATTN_OK) {
        attn_needs_destroy(merged);
        return status;
    }
    for (int i = 0; i < needs->parts; i++)
        for (int j = 0; j < needs->parts; j++)
            if (attn_needs_see(needs, i, j))
                merged->need[member_of[i] * members + member_of[j]] = true;
    find_reach(merged);
    *out = merged;
    return ATTN_OK;
}

void attn_needs_destroy(attn_needs *needs)
{
    if (needs == NULL)
        return;
    for (int part = 0; part < needs->parts; part++) {
        if (needs->q_rows != NULL)
            attn_segments_destroy(needs->q_rows[part]);
        if (needs->kv_rows != NULL)
            attn_segments_destroy(needs->kv_rows[part]);
    }
    free(needs->need);
    free(needs->reach);
    free(needs->q_first);
    free(needs->q_reach);
    free(needs->q_rows);
    free(needs->kv_rows);
    free(needs);
}

/* Batches differ by kv_len, which cuts all intervals of a batch at their ends: where it is largest all keys are seen
 * that any batch sees. */
static int64_t widest_batch(const attn_problem *problem)
{
    int64_t widest = 0;

    for (int64_t b = 1; problem->mask.kv_len != NULL && b < problem->shape.batch; b++)
        if (problem->mask.kv_len[b] > problem->mask.kv_len[widest])
            widest = b;
    return widest;
}

attn_status attn_needs_places(const attn_problem *problem, const attn_needs *needs, int i, int j, attn_segments **out,
                              attn_error *error)
{
    const attn_segments *rows = needs->q_rows[i], *keys = needs->kv_rows[j];
    attn_interval *list = attn_calloc_array(rows->count + 1, sizeof *list);
    int64_t *begins = attn_calloc_array(rows->count + 1, sizeof *begins);
    int64_t *lengths = attn_calloc_array(rows->count + 1, sizeof *lengths);
    attn_status status;

    *out = NULL;
    if (list == NULL || begins == NULL || lengths == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld intervals", (long long)rows->count);
    } else {
        const int64_t count = list_keys(problem, widest_batch(problem), rows, list);

        for (int64_t n = 0; n < count; n++) {
            begins[n] = attn_segments_below(keys, list[n].lo);
            lengths[n] = attn_segments_below(keys, list[n].hi) - begins[n];
        }
        status = attn_segments_create(count, begins, lengths, out, error);
    }
    free(list);
    free(begins);
    free(lengths);
    return status;
}

attn_status attn_needs_rows(const attn_segments *part, const attn_segments *places, attn_segments **out,
                            attn_error *error)
{
    const int64_t most = part->count + places->count;
    int64_t *begins = attn_calloc_array(most + 1, sizeof *begins);
    int64_t *lengths = attn_calloc_array(most + 1, sizeof *lengths);
    attn_status status;
    int64_t count = 0;

    *out = NULL;
    if (begins == NULL || lengths == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld segments", (long long)most);
    } else {
        for (int64_t n = 0; n < places->count; n++) {
            const int64_t end = places->list[n].begin + places->list[n].length;

            for (int64_t place = places->list[n].begin; place < end; place += lengths[count++]) {
                const attn_segment *from = &part->list[attn_segments_find(part, place)];
                const int64_t left = from->offset + from->length - place;

                begins[count] = from->begin + (place - from->offset);
                lengths[count] = left < end - place ? left : end - place;
            }
        }
        status = attn_segments_create(count, begins, lengths, out, error);
    }
    free(begins);
    free(lengths);
    return status;
}
