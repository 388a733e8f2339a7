/* Which rows a check looks at. */
#include <attn/dist.h>
#include <attn/random.h>

#include "core/checked.h"
#include "plan/part.h"

#include <stdlib.h>

/* A list under construction. */
typedef struct row_list {
    attn_row *rows;
    int64_t count, room;
    uint64_t seed, drawn; /* numbers drawn so far */
} row_list;

static int64_t draw(row_list *list, int64_t bound)
{
    return attn_random_below(list->seed, ATTN_STREAM_SAMPLE_ROWS, list->drawn++, bound);
}

static void add(row_list *list, int64_t b, int64_t h, int64_t i)
{
    list->rows[list->count++] = (attn_row){.b = b, .h = h, .i = i};
}

static void add_all(row_list *list, const attn_shape *shape)
{
    for (int64_t b = 0; b < shape->batch; b++)
        for (int64_t h = 0; h < shape->heads; h++)
            for (int64_t i = 0; i < shape->seq; i++)
                add(list, b, h, i);
}

/* One row of each rank that computes any. */
static attn_status add_of_each_rank(row_list *list, const attn_plan *plan, attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;

    for (int ps = 0; ps < plan->grid.seq; ps++) {
        attn_segments *rows;
        const attn_status status = attn_layout_queries(plan->layout, &plan->problem, plan->grid.seq, ps, &rows, error);

        if (status != ATTN_OK)
            return status;
        for (int ph = 0; ph < plan->grid.head && rows->rows > 0; ph++) {
            const int64_t head = attn_share_begin(shape->heads, plan->grid.head, ph);
            const int64_t heads = attn_share_begin(shape->heads, plan->grid.head, ph + 1) - head;

            if (heads > 0) {
                const int64_t b = draw(list, shape->batch), h = head + draw(list, heads);

                add(list, b, h, attn_segments_global(rows, draw(list, rows->rows)));
            }
        }
        attn_segments_destroy(rows);
    }
    return ATTN_OK;
}

attn_status attn_sample_rows(const attn_plan *plan, int64_t count, uint64_t seed, attn_row **rows, int64_t *made,
                             attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const int64_t all = shape->batch * shape->heads * shape->seq;
    row_list list = {.seed = seed, .room = all <= count ? all : count + plan->ranks + 1};
    attn_status status = ATTN_OK;

    *rows = NULL;
    *made = 0;
    list.rows = attn_calloc_array(list.room + 1, sizeof *list.rows);
    if (list.rows == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a list of %lld rows", (long long)list.room);
    if (all <= count) {
        add_all(&list, shape);
    } else {
        status = add_of_each_rank(&list, plan, error);
        add(&list, shape->batch - 1, shape->heads - 1, shape->seq - 1);
        while (list.count < count) {
            const int64_t b = draw(&list, shape->batch), h = draw(&list, shape->heads);

            add(&list, b, h, draw(&list, shape->seq));
        }
    }
    if (status != ATTN_OK) {
        free(list.rows);
        return status;
    }
    *rows = list.rows;
    *made = list.count;
    return ATTN_OK;
}
