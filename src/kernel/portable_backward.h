/* The backward pass of the portable kernel for one arithmetic type; included by portable_level.h after portable_task.h.
 *
 * The form is that of the forward pass with keys in the lanes: VECTORS vectors of keys are a panel, one key a lane. For
 * each block of query rows (Dao et al. 2022, algorithm 4, with the loops over keys outside):
 *
 *     S   [rows x lanes]  = Q K^T                     (product_of_rows: q comes as scalars)
 *     P                   = 2^(S log2(e) - lse)       (weigh)
 *     dS  [rows x lanes]  = P (dO V^T - delta)        (product_of_rows, then slope)
 *     dV^T [Dv x lanes]  += dO^T P                    (product_of_columns: so does do)
 *     dK^T [D x lanes]   += Q^T dS                    (so does q)
 *     dQ  [rows x D]     += dS K                      (product_of_keys: ds comes as scalars)
 *
 * A task owns dK and dV of its keys, which stay in cache transposed; P and dS are kept for a whole block of rows.
 * The includer defines what portable_task.h asks for.
 */
#ifndef BACKWARD_ROWS
#define BACKWARD_ROWS (128 / KEY_TILE * KEY_TILE) /* query rows of a block */
#define BACKWARD_KEYS 192                         /* most keys of a task */
#define BACKWARD_BYTES (3 << 19)                  /* of scratch memory, unless a single panel needs more */
#endif

#define VEC FN(vec)
#define INTS FN(ints)
#define WORK FN(backward_work)
#define PANEL FN(backward_panel)
#define WIDTH ((int)(VECTOR_BYTES / sizeof(REAL)))
#define LANES (VECTORS * WIDTH)
/* Elements from one column tile of the rows of q and do to the next, from one panel of P and dS, and of K, to the next:
 * a cache line more than they hold, because streams a power of two apart would fall into one set of the cache. */
#define LINE (64 / (int)sizeof(REAL))
#define TILE_STRIDE (BACKWARD_ROWS * VALUE_TILE + LINE)
#define WEIGHT_STRIDE (BACKWARD_ROWS * LANES + LINE)

/* Keys, one a lane. Lanes without a key repeat the last one, with weights of 0. Columns beyond D and Dv are 0. */
typedef struct PANEL {
    REAL *k, *v;        /* [padded D][LANES], [padded Dv][LANES] */
    REAL *dk, *dv;      /* sums, the same */
    REAL *p, *ds;       /* [BACKWARD_ROWS][LANES] weights and gradients of the scores */
    VEC place[VECTORS]; /* global number of each key less that of the first of the task, for ALiBi */
    INTS key[VECTORS];  /* number in the task */
    int from, to;       /* rows of the block, whole tiles, that may see a key of the panel */
} PANEL;

/* A task, and the block of query rows at hand. */
typedef struct WORK {
    const attn_backward_call *call;
    attn_backward_task *task;
    int64_t D, Dv, padded_D, padded_Dv; /* up to whole tiles */
    int64_t dq_columns;                 /* D up to whole panels */
    int panel_count;
    PANEL *panels;
    REAL *k_rows;       /* [dq_columns / LANES][panels LANES + LINE][LANES]: keys as rows */
    int64_t k_stride;   /* from one tile of columns to the next */
    REAL *q, *d_o;      /* [padded D / VALUE_TILE][TILE_STRIDE], a tile is [rows][VALUE_TILE]; and of do */
    REAL *dq;           /* [rows][dq_columns + LINE] */
    REAL *rows;         /* [WIDTH][row_stride] rows on their way in or out */
    int64_t row_stride; /* max(D, Dv) */
    REAL scale;
    REAL k_factor; /* on the keys of S: the power of two of the scale, so that q . k is in range where the scores are */
    REAL factor;   /* on S: the rest of the scale, times log2(e); with a softcap over softcap, before the tanh */
    REAL cap;      /* softcap log2(e), 0: off */
    bool alibi;
    dropout_rule dropout;
    bool full; /* all rows of the block see all keys of the task */
    int row_count;
    int64_t next_row; /* the block after this one, which is brought towards the second-level cache */
    int next_count;
    int64_t first_key;                             /* global number */
    SWORD lo[BACKWARD_ROWS], hi[BACKWARD_ROWS];    /* keys of the task that each row sees; empty beyond row_count */
    REAL lse[BACKWARD_ROWS], delta[BACKWARD_ROWS]; /* lse in units of log 2 */
    REAL slope[BACKWARD_ROWS], diagonal[BACKWARD_ROWS]; /* ALiBi, in units of log 2; i' less first_key */
    /* With dropout: the blocks of keys j / 8 that the task has, up to whole vectors; where each key's number stands in
     * what is drawn for them; what is drawn for a row; and the numbers of the keys of the task, row by row. */
    uint64_t drop_blocks[BACKWARD_KEYS + 8];
    uint16_t drop_place[BACKWARD_KEYS];
    uint16_t drawn[(BACKWARD_KEYS + 8) * ATTN_DROPOUT_KEYS];
    uint16_t bits[BACKWARD_ROWS][BACKWARD_KEYS];
} WORK;

