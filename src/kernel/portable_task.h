/* The portable blocked kernel for one arithmetic type; included by portable_level.h once for float and once for double.
 *
 * The form is transposed: VECTORS vectors of query rows are a panel, one row a lane, and everything a row needs (score,
 * maximum, sum, output) stays in its lane, so that maximum, sum, mask and rescale are vertical operations:
 *
 *     S^T [keys x lanes]  = K Q^T            (score_tile:  keys come as scalars, straight from their own layout)
 *     P^T                 = 2^(S^T - max)    (softmax)
 *     O^T [Dv x lanes]   += V^T P^T          (value_tile:  so does V)
 *
 * For each block of keys the online softmax (Milakov and Gimelshein 2018, algorithm 3) rescales what was summed before.
 * Scores are kept in units of log 2, x = s log2(e), so that 2^x serves for exp(s).
 *
 * The includer defines
 *   what core/vector.h asks for, VECTOR_BYTES being the width of a register
 *   KEY_TILE, VALUE_TILE      keys, columns of V, of a register tile
 *   CONVERT_FROM, CONVERT_TO  rows of a dtype to REAL and back
 */

#include "core/vector.h"

#define WIDTH ((int)(VECTOR_BYTES / sizeof(REAL)))
#define LANES (VECTORS * WIDTH)
/* Elements from one tile of V to the next: a cache line more than a tile, because tiles a power of two apart would fall
 * into one set of the cache. */
#define VALUE_STRIDE (KEY_BLOCK * VALUE_TILE + 64 / (int)sizeof(REAL))

#define PANEL FN(panel)
#define WORK FN(work)
#define KEYS FN(keys)
#define SPAN FN(span)

/* Query rows, one a lane. Lanes without a row repeat the last one and are not stored. */
typedef struct PANEL {
    VEC max[VECTORS], sum[VECTORS];             /* of x so far; of 2^(x - max) */
    VEC position[VECTORS];                      /* i' of each lane, less that of lane 0 */
    VEC slope[VECTORS];                         /* ALiBi slope times log2(e) */
    REAL *q, *o;                                /* [D][LANES], [padded Dv][LANES] */
    int64_t seen_lo[LANES], seen_hi[LANES];     /* visible keys, global numbers */
    int64_t lo[LANES], hi[LANES];               /* the same in the part at hand, local numbers */
    int64_t first, last;                        /* some lane sees keys of [first, last) */
    int64_t all_from, all_to;                   /* every lane sees [all_from, all_to) */
    int64_t diagonal;                           /* i' of lane 0 */
    int rows;                                   /* lanes in use */
    uint64_t drop_row[LANES], drop_head[LANES]; /* i and b Hq + h, in the order of draw_lanes */
} PANEL;

/* Everything one task works with. */
typedef struct WORK {
    const attn_forward_setup *setup;
    const attn_forward_buffers *buffers;
    const attn_task *task;
    int64_t D, Dv;
    int64_t padded_Dv; /* Dv up to whole tiles */
    PANEL *panels;
    int panel_count;
    REAL *rows;         /* [WIDTH][row_stride] rows on their way in or out */
    int64_t row_stride; /* max(D, Dv) */
    REAL *scores;       /* [KEY_BLOCK][LANES] */
    int64_t *positions; /* [KEY_BLOCK] global numbers of the keys of a block, for ALiBi and dropout */
    REAL *k_block;      /* [KEY_BLOCK][D] keys that are not REAL already */
    REAL *v_block;      /* [padded Dv / VALUE_TILE][VALUE_STRIDE], a tile is [KEY_BLOCK][VALUE_TILE] */
    REAL q_factor; /* on q: the power of two and the sign of the scale, or 0. It rounds nothing, q . k stays in range
                           where the scores do, and the largest q . k has the largest score */
    REAL factor;   /* on scores in the softmax: the rest of |scale|, times log2(e); 1 where they were adjusted */
    REAL adjust_factor; /* on q . k before an adjustment: the rest of |scale|, times log2(e) or over the softcap */
    REAL cap;           /* softcap log2(e), 0: off */
    bool alibi;
    dropout_rule dropout;
} WORK;

/* A block of keys and values in REAL. */
typedef struct KEYS {
    const REAL *k; /* rows k_stride apart */
    const REAL *v; /* packed, see load_keys */
    int64_t k_stride;
    int64_t begin, count; /* local number of the first, in its part */
    finite_values finite;
} KEYS;

/* WIDTH x WIDTH elements: each round interleaves the first half of the vectors with the second. */
static inline __attribute__((always_inline)) void FN(transpose)(VEC m[WIDTH])
{
    UNROLL
    for (int round = 1; round < WIDTH; round *= 2) {
        VEC zipped[WIDTH];

        UNROLL
        for (int n = 0; n < WIDTH / 2; n++) {
            zipped[2 * n] = __builtin_shufflevector(m[n], m[n + WIDTH / 2], ZIP(LOW));
            zipped[2 * n + 1] = __builtin_shufflevector(m[n], m[n + WIDTH / 2], ZIP(HIGH));
        }
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            m[n] = zipped[n];
    }
}

