/* Linear projections of every type in loops of our own, at the widest instruction-set level of this CPU. */
#include "layer/linear_plain.h"
#include "layer/linear_backend.h"

#include <attn/memory.h>

#include "core/checked.h"
#include "layer/linear_sums.h"

#include <omp.h>
#include <stdlib.h>

typedef struct plain_state {
    const plain_level *level;
    char *scratch; /* [threads][scratch_bytes] */
    size_t scratch_bytes;
} plain_state;

static int64_t up_to(int64_t value, int64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* For a tile's sums, both operands and lines on their way to them, or a bias. */
static size_t scratch_of_task(const plain_level *level, attn_dtype accumulator)
{
    const int64_t rows = up_to(PLAIN_TILE, level->unit_rows(accumulator));
    const int64_t columns = up_to(PLAIN_TILE, level->unit_columns(accumulator));
    const int64_t widest_strip = level->unit_rows(accumulator) > level->unit_columns(accumulator)
                                     ? level->unit_rows(accumulator)
                                     : level->unit_columns(accumulator);
    const int64_t elements = rows * columns + (rows + columns + widest_strip) * PLAIN_DEPTH;

    return (size_t)up_to(elements * (int64_t)attn_dtype_size(accumulator), ATTN_ALIGNMENT);
}

attn_status attn_linear_plain_create(const plain_level *level, attn_linear *linear, attn_error *error)
{
    plain_state *const state = attn_calloc_array(1, sizeof *state);

    linear->state = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a linear projection");
    state->level = level;
    state->scratch_bytes = scratch_of_task(state->level, attn_dtype_accumulator(linear->setup.dtype));
    state->scratch = attn_aligned_alloc((size_t)linear->setup.threads * state->scratch_bytes);
    if (state->scratch == NULL) {
        free(state);
        return attn_error_set(error, ATTN_MEMORY, "no memory for the scratch of %d threads of a linear projection",
                              linear->setup.threads);
    }
    linear->state = state;
    return ATTN_OK;
}

void attn_linear_plain_destroy(void *memory)
{
    plain_state *const state = memory;

    if (state != NULL)
        free(state->scratch);
    free(state);
}

/* Even tiles of whole units, small enough that the threads get several each. */
static void cut(plain_product *p, const plain_level *level, int threads)
{
    const attn_dtype accumulator = attn_dtype_accumulator(p->a.dtype);
    const int64_t unit_rows = level->unit_rows(accumulator), unit_columns = level->unit_columns(accumulator);
    int64_t down = (p->rows + PLAIN_TILE - 1) / PLAIN_TILE, across = (p->columns + PLAIN_TILE - 1) / PLAIN_TILE;

    while (threads > 1 && down * across < 4 * (int64_t)threads) {
        const int64_t tile_rows = p->rows / down, tile_columns = p->columns / across;

        if (tile_rows < 4 * unit_rows && tile_columns < 4 * unit_columns)
            break;
        if (tile_rows * unit_columns > tile_columns * unit_rows)
            down *= 2;
        else
            across *= 2;
    }
    p->tile_rows = up_to((p->rows + down - 1) / down, unit_rows);
    p->tile_columns = up_to((p->columns + across - 1) / across, unit_columns);
    p->tiles_across = (p->columns + p->tile_columns - 1) / p->tile_columns;
}

static void multiply(const attn_linear *linear, plain_product p)
{
    const plain_state *const state = linear->state;
    int64_t tiles;

    cut(&p, state->level, linear->setup.threads);
    tiles = p.tiles_across * ((p.rows + p.tile_rows - 1) / p.tile_rows);
#pragma omp parallel num_threads(linear->setup.threads)
    {
        char *const scratch = state->scratch + (size_t)omp_get_thread_num() * state->scratch_bytes;

#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < tiles; tile++)
            state->level->task(&p, tile, scratch);
    }
}

/* Row-major, and turned. */
static plain_matrix as_is(attn_dtype dtype, const void *data, int64_t stride)
{
    return (plain_matrix){dtype, data, stride, 1};
}

static plain_matrix transposed(attn_dtype dtype, const void *data, int64_t stride)
{
    return (plain_matrix){dtype, data, 1, stride};
}

void attn_linear_plain_forward(attn_linear *linear, const void *x, const void *w, const void *b, void *y)
{
    const attn_linear_setup *const s = &linear->setup;

    multiply(linear, (plain_product){.rows = s->rows,
                                     .columns = s->out,
                                     .depth = s->in,
                                     .a = as_is(s->dtype, x, s->x_stride),
                                     .b = transposed(s->dtype, w, s->w_stride),
                                     .bias = s->bias ? b : NULL,
                                     .c = y,
                                     .c_dtype = s->y_dtype,
                                     .c_stride = s->y_stride});
}

void attn_linear_plain_data(attn_linear *linear, const void *dy, const void *w, attn_dtype dx_dtype, bool add, void *dx)
{
    const attn_linear_setup *const s = &linear->setup;

    multiply(linear, (plain_product){.rows = s->rows,
                                     .columns = s->in,
                                     .depth = s->out,
                                     .a = as_is(s->dtype, dy, s->y_stride),
                                     .b = as_is(s->dtype, w, s->w_stride),
                                     .c = dx,
                                     .c_dtype = dx_dtype,
                                     .c_stride = s->x_stride,
                                     .add = add});
}

void attn_linear_plain_weights(attn_linear *linear, const void *dy, const void *x, void *dw, void *db)
{
    const attn_linear_setup *const s = &linear->setup;

    multiply(linear, (plain_product){.rows = s->out,
                                     .columns = s->in,
                                     .depth = s->rows,
                                     .a = transposed(s->dtype, dy, s->y_stride),
                                     .b = as_is(s->dtype, x, s->x_stride),
                                     .c = dw,
                                     .c_dtype = attn_dtype_accumulator(s->dtype),
                                     .c_stride = s->in});
    if (db != NULL)
        attn_linear_sum_columns(s->dtype, dy, s->rows, s->out, s->y_stride, s->threads, db);
}