/* Step 1: keys and values of the task, transposed into lanes, and the keys as rows too. */
static void FN(load_backward_panel)(WORK *w, int n)
{
    const attn_backward_task *task = w->task;
    const attn_dtype dtype = w->call->setup->problem->dtype;
    const size_t element = attn_dtype_size(dtype);
    const attn_array *arrays[2] = {&w->call->buffers->k[task->part], &w->call->buffers->v[task->part]};
    const int64_t columns[2] = {w->D, w->Dv};
    PANEL *panel = &w->panels[n];
    REAL *const to[2] = {panel->k, panel->v};
    const REAL *from[WIDTH];

    for (int a = 0; a < 2; a++) {
        memset(to[a], 0, (size_t)((a == 0 ? w->padded_D : w->padded_Dv) * LANES) * sizeof(REAL));
        for (int lane = 0; lane < LANES; lane++) {
            const int64_t j = (int64_t)n * LANES + lane, last = task->keys - 1;
            const int64_t row = task->key + (j < last ? j : last);
            const int64_t place = task->b * arrays[a]->batch_stride + task->kv_head * arrays[a]->head_stride +
                                  row * arrays[a]->row_stride;
            REAL *buffer = w->rows + lane % WIDTH * w->row_stride;

            from[lane % WIDTH] =
                CONVERT_FROM(dtype, (const char *)arrays[a]->data + (size_t)place * element, buffer, columns[a]);
            for (int64_t d = 0; a == 0 && d < w->D; d += LANES)
                memcpy(w->k_rows + d / LANES * w->k_stride + j * LANES, from[lane % WIDTH] + d,
                       (size_t)(w->D - d < LANES ? w->D - d : LANES) * sizeof(REAL));
            if (lane % WIDTH == WIDTH - 1)
                FN(rows_to_lanes)(from, columns[a], a == 0 ? w->k_factor : 1, to[a] + lane - (WIDTH - 1));
        }
    }
    memset(panel->dk, 0, (size_t)(w->padded_D * LANES) * sizeof(REAL));
    memset(panel->dv, 0, (size_t)(w->padded_Dv * LANES) * sizeof(REAL));
}

/* Numbers and places of a panel's keys. */
static void FN(number_keys)(WORK *w, int n)
{
    const attn_backward_task *task = w->task;
    const attn_segments *part = w->call->setup->part_rows[task->part];
    PANEL *panel = &w->panels[n];

    for (int lane = 0; lane < LANES; lane++) {
        const int64_t j = (int64_t)n * LANES + lane, last = task->keys - 1;

        panel->key[lane / WIDTH][lane % WIDTH] = (SWORD)j;
        panel->place[lane / WIDTH][lane % WIDTH] =
            w->alibi ? (REAL)(attn_segments_global(part, task->key + (j < last ? j : last)) - w->first_key) : 0;
    }
}

/* The blocks of dropout that the keys of the task are in. */
static void FN(number_blocks)(WORK *w)
{
    const attn_segments *part = w->call->setup->part_rows[w->task->part];
    int64_t positions[BACKWARD_KEYS];
    int count = 0;

    find_positions(part, w->task->key, w->task->keys, positions);
    for (int64_t j = 0; j < w->task->keys; j++) {
        const uint64_t block = (uint64_t)(positions[j] / ATTN_DROPOUT_KEYS);

        if (count == 0 || w->drop_blocks[count - 1] != block)
            w->drop_blocks[count++] = block;
        w->drop_place[j] = (uint16_t)((count - 1) * ATTN_DROPOUT_KEYS + (int)(positions[j] % ATTN_DROPOUT_KEYS));
    }
    memset(w->drop_blocks + count, 0, DROPOUT_LANES * sizeof *w->drop_blocks);
}