/* WIDTH rows of `count` elements become `count` rows of WIDTH, LANES apart. */
static void FN(rows_to_lanes)(const REAL *const from[WIDTH], int64_t count, REAL factor, REAL *restrict to)
{
    VEC m[WIDTH];
    int64_t d = 0;

    for (; d + WIDTH <= count; d += WIDTH) {
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            m[n] = FN(load)(from[n] + d) * factor;
        FN(transpose)(m);
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            FN(store)(to + (d + n) * LANES, m[n]);
    }
    for (; d < count; d++)
        for (int n = 0; n < WIDTH; n++)
            to[d * LANES + n] = from[n][d] * factor;
}

/* The way back: `count` rows of WIDTH, LANES apart, times a factor of each lane, become WIDTH rows. */
static void FN(lanes_to_rows)(const REAL *restrict from, int64_t count, VEC factor, REAL *const to[WIDTH])
{
    VEC m[WIDTH];
    int64_t d = 0;

    for (; d + WIDTH <= count; d += WIDTH) {
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            m[n] = FN(load)(from + (d + n) * LANES) * factor;
        FN(transpose)(m);
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            FN(store)(to[n] + d, m[n]);
    }
    for (; d < count; d++)
        for (int n = 0; n < WIDTH; n++)
            to[n][d] = from[d * LANES + n] * factor[n];
}

/* The two lanes of 32 bits in a lane of 64 are drawn one after the other: all first ones, then all second ones. */
static int FN(drop_place)(int lane)
{
    const int n = lane % WIDTH, halves = WIDTH / DROPOUT_LANES;

    return lane - n + n % halves * DROPOUT_LANES + n / halves;
}

/* Step 1: the query rows of a panel, transposed, and the keys that each sees. */
static void FN(load_panel)(const WORK *w, int64_t row, int rows, PANEL *panel)
{
    const attn_problem *problem = w->setup->problem;
    const attn_array *q = &w->buffers->q;
    const size_t element = attn_dtype_size(problem->dtype);
    const double *slopes = problem->score.alibi_slopes;
    REAL position[LANES], slope[LANES];
    const REAL *from[WIDTH];

    panel->rows = rows;
    for (int lane = 0; lane < LANES; lane++) {
        const int64_t f = row + (lane < rows ? lane : rows - 1);
        const int64_t h = attn_task_head(w->task, f), r = attn_task_row(w->task, f);
        const int64_t place = w->task->b * q->batch_stride + h * q->head_stride + r * q->row_stride;
        const int64_t i = attn_segments_global(w->setup->q_rows, r);
        const int64_t diagonal = i + problem->shape.kv_seq - problem->shape.seq;
        const attn_interval keys = attn_task_seen(w->setup, w->task, i);
        const int n = lane % WIDTH;

        from[n] = CONVERT_FROM(problem->dtype, (const char *)q->data + (size_t)place * element,
                               w->rows + n * w->row_stride, w->D);
        if (n == WIDTH - 1)
            FN(rows_to_lanes)(from, w->D, w->q_factor, panel->q + lane - n);
        panel->seen_lo[lane] = keys.lo;
        panel->seen_hi[lane] = keys.hi;
        if (lane == 0)
            panel->diagonal = diagonal;
        position[lane] = (REAL)(diagonal - panel->diagonal);
        slope[lane] = slopes != NULL ? (REAL)(slopes[w->setup->head_begin + h] * LOG2_E) : 0;
        panel->drop_row[FN(drop_place)(lane)] = (uint64_t)i;
        panel->drop_head[FN(drop_place)(lane)] =
            (uint64_t)(w->task->b * problem->shape.heads + w->setup->head_begin + h);
    }
    for (int n = 0; n < VECTORS; n++) {
        panel->position[n] = FN(load)(position + n * WIDTH);
        panel->slope[n] = FN(load)(slope + n * WIDTH);
        panel->max[n] = FN(splat)((REAL)-INFINITY);
        panel->sum[n] = FN(splat)(0);
    }
    memset(panel->o, 0, (size_t)w->padded_Dv * LANES * sizeof(REAL));
}

/* Step 2: which keys of a part each lane sees. Both ends rise with the lane. */
static void FN(find_lane_ends)(const attn_segments *part, const int64_t *global, int64_t *local)
{
    int64_t next = 0;

    for (int lane = 0; lane < LANES; lane++)
        local[lane] = find_below(part, global[lane], &next);
}

static void FN(find_keys)(const attn_segments *part, PANEL *panel)
{
    FN(find_lane_ends)(part, panel->seen_lo, panel->lo);
    FN(find_lane_ends)(part, panel->seen_hi, panel->hi);
    panel->first = panel->lo[0];
    panel->last = panel->hi[LANES - 1];
    panel->all_from = panel->lo[LANES - 1];
    panel->all_to = panel->hi[0];
}

