/* The keys of a task of decoding, block by block. */
#include "kernel/decode.h"

/* Enters the next part that has keys. */
static void enter_part(attn_decode_cursor *cursor)
{
    const attn_interval seen = cursor->task->seen;

    while (cursor->row == cursor->end) {
        const attn_segments *rows = cursor->setup->part_rows[++cursor->part];

        cursor->row = attn_segments_below(rows, seen.lo);
        cursor->end = attn_segments_below(rows, seen.hi);
    }
}

attn_decode_cursor attn_decode_open(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                                    const attn_decode_task *task)
{
    return (attn_decode_cursor){.setup = setup,
                                .buffers = buffers,
                                .task = task,
                                .part = task->part,
                                .row = task->row,
                                .end = attn_segments_below(setup->part_rows[task->part], task->seen.hi),
                                .left = task->keys};
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Appends keys that stand row_stride apart and have consecutive numbers. */
static void add_keys(const attn_decode_cursor *cursor, int64_t position, int64_t count, attn_decode_keys *keys)
{
    const attn_forward_buffers *buffers = cursor->buffers;
    const attn_array *k = &buffers->k[cursor->part], *v = &buffers->v[cursor->part];
    const attn_task *rows = &cursor->task->rows;
    const size_t element = attn_dtype_size(cursor->setup->problem->dtype);
    const int64_t k_place =
        attn_part_place(cursor->setup, buffers, cursor->part, k, rows->b, rows->kv_head, cursor->row);
    const int64_t v_place =
        attn_part_place(cursor->setup, buffers, cursor->part, v, rows->b, rows->kv_head, cursor->row);

    for (int64_t n = 0; n < count; n++) {
        keys->k[keys->count + n] = (const char *)k->data + (size_t)(k_place + n * k->row_stride) * element;
        keys->v[keys->count + n] = (const char *)v->data + (size_t)(v_place + n * v->row_stride) * element;
        keys->position[keys->count + n] = position + n;
    }
    keys->lowest = smaller(keys->lowest, position);
    keys->highest = position + count - 1 > keys->highest ? position + count - 1 : keys->highest;
    keys->count += count;
}

void attn_decode_next(attn_decode_cursor *cursor, attn_decode_keys *keys)
{
    keys->count = 0;
    keys->lowest = INT64_MAX;
    keys->highest = -1;
    while (cursor->left > 0 && keys->count < ATTN_DECODE_BLOCK) {
        const attn_segment *segment;
        int64_t run = smaller(cursor->left, ATTN_DECODE_BLOCK - keys->count);

        enter_part(cursor);
        segment = &cursor->setup->part_rows[cursor->part]
                       ->list[attn_segments_find(cursor->setup->part_rows[cursor->part], cursor->row)];
        run = smaller(run, smaller(cursor->end, segment->offset + segment->length) - cursor->row);
        run = attn_part_run(cursor->setup, cursor->row, run);
        add_keys(cursor, segment->begin + (cursor->row - segment->offset), run, keys);
        cursor->row += run;
        cursor->left -= run;
    }
}