/* The random numbers of the keys that each row of the block sees. */
static void FN(draw_bits)(WORK *w, int64_t row)
{
    const attn_backward_setup *setup = w->call->setup;
    const attn_backward_task *task = w->task;
    const bool together = w->drop_place[task->keys - 1] - w->drop_place[0] == task->keys - 1;

    for (int r = 0; r < w->row_count; r++) {
        const int64_t f = row + r, h = setup->head_begin + task->head + f % task->heads;
        const int lo = (int)w->lo[r], hi = (int)w->hi[r];
        const int first = lo < hi ? w->drop_place[lo] / ATTN_DROPOUT_KEYS : 0;
        const int last = lo < hi ? w->drop_place[hi - 1] / ATTN_DROPOUT_KEYS : -1;
        uint16_t *const drawn = w->drawn + first * ATTN_DROPOUT_KEYS;

        draw_row(&w->dropout, w->drop_blocks + first, last - first + 1,
                 (uint64_t)attn_segments_global(setup->q_rows, f / task->heads),
                 (uint64_t)(task->b * setup->problem->shape.heads + h), drawn);
        if (together && lo < hi)
            memcpy(w->bits[r] + lo, w->drawn + w->drop_place[lo], (size_t)(hi - lo) * sizeof *drawn);
        for (int j = lo; j < hi && !together; j++)
            w->bits[r][j] = w->drawn[w->drop_place[j]];
    }
}

/* Step 2: a block of query rows of q and do in tiles of columns. */
static void FN(load_tiles)(const WORK *w, const attn_array *array, int64_t row, int64_t columns, REAL *restrict tiles)
{
    const attn_dtype dtype = w->call->setup->problem->dtype;
    const size_t element = attn_dtype_size(dtype);
    const int padded = (w->row_count + KEY_TILE - 1) / KEY_TILE * KEY_TILE;

    for (int r = 0; r < w->row_count; r++) {
        const int64_t place = attn_backward_place(w->task, array, row + r);
        const REAL *from = CONVERT_FROM(dtype, (const char *)array->data + (size_t)place * element, w->rows, columns);
        REAL *to = tiles + r * VALUE_TILE;
        int64_t d = 0;

        for (; d + VALUE_TILE <= columns; d += VALUE_TILE, to += TILE_STRIDE)
            memcpy(to, from + d, VALUE_TILE * sizeof(REAL));
        for (int64_t n = 0; d + n < columns; n++)
            to[n] = from[d + n];
    }
    for (int64_t d = 0; d < columns; d += VALUE_TILE)
        memset(tiles + d / VALUE_TILE * TILE_STRIDE + w->row_count * VALUE_TILE, 0,
               (size_t)((padded - w->row_count) * VALUE_TILE) * sizeof(REAL));
}

static SWORD FN(clip_key)(int64_t key, int64_t keys)
{
    return (SWORD)(key < 0 ? 0 : key > keys ? keys : key);
}

/* The keys of the task that the rows of the block see. */
static void FN(find_row_ends)(WORK *w, int64_t row)
{
    const attn_backward_setup *setup = w->call->setup;
    const attn_problem *problem = setup->problem;
    const attn_backward_task *task = w->task;
    const attn_segments *part = setup->part_rows[task->part];
    int64_t known = -1;
    attn_interval keys = {0, 0};

    for (int r = 0; r < BACKWARD_ROWS; r++) {
        const int64_t local = (row + r) / (task->heads > 0 ? task->heads : 1);
        const bool end = r == 0 || r == w->row_count - 1;

        if (r >= w->row_count) {
            w->lo[r] = w->hi[r] = 0;
            continue;
        }
        if (local != known && !(w->full && !end)) {
            const int64_t i = attn_segments_global(setup->q_rows, local);

            keys = attn_mask_row(&problem->mask, &problem->shape, task->b, i);
            keys.lo = attn_segments_below(part, keys.lo) - task->key;
            keys.hi = attn_segments_below(part, keys.hi) - task->key;
            known = local;
        }
        w->lo[r] = FN(clip_key)(keys.lo, task->keys);
        w->hi[r] = FN(clip_key)(keys.hi, task->keys);
    }
}

/* Whether all rows of the block see all keys: its last row sees the first key and its first row the last. */
static bool FN(is_full)(const WORK *w, int64_t row)
{
    const attn_backward_setup *setup = w->call->setup;
    const attn_problem *problem = setup->problem;
    const attn_backward_task *task = w->task;
    const attn_segments *part = setup->part_rows[task->part];
    const int64_t first = attn_segments_global(setup->q_rows, row / task->heads);
    const int64_t last = attn_segments_global(setup->q_rows, (row + w->row_count - 1) / task->heads);
    const attn_interval of_first = attn_mask_row(&problem->mask, &problem->shape, task->b, first);
    const attn_interval of_last = attn_mask_row(&problem->mask, &problem->shape, task->b, last);

    return attn_segments_below(part, of_last.lo) <= task->key &&
           attn_segments_below(part, of_first.hi) >= task->key + task->keys;
}