/* Packs the values of a row of a block, see load_keys. */
static void FN(pack_values)(const WORK *w, const REAL *row, REAL *to)
{
    int64_t d = 0;

    for (; d + VALUE_TILE <= w->Dv; d += VALUE_TILE, to += VALUE_STRIDE)
        memcpy(to, row + d, VALUE_TILE * sizeof(REAL));
    for (int64_t n = 0; d + n < w->Dv; n++)
        to[n] = row[d + n];
}

/* Step 3: a block of keys and values as REAL. Keys are read in place when they are REAL already and in one page. Values
 * are packed into [tile of VALUE_TILE columns][key][VALUE_TILE], so that a tile is one stream: in their own layout its
 * rows are a power of two apart as a rule, and fall into a few sets of the cache. Columns beyond Dv are 0. */
static KEYS FN(load_keys)(const WORK *w, int64_t part, int64_t begin, int64_t count)
{
    const attn_dtype dtype = w->setup->problem->dtype;
    const size_t element = attn_dtype_size(dtype);
    const attn_array *k = &w->buffers->k[part], *v = &w->buffers->v[part];
    const int64_t b = w->task->b, kv_head = w->task->kv_head;
    const bool in_place = element == sizeof(REAL) && attn_part_run(w->setup, begin, count) == count;
    KEYS keys = {.k = w->k_block, .k_stride = w->D, .v = w->v_block, .begin = begin, .count = count};
    int64_t run;

    for (int64_t first = 0; first < count; first += run) {
        const int64_t k_place = attn_part_place(w->setup, w->buffers, part, k, b, kv_head, begin + first);
        const int64_t v_place = attn_part_place(w->setup, w->buffers, part, v, b, kv_head, begin + first);
        const char *k_from = (const char *)k->data + (size_t)k_place * element;
        const char *v_from = (const char *)v->data + (size_t)v_place * element;

        run = attn_part_run(w->setup, begin + first, count - first);
        if (in_place) {
            keys.k = (const REAL *)(const void *)k_from;
            keys.k_stride = k->row_stride;
        }
        for (int64_t j = 0; j < run && !in_place; j++) {
            REAL *const to = w->k_block + (first + j) * w->D;
            const REAL *row = CONVERT_FROM(dtype, k_from + (size_t)(j * k->row_stride) * element, to, w->D);

            if (row != to)
                memcpy(to, row, (size_t)w->D * sizeof(REAL));
        }
        for (int64_t j = 0; j < run; j++)
            FN(pack_values)
        (w, CONVERT_FROM(dtype, v_from + (size_t)(j * v->row_stride) * element, w->rows, w->Dv),
         w->v_block + (first + j) * VALUE_TILE);
    }
    return keys;
}

/* What is needed after a block of keys: the next one of the part, which begins at local row `begin`, or where there is
 * none the place of the output. */
static row_streams FN(stream_ahead)(const WORK *w, int64_t part, int64_t begin, int64_t end)
{
    const attn_task *task = w->task;
    const attn_array *arrays[2] = {&w->buffers->k[part], &w->buffers->v[part]}, *o = &w->buffers->o;
    const size_t element = attn_dtype_size(w->setup->problem->dtype), o_element = attn_dtype_size(w->setup->o_dtype);
    const int64_t rows = attn_part_run(w->setup, begin, end - begin < KEY_BLOCK ? end - begin : KEY_BLOCK);
    row_streams streams = {.of = {{.bytes = (size_t)w->D * element}, {.bytes = (size_t)w->Dv * element}}};

    for (int n = 0; n < 2; n++) {
        const attn_array *a = arrays[n];
        const int64_t place =
            rows > 0 ? attn_part_place(w->setup, w->buffers, part, a, task->b, task->kv_head, begin) : 0;

        streams.of[n].first = (const char *)a->data + (size_t)place * element;
        streams.of[n].step = (size_t)a->row_stride * element;
        streams.of[n].rows = rows;
        streams.of[n].folded = 1;
    }
    if (rows == 0) {
        const int64_t place = task->b * o->batch_stride + attn_task_head(task, 0) * o->head_stride;

        streams.to_write = true;
        streams.of[0] = (row_stream){.first = (const char *)o->data + (size_t)place * o_element,
                                     .step = (size_t)o->row_stride * o_element,
                                     .fold_step = (size_t)o->head_stride * o_element,
                                     .bytes = (size_t)w->Dv * o_element,
                                     .folded = task->heads,
                                     .row = task->row,
                                     .rows = task->row + task->rows};
    }
    share_lines(&streams, w->panel_count * (KEY_BLOCK / KEY_TILE));
    return streams;
}

/* A panel's keys in a block: the last vector sees none before `all`, the first none from `all_end` on; between, some
 * lanes may still be masked. Register tiles leave out the vector that sees nothing. */
typedef struct SPAN {
    int64_t from, all, all_end, to; /* in the block, rising */
} SPAN;