/* What belongs to each row of the block. A row without a key has lse = -inf, and 2^(s - inf) = 0. */
static void FN(load_numbers)(WORK *w, int64_t row)
{
    const attn_backward_setup *setup = w->call->setup;
    const attn_shape *shape = &setup->problem->shape;
    const attn_array *lse = &w->call->buffers->lse;
    const double *slopes = setup->problem->score.alibi_slopes;

    for (int r = 0; r < BACKWARD_ROWS; r++) {
        const int64_t f = row + (r < w->row_count ? r : 0), local = f / w->task->heads;
        const int64_t h = w->task->head + f % w->task->heads;
        const double of_row = (double)((const REAL *)lse->data)[attn_backward_place(w->task, lse, f)];

        w->lse[r] = of_row == -INFINITY ? (REAL)INFINITY : (REAL)(of_row * LOG2_E);
        w->delta[r] = (REAL)w->call->delta[(w->task->b * setup->head_count + h) * setup->q_rows->rows + local];
        if (w->alibi) {
            const int64_t i = attn_segments_global(setup->q_rows, local);

            w->slope[r] = (REAL)(slopes[setup->head_begin + h] * LOG2_E);
            w->diagonal[r] = (REAL)(i + shape->kv_seq - shape->seq - w->first_key);
        }
    }
}

/* The last row of a tile. */
static int FN(last_of_tile)(const WORK *w, int row)
{
    return (row + KEY_TILE < w->row_count ? row + KEY_TILE : w->row_count) - 1;
}

/* The tiles of rows that may see a key of each panel: those with keys on both sides of it too, as find_dq takes all
 * panels between the ends of what a tile sees. Both ends never decrease with the row. */
static void FN(find_panel_rows)(WORK *w)
{
    int from = 0, to = 0;

    for (int n = 0; n < w->panel_count; n++) {
        while (from < w->row_count && w->hi[FN(last_of_tile)(w, from)] <= n * LANES)
            from += KEY_TILE;
        while (to < w->row_count && w->lo[to] < (n + 1) * LANES)
            to += KEY_TILE;
        w->panels[n].from = from;
        w->panels[n].to = from < to ? to : from;
    }
}

/* KEY_TILE rows of scalars times the lanes of a panel, summed over the columns: S and dP. */
static inline __attribute__((always_inline)) void
FN(product_of_rows)(const REAL *restrict tiles, const REAL *restrict lanes, int64_t columns, VEC sum[KEY_TILE][VECTORS])
{
    UNROLL
    for (int j = 0; j < KEY_TILE; j++)
        for (int n = 0; n < VECTORS; n++)
            sum[j][n] = FN(splat)(0);
    for (int64_t d = 0; d < columns; d += VALUE_TILE, tiles += TILE_STRIDE, lanes += VALUE_TILE * LANES) {
        UNROLL
        for (int c = 0; c < VALUE_TILE; c++) {
            UNROLL
            for (int j = 0; j < KEY_TILE; j++) {
                const VEC row = FN(splat)(tiles[j * VALUE_TILE + c]);

                UNROLL
                for (int n = 0; n < VECTORS; n++)
                    sum[j][n] += row * FN(load)(lanes + c * LANES + n * WIDTH);
            }
        }
    }
}

/* VALUE_TILE columns of scalars times P or dS, summed over the rows: dV and dK. */
static inline __attribute__((always_inline)) void
FN(column_step)(const REAL *restrict weights, const REAL *restrict tile, VEC sum[VALUE_TILE][VECTORS])
{
    UNROLL
    for (int d = 0; d < VALUE_TILE; d++) {
        const VEC column = FN(splat)(tile[d]);

        UNROLL
        for (int n = 0; n < VECTORS; n++)
            sum[d][n] += column * FN(load)(weights + n * WIDTH);
    }
}

static inline void FN(product_of_columns)(const REAL *restrict weights, const REAL *restrict tile, int rows,
                                          REAL *restrict to)
{
    VEC sum[VALUE_TILE][VECTORS];
    int r = 0;

    UNROLL
    for (int d = 0; d < VALUE_TILE; d++)
        for (int n = 0; n < VECTORS; n++)
            sum[d][n] = FN(load)(to + d * LANES + n * WIDTH);
    for (; r + UNROLLED <= rows; r += UNROLLED) {
        UNROLL
        for (int n = 0; n < UNROLLED; n++)
            FN(column_step)(weights + (r + n) * LANES, tile + (r + n) * VALUE_TILE, sum);
    }
    for (; r < rows; r++)
        FN(column_step)(weights + r * LANES, tile + r * VALUE_TILE, sum);
    UNROLL
    for (int d = 0; d < VALUE_TILE; d++)
        for (int n = 0; n < VECTORS; n++)
            FN(store)(to + d * LANES + n * WIDTH, sum[d][n]);
}

/* KEY_TILE rows of dS times the keys as rows, summed over the keys of the task from .. to - 1: dQ. */
static inline __attribute__((always_inline)) void FN(key_step)(const REAL *restrict ds, const REAL *restrict keys,
                                                               VEC sum[KEY_TILE][VECTORS])
{
    UNROLL
    for (int j = 0; j < KEY_TILE; j++) {
        const VEC slope = FN(splat)(ds[j * LANES]);

        UNROLL
        for (int n = 0; n < VECTORS; n++)
            sum[j][n] += slope * FN(load)(keys + n * WIDTH);
    }
}

static inline void FN(product_of_keys)(const REAL *restrict ds, const REAL *restrict keys, int from, int to,
                                       REAL *restrict dq, int64_t dq_stride)
{
    VEC sum[KEY_TILE][VECTORS];

    UNROLL
    for (int j = 0; j < KEY_TILE; j++)
        for (int n = 0; n < VECTORS; n++)
            sum[j][n] = FN(splat)(0);
    for (int key = from; key < to;) {
        const int panel = key / LANES, end = (panel + 1) * LANES < to ? (panel + 1) * LANES : to;
        const REAL *at = ds + panel * WEIGHT_STRIDE - panel * LANES;

        for (; key + UNROLLED <= end; key += UNROLLED) {
            UNROLL
            for (int n = 0; n < UNROLLED; n++)
                FN(key_step)(at + key + n, keys + (key + n) * LANES, sum);
        }
        for (; key < end; key++)
            FN(key_step)(at + key, keys + key * LANES, sum);
    }
    UNROLL
    for (int j = 0; j < KEY_TILE; j++)
        for (int n = 0; n < VECTORS; n++)
            FN(store)(dq + j * dq_stride + n * WIDTH, sum[j][n]);
}

/* Scores of a tile become weights. With a softcap ds gets the derivative of the cap, 1 - tanh^2. */
static inline void FN(weigh)(const WORK *w, const PANEL *panel, int row, REAL *restrict p, REAL *restrict ds)
{
    for (int j = 0; j < KEY_TILE; j++) {
        const VEC lse = FN(splat)(w->lse[row + j]);

        UNROLL
        for (int n = 0; n < VECTORS; n++) {
            VEC x = FN(load)(p + j * LANES + n * WIDTH) * w->factor;

            if (w->cap != 0) {
                x = FN(tanh)(x);
                FN(store)(ds + j * LANES + n * WIDTH, 1 - x * x);
                x *= w->cap;
            }
            if (w->alibi) {
                const VEC away = w->diagonal[row + j] - panel->place[n];

                x -= FN(select)(away < 0, -away, away) * w->slope[row + j];
            }
            FN(store)(p + j * LANES + n * WIDTH, FN(exp2)(x - lse));
        }
    }
}

/* dS of a tile from dP. */
static inline void FN(slope)(const WORK *w, int row, VEC d_p[KEY_TILE][VECTORS], const REAL *restrict p,
                             REAL *restrict ds)
{
    UNROLL
    for (int j = 0; j < KEY_TILE; j++) {
        const VEC delta = FN(splat)(w->delta[row + j]);

        UNROLL
        for (int n = 0; n < VECTORS; n++) {
            REAL *const at = ds + j * LANES + n * WIDTH;
            const VEC slope = FN(load)(p + j * LANES + n * WIDTH) * (d_p[j][n] - delta);

            FN(store)(at, w->cap != 0 ? slope * FN(load)(at) : slope);
        }
    }
}

/* The same with dropout, after which P is what dV takes, both without the factor of the weights that are kept. */
static inline void FN(drop_and_slope)(const WORK *w, int row, int key, VEC d_p[KEY_TILE][VECTORS], REAL *restrict p,
                                      REAL *restrict ds)
{
    typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / sizeof(REAL) * sizeof(uint16_t))));
    const VEC kept = FN(splat)((REAL)w->dropout.kept), none = FN(splat)(0);

    UNROLL
    for (int j = 0; j < KEY_TILE; j++) {
        const VEC delta = FN(splat)(w->delta[row + j]);

        UNROLL
        for (int n = 0; n < VECTORS; n++) {
            REAL *const at = ds + j * LANES + n * WIDTH, *const weight = p + j * LANES + n * WIDTH;
            const VEC before = FN(load)(weight);
            halves drawn;
            INTS stays;
            VEC slope;

            memcpy(&drawn, w->bits[row + j] + key + n * WIDTH, sizeof drawn);
            stays = __builtin_convertvector(drawn, INTS) >= (SWORD)w->dropout.threshold;
            slope = before * (FN(select)(stays, d_p[j][n] * kept, none) - delta);
            FN(store)(weight, FN(select)(stays, before, none));
            FN(store)(at, w->cap != 0 ? slope * FN(load)(at) : slope);
        }
    }
}

/* Pairs of a tile that are not visible become 0. */
static void FN(hide)(const WORK *w, const PANEL *panel, int row, REAL *restrict tile)
{
    for (int j = 0; j < KEY_TILE; j++)
        for (int n = 0; n < VECTORS; n++) {
            const INTS seen = (panel->key[n] >= w->lo[row + j]) & (panel->key[n] < w->hi[row + j]);
            REAL *const at = tile + j * LANES + n * WIDTH;

            FN(store)(at, FN(select)(seen, FN(load)(at), FN(splat)(0)));
        }
}