static int64_t FN(clip)(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static SPAN FN(find_span)(const PANEL *panel, const KEYS *keys, int64_t count)
{
    SPAN s = {.from = FN(clip)(panel->first - keys->begin, 0, count)};
    int64_t end;

    s.to = FN(clip)(panel->last - keys->begin, s.from, count);
    s.all = FN(clip)(panel->lo[LANES - WIDTH] - keys->begin, s.from, s.to);
    end = FN(clip)(panel->hi[WIDTH - 1] - keys->begin, s.from, s.to);
    s.all = s.from + (s.all < end ? s.all - s.from : end - s.from) / KEY_TILE * KEY_TILE; /* whole tiles */
    s.all_end = s.from + (end - s.from + KEY_TILE - 1) / KEY_TILE * KEY_TILE;
    s.all_end = s.all_end < s.to ? s.all_end : s.to;
    return s;
}

/* Step 4: scores of `tile` keys against vectors first .. end - 1 of a panel, and their maximum. Some steps of d stand
 * together because the loop's own instructions would take the place of multiply-adds. */
static inline __attribute__((always_inline)) void FN(score_step)(const int tile, const int first, const int end,
                                                                 const REAL *restrict q, const REAL *restrict k,
                                                                 int64_t k_stride, VEC sum[KEY_TILE][VECTORS])
{
    UNROLL
    for (int j = 0; j < tile; j++) {
        const VEC key = FN(splat)(k[j * k_stride]);

        UNROLL
        for (int n = first; n < end; n++)
            sum[j][n] += key * FN(load)(q + n * WIDTH);
    }
}

static inline __attribute__((always_inline)) void FN(score_tile)(const int tile, const int first, const int end,
                                                                 const REAL *restrict q, const REAL *restrict k,
                                                                 int64_t k_stride, int64_t D, REAL *restrict scores,
                                                                 VEC max[VECTORS])
{
    VEC sum[KEY_TILE][VECTORS];
    int64_t d = 0;

    UNROLL
    for (int j = 0; j < tile; j++)
        for (int n = first; n < end; n++)
            sum[j][n] = FN(splat)(0);
    for (; d + UNROLLED <= D; d += UNROLLED) {
        UNROLL
        for (int n = 0; n < UNROLLED; n++)
            FN(score_step)(tile, first, end, q + (d + n) * LANES, k + d + n, k_stride, sum);
    }
    for (; d < D; d++)
        FN(score_step)(tile, first, end, q + d * LANES, k + d, k_stride, sum);
    UNROLL
    for (int j = 0; j < tile; j++)
        for (int n = first; n < end; n++) {
            max[n] = FN(max)(sum[j][n], max[n]);
            FN(store)(scores + j * LANES + n * WIDTH, sum[j][n]);
        }
}

static inline __attribute__((always_inline)) void FN(score_range)(const int first, const int end, const WORK *w,
                                                                  const PANEL *panel, const KEYS *keys, int64_t from,
                                                                  int64_t to, row_streams *ahead, VEC max[VECTORS])
{
    const REAL *const q = panel->q, *k = keys->k + from * keys->k_stride;
    const int64_t D = w->D, stride = keys->k_stride;
    REAL *scores = w->scores + from * LANES;
    VEC top[VECTORS];
    int64_t left = to - from;

    memcpy(top, max, sizeof top);
    for (; left >= KEY_TILE; left -= KEY_TILE, k += KEY_TILE * stride, scores += KEY_TILE * LANES) {
        prefetch_lines(ahead);
        FN(score_tile)(KEY_TILE, first, end, q, k, stride, D, scores, top);
    }
    for (; left >= 2; left -= 2, k += 2 * stride, scores += 2 * LANES)
        FN(score_tile)(2, first, end, q, k, stride, D, scores, top);
    if (left > 0)
        FN(score_tile)(1, first, end, q, k, stride, D, scores, top);
    memcpy(max, top, sizeof top);
}

static void FN(score_keys)(const WORK *w, const PANEL *panel, const KEYS *keys, const SPAN *s, row_streams *ahead,
                           VEC max[VECTORS])
{
    if (s->from < s->all)
        FN(score_range)(0, VECTORS - 1, w, panel, keys, s->from, s->all, ahead, max);
    FN(score_range)(0, VECTORS, w, panel, keys, s->all, s->all_end, ahead, max);
    if (s->all_end < s->to)
        FN(score_range)(1, VECTORS, w, panel, keys, s->all_end, s->to, ahead, max);
}

/* Step 5: softcap and ALiBi. */
static void FN(adjust_scores)(const WORK *w, const PANEL *panel, int64_t from, int64_t to)
{
    for (int64_t j = from; j < to; j++) {
        REAL distance = 0;

        if (w->alibi)
            distance = (REAL)(w->positions[j] - panel->diagonal);
        for (int n = 0; n < VECTORS; n++) {
            VEC x = FN(load)(w->scores + j * LANES + n * WIDTH) * w->adjust_factor;

            if (w->cap != 0)
                x = FN(tanh)(x) * w->cap;
            if (w->alibi) {
                const VEC away = panel->position[n] - distance;

                x -= FN(select)(away < 0, -away, away) * panel->slope[n];
            }
            FN(store)(w->scores + j * LANES + n * WIDTH, x);
        }
    }
}

/* Step 6: keys that a lane does not see get the score -inf. */
static void FN(mask_scores)(const WORK *w, const PANEL *panel, const KEYS *keys, int64_t from, int64_t to)
{
    SWORD lo[LANES], hi[LANES];

    for (int lane = 0; lane < LANES; lane++) {
        const int64_t a = panel->lo[lane] - keys->begin, b = panel->hi[lane] - keys->begin;

        lo[lane] = (SWORD)(a < from ? from : a > to ? to : a);
        hi[lane] = (SWORD)(b < from ? from : b > to ? to : b);
    }
    for (int n = 0; n < VECTORS; n++) {
        INTS low, high;

        memcpy(&low, lo + n * WIDTH, sizeof low);
        memcpy(&high, hi + n * WIDTH, sizeof high);
        for (int64_t j = from; j < to; j++) {
            const INTS key = (SWORD)j - (INTS){0};
            REAL *at = w->scores + j * LANES + n * WIDTH;

            FN(store)(at, FN(select)((low <= key) & (key < high), FN(load)(at), FN(splat)((REAL)-INFINITY)));
        }
    }
}

static void FN(find_max)(const WORK *w, int64_t from, int64_t to, VEC max[VECTORS])
{
    VEC top[VECTORS];

    for (int n = 0; n < VECTORS; n++)
        top[n] = FN(splat)((REAL)-INFINITY);
    for (int64_t j = from; j < to; j++)
        for (int n = 0; n < VECTORS; n++)
            top[n] = FN(max)(FN(load)(w->scores + j * LANES + n * WIDTH), top[n]);
    memcpy(max, top, sizeof top);
}

/* Step 7: the online softmax. Scores become weights 2^(factor score - max); rescale gets what the sums so far must be
 * multiplied with.
 *   top  in, the largest score of each lane */
static void FN(softmax)(const WORK *w, PANEL *panel, int64_t from, int64_t to, const VEC top[VECTORS],
                        VEC rescale[VECTORS])
{
    const VEC none = FN(splat)((REAL)-INFINITY), factor = FN(splat)(w->factor);
    VEC base[VECTORS], sum[VECTORS];

    for (int n = 0; n < VECTORS; n++) {
        const VEC max = FN(max)(top[n] * factor, panel->max[n]);

        base[n] = FN(select)(max == none, FN(splat)(0), max); /* a row that has seen no key yet: 2^(-inf - 0) = 0 */
        rescale[n] = FN(exp2)(panel->max[n] - base[n]);
        panel->max[n] = max;
        sum[n] = FN(splat)(0);
    }
    for (int64_t j = from; j < to; j++) {
        UNROLL
        for (int n = 0; n < VECTORS; n++) {
            REAL *const at = w->scores + j * LANES + n * WIDTH;
            const VEC p = FN(exp2)(FN(load)(at) * factor - base[n]);

            FN(store)(at, p);
            sum[n] += p;
        }
    }
    for (int n = 0; n < VECTORS; n++)
        panel->sum[n] = panel->sum[n] * rescale[n] + sum[n];
}

/* The random words of a block of keys for a vector of lanes. */
static inline __attribute__((always_inline)) void FN(draw_lanes)(const WORK *w, const PANEL *panel, int n,
                                                                 uint64_t block, BITS words[PHILOX_WORDS])
{
    dropout_words drawn[2][PHILOX_WORDS];

    UNROLL
    for (int half = 0; half < WIDTH / DROPOUT_LANES; half++) {
        const int at = n * WIDTH + half * DROPOUT_LANES;

        draw_words(&w->dropout, block - (dropout_words){0}, load_words(panel->drop_row + at),
                   load_words(panel->drop_head + at), drawn[half]);
    }
    UNROLL
    for (int word = 0; word < PHILOX_WORDS; word++)
        words[word] = (BITS)(WIDTH > DROPOUT_LANES ? join_words(drawn[0][word], drawn[1][word]) : drawn[0][word]);
}

/* Weights of the key of that number in its block become 0 in the lanes that drop them. */
static inline __attribute__((always_inline)) void FN(drop_key)(const WORK *w, const BITS words[PHILOX_WORDS], int key,
                                                               REAL *weights)
{
    const INTS bits = (INTS)(words[key / 2] >> (WORD)(key % 2 * 16) & 0xffff);

    FN(store)(weights, FN(select)(bits >= (SWORD)w->dropout.threshold, FN(load)(weights), FN(splat)(0)));
}

/* After step 7: dropout, without the factor of the weights that are kept, which o gets at the end. The sum of the
 * weights stays what it was. */
static void FN(drop_weights)(const WORK *w, const PANEL *panel, int64_t from, int64_t to)
{
    for (int64_t j = from, end; j < to; j = end) {
        const int64_t block = w->positions[j] / ATTN_DROPOUT_KEYS;

        for (end = j + 1; end < to && w->positions[end] / ATTN_DROPOUT_KEYS == block;)
            end++;
        for (int n = 0; n < VECTORS; n++) {
            REAL *const at = w->scores + n * WIDTH;
            BITS words[PHILOX_WORDS];

            FN(draw_lanes)(w, panel, n, (uint64_t)block, words);
            if (end - j == ATTN_DROPOUT_KEYS) {
                UNROLL
                for (int key = 0; key < ATTN_DROPOUT_KEYS; key++)
                    FN(drop_key)(w, words, key, at + (j + key) * LANES);
            } else {
                for (int64_t key = j; key < end; key++)
                    FN(drop_key)(w, words, (int)(w->positions[key] % ATTN_DROPOUT_KEYS), at + key * LANES);
            }
        }
    }
}

/* Step 8: VALUE_TILE columns of V times the weights, added to the rescaled output. */
static inline __attribute__((always_inline)) void FN(value_step)(const int first, const int end,
                                                                 const REAL *restrict weights, const REAL *restrict v,
                                                                 VEC sum[VALUE_TILE][VECTORS])
{
    UNROLL
    for (int d = 0; d < VALUE_TILE; d++) {
        const VEC value = FN(splat)(v[d]);

        UNROLL
        for (int n = first; n < end; n++)
            sum[d][n] += value * FN(load)(weights + n * WIDTH);
    }
}

static inline __attribute__((always_inline)) void FN(value_range)(const int first, const int end,
                                                                  const REAL *restrict weights, const REAL *restrict v,
                                                                  int64_t from, int64_t to,
                                                                  VEC sum[VALUE_TILE][VECTORS])
{
    int64_t j = from;

    for (; j + UNROLLED <= to; j += UNROLLED) {
        UNROLL
        for (int n = 0; n < UNROLLED; n++)
            FN(value_step)(first, end, weights + (j + n) * LANES, v + (j + n) * VALUE_TILE, sum);
    }
    for (; j < to; j++)
        FN(value_step)(first, end, weights + j * LANES, v + j * VALUE_TILE, sum);
}

static inline void FN(value_tile)(const REAL *restrict weights, const REAL *restrict v, const SPAN *s,
                                  const VEC rescale[VECTORS], REAL *restrict o)
{
    VEC sum[VALUE_TILE][VECTORS];

    UNROLL
    for (int d = 0; d < VALUE_TILE; d++)
        for (int n = 0; n < VECTORS; n++)
            sum[d][n] = FN(splat)(0);
    if (s->from < s->all)
        FN(value_range)(0, VECTORS - 1, weights, v, s->from, s->all, sum);
    FN(value_range)(0, VECTORS, weights, v, s->all, s->all_end, sum);
    if (s->all_end < s->to)
        FN(value_range)(1, VECTORS, weights, v, s->all_end, s->to, sum);
    UNROLL
    for (int d = 0; d < VALUE_TILE; d++) {
        for (int n = 0; n < VECTORS; n++) {
            REAL *const at = o + d * LANES + n * WIDTH;

            FN(store)(at, FN(load)(at) * rescale[n] + sum[d][n]);
        }
    }
}

static void FN(add_values)(const WORK *w, const PANEL *panel, const KEYS *keys, const SPAN *s,
                           const VEC rescale[VECTORS])
{
    const REAL *v = keys->v;

    for (int64_t d = 0; d < w->Dv; d += VALUE_TILE, v += VALUE_STRIDE)
        FN(value_tile)(w->scores, v, s, rescale, panel->o + d * LANES);
}

/* Whether the values of a block are finite, found out when it is first asked. Infinities and NaN have all bits of the
 * exponent set; an integer sum of such cases vectorises. */
static bool FN(all_finite)(const WORK *w, KEYS *keys)
{
    const WORD exponent = (((WORD)1 << (sizeof(REAL) * 8 - 1 - MANTISSA)) - 1) << MANTISSA;
    WORD found = 0;

    if (keys->finite != FINITE_UNKNOWN)
        return keys->finite == FINITE_ALL;
    for (int64_t d = 0; d < w->Dv; d += VALUE_TILE) {
        const REAL *v = keys->v + d / VALUE_TILE * VALUE_STRIDE;

        for (int64_t n = 0; n < keys->count * VALUE_TILE; n++) {
            WORD bits;

            memcpy(&bits, &v[n], sizeof bits);
            found |= (bits & exponent) == exponent;
        }
    }
    keys->finite = found == 0 ? FINITE_ALL : FINITE_NOT_ALL;
    return found == 0;
}

/* Step 8 where V has an infinity or NaN that some lane does not see: 0 times that must not reach the lane. */
static void FN(add_visible_values)(const WORK *w, const PANEL *panel, const KEYS *keys, int64_t from, int64_t to,
                                   const VEC rescale[VECTORS])
{
    for (int lane = 0; lane < LANES; lane++) {
        const REAL scale = rescale[lane / WIDTH][lane % WIDTH];

        for (int64_t d = 0; d < w->Dv; d++) {
            const REAL *v = keys->v + d / VALUE_TILE * VALUE_STRIDE + d % VALUE_TILE;
            REAL sum = 0;

            for (int64_t j = from; j < to; j++)
                if (panel->lo[lane] <= keys->begin + j && keys->begin + j < panel->hi[lane])
                    sum += w->scores[j * LANES + lane] * v[j * VALUE_TILE];
            panel->o[d * LANES + lane] = panel->o[d * LANES + lane] * scale + sum;
        }
    }
}

/* Steps 4 to 8 for one panel and one block of keys. */
static void FN(visit_keys)(const WORK *w, PANEL *panel, KEYS *keys, row_streams *ahead)
{
    const SPAN s = FN(find_span)(panel, keys, keys->count);
    const bool partial = panel->all_from > keys->begin + s.from || panel->all_to < keys->begin + s.to;
    const bool adjusted = w->cap != 0 || w->alibi;
    VEC top[VECTORS], rescale[VECTORS];

    if (s.from >= s.to)
        return;
    for (int n = 0; n < VECTORS; n++)
        top[n] = FN(splat)((REAL)-INFINITY);
    FN(score_keys)(w, panel, keys, &s, ahead, top);
    if (adjusted)
        FN(adjust_scores)(w, panel, s.from, s.to);
    if (partial)
        FN(mask_scores)(w, panel, keys, s.from, s.to);
    if (adjusted || partial)
        FN(find_max)(w, s.from, s.to, top);
    FN(softmax)(w, panel, s.from, s.to, top, rescale);
    if (w->dropout.on)
        FN(drop_weights)(w, panel, s.from, s.to);
    if (partial && !FN(all_finite)(w, keys))
        FN(add_visible_values)(w, panel, keys, s.from, s.to, rescale);
    else
        FN(add_values)(w, panel, keys, &s, rescale);
}

/* Step 9: divide, add the sink, write o and lse. */
static REAL FN(finish_lane)(const WORK *w, const PANEL *panel, int64_t folded, int lane)
{
    const attn_forward_setup *setup = w->setup;
    const attn_array *lse = &w->buffers->lse;
    const double *sinks = setup->add_sinks ? setup->problem->score.sinks : NULL;
    const int64_t h = attn_task_head(w->task, folded), r = attn_task_row(w->task, folded);
    const int64_t place = w->task->b * lse->batch_stride + h * lse->head_stride + r * lse->row_stride;
    double max = (double)panel->max[lane / WIDTH][lane % WIDTH] * LN_2;
    double sum = (double)panel->sum[lane / WIDTH][lane % WIDTH], scale = 1;

    if (sinks != NULL) {
        const double sink = sinks[setup->head_begin + h], larger = sink > max ? sink : max;

        scale = exp(max - larger);
        sum = sum * scale + exp(sink - larger);
        max = larger;
    }
    ((REAL *)lse->data)[place] = (REAL)(sum == 0 ? -INFINITY : max + log(sum));
    return (REAL)(sum == 0 ? 0 : scale / sum * w->dropout.kept);
}

static void FN(store_panel)(const WORK *w, int64_t row, const PANEL *panel)
{
    const attn_array *o = &w->buffers->o;
    const attn_dtype dtype = w->setup->o_dtype;
    const size_t element = attn_dtype_size(dtype);

    for (int begin = 0; begin < panel->rows; begin += WIDTH) {
        const int used = panel->rows - begin < WIDTH ? panel->rows - begin : WIDTH;
        REAL scales[WIDTH] = {0}, *rows[WIDTH];
        char *places[WIDTH];

        for (int n = 0; n < WIDTH; n++) {
            const int64_t f = row + begin + (n < used ? n : 0);
            const int64_t place = w->task->b * o->batch_stride + attn_task_head(w->task, f) * o->head_stride +
                                  attn_task_row(w->task, f) * o->row_stride;

            if (n < used)
                scales[n] = FN(finish_lane)(w, panel, f, begin + n);
            places[n] = (char *)o->data + (size_t)place * element;
            rows[n] = n < used && element == sizeof(REAL) ? (REAL *)(void *)places[n] : w->rows + n * w->row_stride;
        }
        FN(lanes_to_rows)(panel->o + begin, w->Dv, FN(load)(scales), rows);
        for (int n = 0; n < used && element != sizeof(REAL); n++)
            CONVERT_TO(dtype, places[n], rows[n], w->Dv);
    }
}

/* Deals the scratch memory to a task. Every array is a whole number of cache lines long. */
static REAL *FN(take)(char **scratch, size_t count)
{
    REAL *taken = (REAL *)(void *)*scratch;

    *scratch += portable_round(count * sizeof(REAL));
    return taken;
}

static size_t FN(scratch_bytes)(int64_t D, int64_t Dv, int64_t rows)
{
    const size_t panels = (size_t)((rows + LANES - 1) / LANES), wide = (size_t)(D > Dv ? D : Dv);
    const size_t padded_Dv = (size_t)portable_pad(Dv);

    return portable_round(panels * sizeof(PANEL)) + panels * portable_round((size_t)D * LANES * sizeof(REAL)) +
           panels * portable_round(padded_Dv * LANES * sizeof(REAL)) + portable_round(WIDTH * wide * sizeof(REAL)) +
           portable_round(KEY_BLOCK * LANES * sizeof(REAL)) + portable_round(KEY_BLOCK * sizeof(int64_t)) +
           portable_round(KEY_BLOCK * (size_t)D * sizeof(REAL)) +
           portable_round(padded_Dv / VALUE_TILE * VALUE_STRIDE * sizeof(REAL));
}

static WORK FN(open_work)(const attn_forward_setup *setup, const attn_forward_buffers *buffers, const attn_task *task,
                          char *scratch)
{
    const attn_problem *problem = setup->problem;
    const attn_score *score = &problem->score;
    int exponent;
    const double rest = frexp(fabs(score->scale), &exponent);
    WORK w = {.setup = setup,
              .buffers = buffers,
              .task = task,
              .D = problem->shape.head_dim,
              .Dv = problem->shape.v_head_dim,
              .padded_Dv = portable_pad(problem->shape.v_head_dim),
              .alibi = score->alibi_slopes != NULL,
              .q_factor = (REAL)(score->scale == 0 ? 0 : ldexp(score->scale < 0 ? -1 : 1, exponent)),
              .cap = (REAL)(score->softcap * LOG2_E),
              .dropout = open_dropout(problem)};

    w.adjust_factor = (REAL)(rest * (score->softcap > 0 ? 1 / score->softcap : LOG2_E));
    w.factor = w.cap != 0 || w.alibi || score->scale == 0 ? 1 : w.adjust_factor;
    w.panel_count = (int)((task->rows + LANES - 1) / LANES);
    w.panels = (PANEL *)(void *)scratch;
    scratch += portable_round((size_t)w.panel_count * sizeof(PANEL));
    for (int n = 0; n < w.panel_count; n++) {
        w.panels[n].q = FN(take)(&scratch, (size_t)w.D * LANES);
        w.panels[n].o = FN(take)(&scratch, (size_t)w.padded_Dv * LANES);
    }
    w.row_stride = w.D > w.Dv ? w.D : w.Dv;
    w.rows = FN(take)(&scratch, (size_t)(WIDTH * w.row_stride));
    w.scores = FN(take)(&scratch, KEY_BLOCK * LANES);
    w.positions = (int64_t *)(void *)scratch;
    scratch += portable_round(KEY_BLOCK * sizeof(int64_t));
    w.k_block = FN(take)(&scratch, KEY_BLOCK * (size_t)w.D);
    w.v_block = FN(take)(&scratch, (size_t)w.padded_Dv / VALUE_TILE * VALUE_STRIDE);
    if (w.padded_Dv > w.Dv) /* columns that load_keys does not write, in the last tile */
        memset(w.v_block + (w.padded_Dv / VALUE_TILE - 1) * VALUE_STRIDE, 0, VALUE_STRIDE * sizeof(REAL));
    return w;
}

/* All panels against all blocks of one part; a block is converted once and stays in cache for all panels. */
static void FN(visit_part)(WORK *w, int64_t part)
{
    const attn_segments *rows = w->setup->part_rows[part];
    int64_t first = INT64_MAX, last = 0;

    for (int n = 0; n < w->panel_count; n++) {
        PANEL *panel = &w->panels[n];

        FN(find_keys)(rows, panel);
        if (panel->first < panel->last) {
            first = panel->first < first ? panel->first : first;
            last = panel->last > last ? panel->last : last;
        }
    }
    for (int64_t begin = first; begin < last; begin += KEY_BLOCK) {
        const int64_t count = last - begin < KEY_BLOCK ? last - begin : KEY_BLOCK;
        row_streams ahead = FN(stream_ahead)(w, part, begin + count, last);
        KEYS keys = FN(load_keys)(w, part, begin, count);

        if (w->alibi || w->dropout.on)
            find_positions(rows, begin, count, w->positions);
        for (int n = 0; n < w->panel_count; n++)
            FN(visit_keys)(w, &w->panels[n], &keys, &ahead);
    }
}

static void FN(forward)(const attn_forward_setup *setup, const attn_forward_buffers *buffers, const attn_task *task,
                        void *scratch)
{
    WORK w = FN(open_work)(setup, buffers, task, scratch);

    for (int n = 0; n < w.panel_count; n++) {
        const int64_t left = task->rows - (int64_t)n * LANES;

        FN(load_panel)(&w, task->row + (int64_t)n * LANES, (int)(left < LANES ? left : LANES), &w.panels[n]);
    }
    for (int64_t part = 0; part < setup->part_count; part++)
        FN(visit_part)(&w, part);
    for (int n = 0; n < w.panel_count; n++)
        FN(store_panel)(&w, task->row + (int64_t)n * LANES, &w.panels[n]);
}

#undef VEC
#undef BITS
#undef INTS
#undef PANEL
#undef WORK
#undef KEYS
#undef SPAN
#undef WIDTH
#undef LANES
#undef VALUE_STRIDE