/* A few rows of the next block, beside a register tile: a burst of them would keep the loads of the tiles waiting.
 *   tile  in, 0 .. tiles - 1: a share of the rows */
static inline void FN(prefetch_rows)(const WORK *w, const attn_array *array, int64_t columns, int tile, int tiles)
{
    const size_t element = attn_dtype_size(w->call->setup->problem->dtype), bytes = (size_t)columns * element;

    for (int r = tile * w->next_count / tiles; r < (tile + 1) * w->next_count / tiles; r++) {
        const int64_t place = attn_backward_place(w->task, array, w->next_row + r);
        const char *row = (const char *)array->data + (size_t)place * element;

        for (size_t at = 0; at < bytes; at += 64)
            __builtin_prefetch(row + at, 0, 2);
    }
}

/* Step 3: P and dS of a panel. */
static void FN(find_slopes)(const WORK *w, int n)
{
    const PANEL *panel = &w->panels[n];
    const attn_backward_buffers *buffers = w->call->buffers;
    const int tiles = BACKWARD_ROWS / KEY_TILE;

    for (int pass = 0; pass < 2; pass++)
        for (int row = panel->from; row < panel->to; row += KEY_TILE) {
            REAL *const p = panel->p + row * LANES, *const ds = panel->ds + row * LANES;
            const bool whole = w->lo[row + KEY_TILE - 1] <= n * LANES && w->hi[row] >= (n + 1) * LANES &&
                               w->hi[row + KEY_TILE - 1] >= (n + 1) * LANES;
            VEC sum[KEY_TILE][VECTORS];

            FN(prefetch_rows)
            (w, pass == 0 ? &buffers->q : &buffers->d_o, pass == 0 ? w->D : w->Dv, n * tiles + row / KEY_TILE,
             w->panel_count * tiles);
            if (pass == 0) {
                FN(product_of_rows)(w->q + row * VALUE_TILE, panel->k, w->padded_D, sum);
                UNROLL
                for (int j = 0; j < KEY_TILE; j++)
                    for (int m = 0; m < VECTORS; m++)
                        FN(store)(p + j * LANES + m * WIDTH, sum[j][m]);
                FN(weigh)(w, panel, row, p, ds);
            } else {
                FN(product_of_rows)(w->d_o + row * VALUE_TILE, panel->v, w->padded_Dv, sum);
                if (w->dropout.on)
                    FN(drop_and_slope)(w, row, n * LANES, sum, p, ds);
                else
                    FN(slope)(w, row, sum, p, ds);
            }
            if (!whole)
                FN(hide)(w, panel, row, pass == 0 ? p : ds);
        }
}

/* Step 4: dV and dK of a panel. */
static void FN(add_columns)(const WORK *w, const PANEL *panel)
{
    const int rows = panel->to - panel->from;

    for (int64_t d = 0; d < w->padded_Dv; d += VALUE_TILE)
        FN(product_of_columns)
    (panel->p + panel->from * LANES, w->d_o + d / VALUE_TILE * TILE_STRIDE + panel->from * VALUE_TILE, rows,
     panel->dv + d * LANES);
    for (int64_t d = 0; d < w->padded_D; d += VALUE_TILE)
        FN(product_of_columns)
    (panel->ds + panel->from * LANES, w->q + d / VALUE_TILE * TILE_STRIDE + panel->from * VALUE_TILE, rows,
     panel->dk + d * LANES);
}

/* Step 5: dQ of the block. */
static void FN(find_dq)(const WORK *w)
{
    const int64_t stride = w->dq_columns + LINE;

    for (int64_t d = 0; d < w->dq_columns; d += LANES)
        for (int row = 0; row < w->row_count; row += KEY_TILE) {
            const int last = FN(last_of_tile)(w, row);

            FN(product_of_keys)
            (w->panels[0].ds + row * LANES, w->k_rows + d / LANES * w->k_stride, (int)w->lo[row], (int)w->hi[last],
             w->dq + row * stride + d, stride);
        }
}

/* Step 6: the block's share of dQ is added when it is this task's turn. */
static void FN(add_dq)(const WORK *w, int64_t row)
{
    attn_backward_await(w->task, row + w->row_count);
    for (int r = 0; r < w->row_count; r++) {
        REAL *restrict to = (REAL *)w->task->dq + attn_backward_dq_place(w->task, row + r);
        const REAL *restrict from = w->dq + r * (w->dq_columns + LINE);

        for (int64_t d = 0; d < w->D; d++)
            to[d] += from[d] * w->scale;
    }
    attn_backward_publish(w->task, row + w->row_count);
}

/* Steps 2 to 6 for a block of rows. */
static void FN(visit_rows)(WORK *w, int64_t row, int row_count)
{
    w->row_count = row_count;
    w->full = FN(is_full)(w, row);
    FN(find_row_ends)(w, row);
    FN(find_panel_rows)(w);
    FN(load_numbers)(w, row);
    if (w->dropout.on)
        FN(draw_bits)(w, row);
    FN(load_tiles)(w, &w->call->buffers->q, row, w->D, w->q);
    FN(load_tiles)(w, &w->call->buffers->d_o, row, w->Dv, w->d_o);
    for (int n = 0; n < w->panel_count; n++) {
        FN(find_slopes)(w, n);
        FN(add_columns)(w, &w->panels[n]);
    }
    FN(find_dq)(w);
    FN(add_dq)(w, row);
}

/* Rows of dK or dV of WIDTH keys, to the caller's array. */
static void FN(store_keys)(const WORK *w, const REAL *rows, const attn_array *array, int64_t columns, int64_t begin,
                           int64_t count)
{
    const attn_dtype dtype = w->call->setup->dkv_dtype;
    const attn_backward_task *task = w->task;

    for (int64_t j = 0; j < count; j++) {
        const int64_t place = task->b * array->batch_stride + task->kv_head * array->head_stride +
                              (task->key + begin + j) * array->row_stride;
        char *const to = (char *)array->data + (size_t)place * attn_dtype_size(dtype);
        const REAL *from = rows + j * w->row_stride;

        if (w->call->setup->accumulate)
            for (int64_t d = 0; d < columns; d++)
                ((REAL *)(void *)to)[d] += from[d];
        else if (attn_dtype_size(dtype) == sizeof(REAL))
            memcpy(to, from, (size_t)columns * sizeof(REAL));
        else
            CONVERT_TO(dtype, to, from, columns);
    }
}

/* Step 7: dK and dV of the task. */
static void FN(store_gradients)(const WORK *w)
{
    const attn_array *dk = &w->call->buffers->dk[w->task->part], *dv = &w->call->buffers->dv[w->task->part];
    REAL *rows[WIDTH];

    for (int n = 0; n < WIDTH; n++)
        rows[n] = w->rows + n * w->row_stride;
    for (int64_t begin = 0; begin < w->task->keys; begin += WIDTH) {
        const PANEL *panel = &w->panels[begin / LANES];
        const int64_t left = w->task->keys - begin, count = left < WIDTH ? left : WIDTH;

        FN(lanes_to_rows)(panel->dk + begin % LANES, w->D, FN(splat)(w->scale), rows);
        FN(store_keys)(w, w->rows, dk, w->D, begin, count);
        FN(lanes_to_rows)(panel->dv + begin % LANES, w->Dv, FN(splat)((REAL)w->dropout.kept), rows);
        FN(store_keys)(w, w->rows, dv, w->Dv, begin, count);
    }
}

/* Elements of scratch memory beside the panels, and of one panel. */
static size_t FN(backward_fixed)(int64_t D, int64_t Dv)
{
    const int64_t columns = (D + LANES - 1) / LANES * LANES, wide = D > Dv ? D : Dv;

    return (size_t)((portable_pad(D) + portable_pad(Dv)) / VALUE_TILE * TILE_STRIDE + BACKWARD_ROWS * (columns + LINE) +
                    WIDTH * wide + columns / LANES * LINE + 8 * LINE);
}

static size_t FN(backward_panel_size)(int64_t D, int64_t Dv)
{
    const int64_t columns = (D + LANES - 1) / LANES * LANES;

    return (size_t)(2 * (portable_pad(D) + portable_pad(Dv)) * LANES + 2 * WEIGHT_STRIDE + columns * LANES);
}

static int FN(backward_panels)(int64_t D, int64_t Dv)
{
    const int64_t room = (int64_t)(BACKWARD_BYTES / sizeof(REAL)) - (int64_t)FN(backward_fixed)(D, Dv);
    const int64_t fitting = room / (int64_t)FN(backward_panel_size)(D, Dv);

    return (int)(fitting < 1 ? 1 : fitting < BACKWARD_KEYS / LANES ? fitting : BACKWARD_KEYS / LANES);
}

static size_t FN(backward_bytes)(int64_t D, int64_t Dv)
{
    const size_t panels = (size_t)FN(backward_panels)(D, Dv);

    return portable_round(sizeof(WORK)) + portable_round(panels * sizeof(PANEL)) +
           portable_round((FN(backward_fixed)(D, Dv) + panels * FN(backward_panel_size)(D, Dv)) * sizeof(REAL));
}

/* Deals the scratch memory; every array is a whole number of cache lines long. */
static WORK *FN(open_backward)(const attn_backward_call *call, attn_backward_task *task, char *scratch)
{
    const attn_shape *shape = &call->setup->problem->shape;
    const attn_score *score = &call->setup->problem->score;
    const int most = FN(backward_panels)(shape->head_dim, shape->v_head_dim);
    WORK *w = (WORK *)(void *)scratch;
    int exponent;
    const double rest = frexp(score->scale, &exponent);

    scratch += portable_round(sizeof *w);
    w->call = call;
    w->task = task;
    w->D = shape->head_dim;
    w->Dv = shape->v_head_dim;
    w->padded_D = portable_pad(w->D);
    w->padded_Dv = portable_pad(w->Dv);
    w->dq_columns = (w->D + LANES - 1) / LANES * LANES;
    w->row_stride = w->D > w->Dv ? w->D : w->Dv;
    w->alibi = score->alibi_slopes != NULL;
    w->dropout = open_dropout(call->setup->problem);
    w->scale = (REAL)score->scale;
    w->cap = (REAL)(score->softcap * LOG2_E);
    w->k_factor = (REAL)(score->scale == 0 ? 0 : ldexp(1, exponent));
    w->factor = (REAL)(rest * (score->softcap > 0 ? 1 / score->softcap : LOG2_E));
    w->first_key = attn_segments_global(call->setup->part_rows[task->part], task->key);
    w->panel_count = (int)((task->keys + LANES - 1) / LANES);
    w->panels = (PANEL *)(void *)scratch;
    scratch += portable_round((size_t)most * sizeof(PANEL));
    for (int n = 0; n < w->panel_count; n++) {
        PANEL *panel = &w->panels[n];

        panel->k = FN(take)(&scratch, (size_t)(w->padded_D * LANES));
        panel->v = FN(take)(&scratch, (size_t)(w->padded_Dv * LANES));
        panel->dk = FN(take)(&scratch, (size_t)(w->padded_D * LANES));
        panel->dv = FN(take)(&scratch, (size_t)(w->padded_Dv * LANES));
    }
    for (int n = 0; n < w->panel_count; n++)
        w->panels[n].p = FN(take)(&scratch, WEIGHT_STRIDE);
    for (int n = 0; n < w->panel_count; n++)
        w->panels[n].ds = FN(take)(&scratch, WEIGHT_STRIDE);
    w->k_stride = (int64_t)w->panel_count * LANES * LANES + LINE;
    w->k_rows = FN(take)(&scratch, (size_t)(w->dq_columns / LANES * w->k_stride));
    w->q = FN(take)(&scratch, (size_t)(w->padded_D / VALUE_TILE * TILE_STRIDE));
    w->d_o = FN(take)(&scratch, (size_t)(w->padded_Dv / VALUE_TILE * TILE_STRIDE));
    w->dq = FN(take)(&scratch, (size_t)(BACKWARD_ROWS * (w->dq_columns + LINE)));
    w->rows = FN(take)(&scratch, (size_t)(WIDTH * w->row_stride));
    return w;
}

/* Columns beyond D and Dv, in the last tiles, which no load writes. */
static void FN(clear_padding)(const WORK *w)
{
    memset(w->k_rows + (w->dq_columns / LANES - 1) * w->k_stride, 0, (size_t)w->k_stride * sizeof(REAL));
    memset(w->q + (w->padded_D / VALUE_TILE - 1) * TILE_STRIDE, 0, TILE_STRIDE * sizeof(REAL));
    memset(w->d_o + (w->padded_Dv / VALUE_TILE - 1) * TILE_STRIDE, 0, TILE_STRIDE * sizeof(REAL));
}

static void FN(backward)(const attn_backward_call *call, attn_backward_task *task, void *scratch)
{
    WORK *w = FN(open_backward)(call, task, scratch);

    FN(clear_padding)(w);
    for (int n = 0; n < w->panel_count; n++) {
        FN(load_backward_panel)(w, n);
        FN(number_keys)(w, n);
    }
    if (w->dropout.on)
        FN(number_blocks)(w);
    for (int64_t row = task->first; row < task->last; row += BACKWARD_ROWS) {
        const int64_t left = task->last - row, after = left - BACKWARD_ROWS;

        w->next_row = row + BACKWARD_ROWS;
        w->next_count = (int)(after < 0 ? 0 : after < BACKWARD_ROWS ? after : BACKWARD_ROWS);
        FN(visit_rows)(w, row, (int)(left < BACKWARD_ROWS ? left : BACKWARD_ROWS));
    }
    FN(store_gradients)(w);
}

#undef VEC
#undef INTS
#undef WORK
#undef PANEL
#undef WIDTH
#undef LANES
#undef LINE
#undef TILE_STRIDE
#undef WEIGHT_STRIDE
