/* A task of the backward pass of the bfloat16 kernels, all but the products: included by each of them after
 * bf16_task.h. It then defines multiply_block and count_groups (declared below).
 *
 * The form is that of portable_backward.h, keys in the lanes, LANES of them a panel. Every product is that of rows of
 * bfloat16 numbers with lanes of pairs of them, in float32, by blocks of 32 rows and 32 lanes:
 *
 *     S    [rows x lanes]  = Q K^T            pairs of columns of K
 *     P                    = 2^(S log2(e) - lse)
 *     dP   [rows x lanes]  = dO V^T           pairs of columns of V
 *     dS                   = P (dP - delta)
 *     dV^T [Dv x lanes]   += dO^T P           P, rounded, as pairs of rows
 *     dK^T [D x lanes]    += Q^T dS           and dS
 *     dQ   [rows x D]      = dS K             dS as rows, pairs of keys of K
 *
 * So K, V and K by pairs of keys are brought into form once for a task, Q and dO are turned once for each block of rows
 * of it, and P and dS leave the registers in the forms in which they are used. They are rounded to 8 bits, and all sums
 * are float32.
 *
 * Unlike in the forward pass P and dS are found after the products and not beside them: with one chunk of scores in
 * work all of it stays in the first-level cache, which counts for as much.
 */
#include "kernel/backward.h"

enum {
    BACKWARD_ROWS = 128,                  /* query rows of a block */
    BACKWARD_KEYS = 512,                  /* most keys of a task */
    BACKWARD_BYTES = 13 << 17,            /* of scratch memory, unless a single panel needs more */
    TURNED_STRIDE = BACKWARD_ROWS + CHUNK /* a cache line more than the rows: see VALUE_STRIDE */
};

/* Keys, one a lane. Lanes without a key are 0, and so are columns beyond D and Dv. */
typedef struct bf16_key_panel {
    uint32_t *k, *v;       /* [padded D / 2][LANES], [padded Dv / 2][LANES] pairs of columns */
    float *dk, *dv;        /* sums, [padded D][LANES], [padded Dv][LANES] */
    int from, to;          /* rows of the block, whole chunks, that may see a key of the panel */
    __m512 place[VECTORS]; /* global number of each key less that of the first of the task, for ALiBi */
} bf16_key_panel;

/* A chunk of rows and a panel on the way from products to P and dS. */
typedef struct bf16_slopes {
    const float *scores, *d_p, *lse, *delta; /* in */
    const float *bend;                       /* the derivative of the softcap, [CHUNK][LANES]; NULL: none */
    const uint32_t *seen;                    /* [CHUNK] the lanes that each row sees; NULL: all */
    float factor;                            /* on scores */
    uint32_t *p, *ds;                        /* out, [PAIRS][LANES] pairs of rows */
    uint16_t *ds_rows;                       /* out, rows ds_stride apart */
    int64_t ds_stride;
} bf16_slopes;

/* A task, and the block of query rows at hand. */
typedef struct bf16_backward {
    const attn_backward_call *call;
    attn_backward_task *task;
    int64_t D, Dv, padded_D, padded_Dv;
    int panel_count;
    bf16_key_panel *panels;
    uint32_t *k_rows;               /* [padded D / LANES][panels LANES / 2][LANES] pairs of keys, without specials */
    uint16_t *q, *d_o;              /* [BACKWARD_ROWS] rows, padded D or Dv and CHUNK apart */
    uint16_t *turned_q, *turned_do; /* [padded D], [padded Dv] columns, TURNED_STRIDE apart, without specials */
    uint32_t *p, *ds;               /* [BACKWARD_ROWS / 2][LANES] pairs of rows, of a panel */
    uint16_t *ds_rows;              /* [BACKWARD_ROWS] rows, ds_stride apart */
    int64_t ds_stride;
    float *scores, *d_p, *bend;               /* [CHUNK][LANES] */
    float *dq;                                /* [padded D / LANES][BACKWARD_ROWS][LANES] */
    bool special_keys, special_q, special_do; /* K, or rows of the block, have infinities or NaN */
    float scale;
    float k_factor; /* on the keys of S: the power of two of the scale; see portable_backward.h */
    float factor;   /* on S: the rest of the scale, times log2(e); with a softcap over softcap, before the tanh */
    float cap;      /* softcap log2(e), 0: off */
    bool alibi;
    int row_count;
    int64_t first_key;                              /* global number */
    int lo[BACKWARD_ROWS], hi[BACKWARD_ROWS];       /* keys of the task that each row sees; empty beyond row_count */
    float lse[BACKWARD_ROWS], delta[BACKWARD_ROWS]; /* lse in units of log 2 */
    float slope[BACKWARD_ROWS], diagonal[BACKWARD_ROWS]; /* ALiBi, in units of log 2; i' less first_key */
    uint32_t seen[CHUNK];                                /* of the chunk at hand */
    bf16_products products;                              /* ahead: q and do of the next block */
} bf16_backward;

/* One of the products above: 32 rows of A, `stride` elements apart, times `lanes`, summed over `count` numbers of each
 * row, a multiple of CHUNK > 0. It is written to C [CHUNK][LANES] or added to it. The results of the last call arrive
 * with the next one or with finish_blocks. */
static void multiply_block(bf16_backward *w, const uint16_t *from, int64_t stride, const uint32_t *lanes, int64_t count,
                           bool add, float *c);
static void finish_blocks(bf16_backward *w);

/* Groups of products in multiply_block: so often it prefetches. */
static int64_t count_groups(int64_t count);

/* Step 1: the keys and values of a panel; and the keys by pairs. */
static const uint16_t *key_row(const bf16_backward *w, const attn_array *array, int64_t row)
{
    const attn_backward_task *task = w->task;

    return (const uint16_t *)array->data + task->b * array->batch_stride + task->kv_head * array->head_stride +
           (task->key + row) * array->row_stride;
}

static void turn_keys(const bf16_backward *w, const attn_array *array, int64_t first, int64_t columns, float factor,
                      uint32_t *to)
{
    for (int64_t lane = 0; lane < LANES; lane += WIDTH) {
        const int64_t left = w->task->keys - first - lane;
        const uint16_t *from[WIDTH];

        for (int64_t n = 0; n < WIDTH; n++)
            from[n] = key_row(w, array, n < left ? first + lane + n : 0);
        turn_pairs(from, columns, factor, to + lane);
        for (int64_t pair = 0; left < WIDTH && pair < round_to_chunk(columns) / 2; pair++)
            _mm512_mask_storeu_epi32(to + pair * LANES + lane, (__mmask16)~first_of_16(left), _mm512_setzero_si512());
    }
}

/* Two rows of 32 numbers become pairs in lanes. */
static inline void zip_rows(__m512i first, __m512i second, uint32_t *to)
{
    const __m512i even =
        _mm512_set_epi64(0x002f000f002e000e, 0x002d000d002c000c, 0x002b000b002a000a, 0x0029000900280008,
                         0x0027000700260006, 0x0025000500240004, 0x0023000300220002, 0x0021000100200000);

    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(first, even, second));
    _mm512_storeu_si512(to + WIDTH,
                        _mm512_permutex2var_epi16(first, _mm512_add_epi16(even, _mm512_set1_epi16(WIDTH)), second));
}

/* Keys that no row of the task sees become 0: whatever they hold, 0 times it must be 0. */
static void pair_keys(bf16_backward *w, const attn_array *k)
{
    const int64_t keys = (int64_t)w->panel_count * LANES;

    w->special_keys = false;
    for (int64_t d = 0; d < w->padded_D; d += LANES)
        for (int64_t j = 0; j < keys; j += 2) {
            const __mmask32 columns = first_of_32(w->D - d);
            const uint16_t *a = key_row(w, k, j < w->task->keys ? j : 0);
            const uint16_t *b = key_row(w, k, j + 1 < w->task->keys ? j + 1 : 0);
            __m512i first = _mm512_maskz_loadu_epi16(j < w->task->keys ? columns : 0, a + d);
            __m512i second = _mm512_maskz_loadu_epi16(j + 1 < w->task->keys ? columns : 0, b + d);
            const __mmask32 specials = find_specials(first) | find_specials(second);

            if (specials != 0) {
                w->special_keys = true;
                first = _mm512_maskz_mov_epi16(_knot_mask32(find_specials(first)), first);
                second = _mm512_maskz_mov_epi16(_knot_mask32(find_specials(second)), second);
            }
            zip_rows(first, second, w->k_rows + d / LANES * keys / 2 * LANES + j / 2 * LANES);
        }
}

static void load_keys_of_task(bf16_backward *w)
{
    const attn_array *k = &w->call->buffers->k[w->task->part], *v = &w->call->buffers->v[w->task->part];
    const attn_segments *part = w->call->setup->part_rows[w->task->part];

    for (int n = 0; n < w->panel_count; n++) {
        bf16_key_panel *panel = &w->panels[n];
        const int64_t first = (int64_t)n * LANES, last = w->task->keys - 1;
        float place[LANES] = {0};

        turn_keys(w, k, first, w->D, w->k_factor, panel->k);
        turn_keys(w, v, first, w->Dv, 1, panel->v);
        memset(panel->dk, 0, (size_t)(w->padded_D * LANES) * sizeof(float));
        memset(panel->dv, 0, (size_t)(w->padded_Dv * LANES) * sizeof(float));
        for (int64_t lane = 0; lane < LANES && w->alibi; lane++) {
            const int64_t j = first + lane < last ? first + lane : last;

            place[lane] = (float)(attn_segments_global(part, w->task->key + j) - w->first_key);
        }
        for (int m = 0; m < VECTORS; m++)
            panel->place[m] = _mm512_loadu_ps(place + m * WIDTH);
    }
    pair_keys(w, k);
}

/* Step 2: what belongs to each row of the block. */
static attn_interval find_keys_of_row(const bf16_backward *w, int64_t row)
{
    const attn_backward_setup *setup = w->call->setup;
    const attn_problem *problem = setup->problem;
    const attn_segments *part = setup->part_rows[w->task->part];
    const int64_t i = attn_segments_global(setup->q_rows, row / w->task->heads), keys = w->task->keys;
    const attn_interval seen = attn_mask_row(&problem->mask, &problem->shape, w->task->b, i);
    const int64_t lo = attn_segments_below(part, seen.lo) - w->task->key;
    const int64_t hi = attn_segments_below(part, seen.hi) - w->task->key;

    return (attn_interval){lo < 0 ? 0 : lo > keys ? keys : lo, hi < 0 ? 0 : hi > keys ? keys : hi};
}

/* The keys that the rows see. All rows see all keys where the first sees the last key and the last the first. */
static void find_row_ends(bf16_backward *w, int64_t row)
{
    const attn_interval first = find_keys_of_row(w, row), last = find_keys_of_row(w, row + w->row_count - 1);
    const bool full = last.lo == 0 && first.hi == w->task->keys;
    int64_t known = -1;
    attn_interval keys = {0, w->task->keys};

    for (int r = 0; r < BACKWARD_ROWS; r++) {
        const int64_t local = (row + r) / w->task->heads;

        if (r < w->row_count && !full && local != known) {
            keys = find_keys_of_row(w, row + r);
            known = local;
        }
        w->lo[r] = r < w->row_count ? (int)keys.lo : 0;
        w->hi[r] = r < w->row_count ? (int)keys.hi : 0;
    }
}

/* A row without a key has lse = -inf, and 2^(s - inf) = 0. */
static void load_numbers(bf16_backward *w, int64_t row)
{
    const attn_backward_setup *setup = w->call->setup;
    const attn_shape *shape = &setup->problem->shape;
    const attn_array *lse = &w->call->buffers->lse;
    const double *slopes = setup->problem->score.alibi_slopes;

    for (int r = 0; r < BACKWARD_ROWS; r++) {
        const int64_t f = row + (r < w->row_count ? r : 0), local = f / w->task->heads;
        const int64_t h = w->task->head + f % w->task->heads;
        const float of_row = ((const float *)lse->data)[attn_backward_place(w->task, lse, f)];

        w->lse[r] = of_row == -INFINITY ? INFINITY : (float)((double)of_row * LOG2_E);
        w->delta[r] = (float)w->call->delta[(w->task->b * setup->head_count + h) * setup->q_rows->rows + local];
        if (w->alibi) {
            const int64_t i = attn_segments_global(setup->q_rows, local);

            w->slope[r] = (float)(slopes[setup->head_begin + h] * LOG2_E);
            w->diagonal[r] = (float)(i + shape->kv_seq - shape->seq - w->first_key);
        }
    }
}

/* Rows as they are and turned; rows that see no key of the task, and those that are not there, are 0. Returns whether
 * there are infinities or NaN. */
static bool load_rows(const bf16_backward *w, const attn_array *array, int64_t row, int64_t columns, uint16_t *to,
                      uint16_t *turned)
{
    const int64_t padded = round_to_chunk(columns), stride = padded + CHUNK;
    bool special = false;

    for (int r = 0; r < round_to_chunk(w->row_count); r += CHUNK) {
        const uint16_t *rows[CHUNK];

        for (int n = 0; n < CHUNK; n++) {
            const bool seeing = w->lo[r + n] < w->hi[r + n];
            const int64_t f = row + (seeing ? r + n : 0);
            const uint16_t *from = (const uint16_t *)array->data + attn_backward_place(w->task, array, f);

            for (int64_t d = 0; d < padded; d += CHUNK)
                _mm512_storeu_si512(to + (r + n) * stride + d,
                                    _mm512_maskz_loadu_epi16(seeing ? first_of_32(columns - d) : 0, from + d));
            rows[n] = to + (r + n) * stride;
        }
        for (int64_t d = 0; d < padded; d += CHUNK)
            special |= turn_rows(rows, CHUNK, d, first_of_32(CHUNK), turned + d * TURNED_STRIDE + r, TURNED_STRIDE);
    }
    if (special)
        clear_specials(turned, padded * TURNED_STRIDE);
    return special;
}

/* The last row of a chunk of them. */
static int last_of_chunk(const bf16_backward *w, int row)
{
    return (row + CHUNK < w->row_count ? row + CHUNK : w->row_count) - 1;
}

/* The chunks of rows that may see a key of each panel. Both ends of what rows see never decrease. */
static void find_panel_rows(bf16_backward *w)
{
    int from = 0, to = 0;

    for (int n = 0; n < w->panel_count; n++) {
        while (from < w->row_count && w->hi[last_of_chunk(w, from)] <= n * LANES)
            from += CHUNK;
        while (to < w->row_count && w->lo[to] < (n + 1) * LANES)
            to += CHUNK;
        w->panels[n].from = from;
        w->panels[n].to = from < to ? to : from;
    }
}

/* Scores become exponents to the base 2 where the factor alone does not make them so. */
static void bend_scores(const bf16_backward *w, const bf16_key_panel *panel, int first)
{
    for (int row = 0; row < CHUNK; row++) {
        const __m512 diagonal = _mm512_set1_ps(w->diagonal[first + row]);
        const __m512 slope = _mm512_set1_ps(w->slope[first + row]);

        for (int n = 0; n < VECTORS; n++) {
            float *at = w->scores + row * LANES + n * WIDTH;
            __m512 x = _mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(w->factor));

            if (w->cap != 0) {
                x = tanh_lanes(x);
                _mm512_storeu_ps(w->bend + row * LANES + n * WIDTH, _mm512_fnmadd_ps(x, x, _mm512_set1_ps(1)));
                x = _mm512_mul_ps(x, _mm512_set1_ps(w->cap));
            }
            if (w->alibi)
                x = _mm512_fnmadd_ps(_mm512_abs_ps(_mm512_sub_ps(diagonal, panel->place[n])), slope, x);
            _mm512_storeu_ps(at, x);
        }
    }
}

/* Which lanes the rows see; NULL when all see all. */
static const uint32_t *find_seen(bf16_backward *w, int first_key, int row)
{
    const int last = row + CHUNK - 1;

    if (w->lo[last] <= first_key && w->hi[row] >= first_key + LANES && w->hi[last] >= first_key + LANES)
        return NULL;
    for (int n = 0; n < CHUNK; n++)
        w->seen[n] = first_of_32(w->hi[row + n] - first_key) & ~first_of_32(w->lo[row + n] - first_key);
    return w->seen;
}

/* P and dS of a pair of rows. What a row does not see is 0, whatever its numbers.
 *   careful  whether there is something that rows do not see, or a softcap */
static inline __attribute__((always_inline)) void find_pair(const bf16_slopes *s, int64_t pair, bool careful)
{
    __m512 p[VECTORS][2], ds[VECTORS][2];

    UNROLL
    for (int n = 0; n < VECTORS; n++)
        for (int e = 0; e < 2; e++) {
            const int64_t row = 2 * pair + e, at = row * LANES + n * WIDTH;

            p[n][e] = exp2_lanes(_mm512_fmsub_ps(_mm512_loadu_ps(s->scores + at), _mm512_set1_ps(s->factor),
                                                 _mm512_set1_ps(s->lse[row])));
            ds[n][e] =
                _mm512_mul_ps(p[n][e], _mm512_sub_ps(_mm512_loadu_ps(s->d_p + at), _mm512_set1_ps(s->delta[row])));
            if (careful && s->bend != NULL)
                ds[n][e] = _mm512_mul_ps(ds[n][e], _mm512_loadu_ps(s->bend + at));
            if (careful && s->seen != NULL) {
                const __mmask16 seen = (__mmask16)(s->seen[row] >> (n * WIDTH));

                p[n][e] = _mm512_maskz_mov_ps(seen, p[n][e]);
                ds[n][e] = _mm512_maskz_mov_ps(seen, ds[n][e]);
            }
        }
    UNROLL
    for (int n = 0; n < VECTORS; n++) {
        _mm512_storeu_si512(s->p + pair * LANES + n * WIDTH, pair_lanes(p[n][0], p[n][1]));
        _mm512_storeu_si512(s->ds + pair * LANES + n * WIDTH, pair_lanes(ds[n][0], ds[n][1]));
    }
    UNROLL
    for (int e = 0; e < 2; e++)
        _mm512_storeu_si512(s->ds_rows + (2 * pair + e) * s->ds_stride,
                            (__m512i)_mm512_cvtne2ps_pbh(ds[1][e], ds[0][e]));
}

/* Step 3: P and dS of a chunk of rows and a panel, whose products have arrived. */
static void find_slopes(bf16_backward *w, int n, int row)
{
    const bool bent = w->cap != 0 || w->alibi;
    const bf16_slopes s = {.scores = w->scores,
                           .d_p = w->d_p,
                           .lse = w->lse + row,
                           .delta = w->delta + row,
                           .bend = w->cap != 0 ? w->bend : NULL,
                           .seen = find_seen(w, n * LANES, row),
                           .factor = bent ? 1 : w->factor,
                           .p = w->p + row / 2 * LANES,
                           .ds = w->ds + row / 2 * LANES,
                           .ds_rows = w->ds_rows + row * w->ds_stride + n * LANES,
                           .ds_stride = w->ds_stride};

    if (bent)
        bend_scores(w, &w->panels[n], row);
    if (s.seen == NULL && s.bend == NULL)
        for (int64_t pair = 0; pair < PAIRS; pair++)
            find_pair(&s, pair, false);
    else
        for (int64_t pair = 0; pair < PAIRS; pair++)
            find_pair(&s, pair, true);
}

/* Infinities and NaN of q or do reach the keys that their rows see, and no others (0 times one is NaN). */
static void add_row_specials(const bf16_backward *w, int n, const uint16_t *rows, int64_t padded,
                             const uint32_t *weights, float *sums)
{
    for (int r = w->panels[n].from; r < w->panels[n].to; r++)
        for (int64_t d = 0; d < padded; d++) {
            const uint16_t x = rows[r * (padded + CHUNK) + d];

            if ((x & EXPONENT16) != EXPONENT16)
                continue;
            for (int lane = 0; lane < LANES; lane++)
                if (w->lo[r] <= n * LANES + lane && n * LANES + lane < w->hi[r]) {
                    const uint32_t pair = weights[r / 2 * LANES + lane];

                    sums[d * LANES + lane] += attn_float_from_bfloat16((uint16_t)(r % 2 == 0 ? pair : pair >> 16)) *
                                              attn_float_from_bfloat16(x);
                }
        }
}

/* Step 4: dV and dK of a panel. */
static void add_columns(bf16_backward *w, int n)
{
    const bf16_key_panel *panel = &w->panels[n];
    const int from = panel->from, rows = panel->to - from;

    for (int64_t d = 0; d < w->padded_Dv; d += CHUNK)
        multiply_block(w, w->turned_do + d * TURNED_STRIDE + from, TURNED_STRIDE, w->p + from / 2 * LANES, rows, true,
                       panel->dv + d * LANES);
    for (int64_t d = 0; d < w->padded_D; d += CHUNK)
        multiply_block(w, w->turned_q + d * TURNED_STRIDE + from, TURNED_STRIDE, w->ds + from / 2 * LANES, rows, true,
                       panel->dk + d * LANES);
    if (w->special_do || w->special_q)
        finish_blocks(w);
    if (w->special_do)
        add_row_specials(w, n, w->d_o, w->padded_Dv, w->p, panel->dv);
    if (w->special_q)
        add_row_specials(w, n, w->q, w->padded_D, w->ds, panel->dk);
}

/* Steps 3 and 4 for all panels. */
static void find_key_gradients(bf16_backward *w)
{
    const int64_t q_stride = w->padded_D + CHUNK, do_stride = w->padded_Dv + CHUNK;

    for (int n = 0; n < w->panel_count; n++) {
        const bf16_key_panel *panel = &w->panels[n];

        for (int row = panel->from; row < panel->to; row += CHUNK) {
            multiply_block(w, w->q + row * q_stride, q_stride, panel->k, w->padded_D, false, w->scores);
            multiply_block(w, w->d_o + row * do_stride, do_stride, panel->v, w->padded_Dv, false, w->d_p);
            finish_blocks(w);
            find_slopes(w, n, row);
        }
        if (panel->from < panel->to)
            add_columns(w, n);
    }
}

/* Infinities and NaN of keys, likewise. */
static void add_key_specials(const bf16_backward *w)
{
    const attn_array *k = &w->call->buffers->k[w->task->part];

    for (int j = 0; j < (int)w->task->keys; j++)
        for (int64_t d = 0; d < w->D; d++) {
            const uint16_t x = key_row(w, k, j)[d];

            if ((x & EXPONENT16) != EXPONENT16)
                continue;
            for (int r = 0; r < w->row_count; r++)
                if (w->lo[r] <= j && j < w->hi[r])
                    w->dq[(d / LANES * BACKWARD_ROWS + r) * LANES + d % LANES] +=
                        attn_float_from_bfloat16(w->ds_rows[r * w->ds_stride + j]) * attn_float_from_bfloat16(x);
        }
}

/* Step 5: dQ of the block. */
static void find_dq(bf16_backward *w)
{
    const int64_t columns = (int64_t)w->panel_count * LANES / 2 * LANES; /* of k_rows, from one 32 to the next */

    for (int row = 0; row < w->row_count; row += CHUNK) {
        const int from = w->lo[row] / LANES * LANES;
        const int to = (int)round_to_chunk(w->hi[last_of_chunk(w, row)]);

        for (int64_t d = 0; d < w->padded_D; d += LANES) {
            float *dq = w->dq + (d / LANES * BACKWARD_ROWS + row) * LANES;

            if (from < to)
                multiply_block(w, w->ds_rows + row * w->ds_stride + from, w->ds_stride,
                               w->k_rows + d / LANES * columns + from / 2 * LANES, to - from, false, dq);
            else
                memset(dq, 0, CHUNK * LANES * sizeof *dq);
        }
    }
    finish_blocks(w);
    if (w->special_keys)
        add_key_specials(w);
}

/* Step 6: the block's share of dQ is added when it is this task's turn. */
static void add_dq(const bf16_backward *w, int64_t row)
{
    const __m512 scale = _mm512_set1_ps(w->scale);

    attn_backward_await(w->task, row + w->row_count);
    for (int r = 0; r < w->row_count; r++) {
        float *to = (float *)w->task->dq + attn_backward_dq_place(w->task, row + r);

        for (int64_t d = 0; d < w->D; d += WIDTH) {
            const float *from = w->dq + (d / LANES * BACKWARD_ROWS + r) * LANES + d % LANES;
            const __mmask16 columns = first_of_16(w->D - d);

            _mm512_mask_storeu_ps(
                to + d, columns, _mm512_fmadd_ps(_mm512_loadu_ps(from), scale, _mm512_maskz_loadu_ps(columns, to + d)));
        }
    }
    attn_backward_publish(w->task, row + w->row_count);
}

/* Lets the folded rows of q and do from `row` on be fetched beside the products. */
static void look_ahead_rows(bf16_backward *w, int64_t row, int64_t count)
{
    const attn_backward_buffers *buffers = w->call->buffers;
    const attn_array *arrays[2] = {&buffers->q, &buffers->d_o};
    const int64_t columns[2] = {w->D, w->Dv}, folded = w->task->heads;
    const int64_t first = count > 0 ? row : 0, whole = first / folded * folded;
    const int64_t chunks = BACKWARD_ROWS / CHUNK, blocks = w->padded_D / CHUNK + w->padded_Dv / CHUNK;

    for (int n = 0; n < 2; n++)
        w->products.ahead.of[n] = (row_stream){
            .first = (const char *)((const uint16_t *)arrays[n]->data + attn_backward_place(w->task, arrays[n], whole)),
            .step = (size_t)arrays[n]->row_stride * sizeof(uint16_t),
            .fold_step = (size_t)arrays[n]->head_stride * sizeof(uint16_t),
            .bytes = (size_t)columns[n] * sizeof(uint16_t),
            .folded = folded,
            .rows = count > 0 ? first - whole + count : 0,
            .row = first - whole};
    share_lines(&w->products.ahead,
                w->panel_count * (chunks * (count_groups(w->padded_D) + count_groups(w->padded_Dv)) +
                                  blocks * count_groups(BACKWARD_ROWS)));
}

/* Steps 2 to 6 for a block of rows. */
static void visit_rows(bf16_backward *w, int64_t row)
{
    const int64_t left = w->task->last - row;
    const int row_count = (int)(left < BACKWARD_ROWS ? left : BACKWARD_ROWS);

    w->row_count = row_count;
    find_row_ends(w, row);
    find_panel_rows(w);
    load_numbers(w, row);
    w->special_q = load_rows(w, &w->call->buffers->q, row, w->D, w->q, w->turned_q);
    w->special_do = load_rows(w, &w->call->buffers->d_o, row, w->Dv, w->d_o, w->turned_do);
    look_ahead_rows(w, row + row_count, left - row_count < BACKWARD_ROWS ? left - row_count : BACKWARD_ROWS);
    find_key_gradients(w);
    find_dq(w);
    add_dq(w, row);
}

/* Step 7: WIDTH columns of a row of dK or dV, to the caller's array. */
static void store_columns(const attn_backward_setup *setup, void *data, int64_t place, __mmask16 columns, __m512 sums)
{
    if (setup->dkv_dtype == ATTN_BFLOAT16)
        _mm256_mask_storeu_epi16((uint16_t *)data + place, columns, (__m256i)_mm512_cvtneps_pbh(sums));
    else if (setup->accumulate)
        _mm512_mask_storeu_ps((float *)data + place, columns,
                              _mm512_add_ps(_mm512_maskz_loadu_ps(columns, (float *)data + place), sums));
    else
        _mm512_mask_storeu_ps((float *)data + place, columns, sums);
}

static void store_key_rows(const bf16_backward *w, const attn_array *to, int64_t first, int64_t columns, float scale,
                           const float *sums)
{
    const attn_backward_task *task = w->task;

    for (int64_t lane = 0; lane < LANES; lane += WIDTH)
        for (int64_t d = 0; d < columns; d += WIDTH) {
            __m512 m[WIDTH];

            UNROLL
            for (int n = 0; n < WIDTH; n++)
                m[n] = _mm512_mul_ps(_mm512_loadu_ps(sums + (d + n) * LANES + lane), _mm512_set1_ps(scale));
            transpose_lanes(m);
            for (int64_t n = 0; n < WIDTH && first + lane + n < task->keys; n++)
                store_columns(w->call->setup, to->data,
                              task->b * to->batch_stride + task->kv_head * to->head_stride +
                                  (task->key + first + lane + n) * to->row_stride + d,
                              first_of_16(columns - d), m[n]);
        }
}

/* The scratch memory: beside the panels, and of one panel. */
static size_t backward_fixed(int64_t D, int64_t Dv)
{
    const int64_t padded_D = round_to_chunk(D), padded_Dv = round_to_chunk(Dv);
    const int64_t rows = BACKWARD_ROWS * (padded_D + padded_Dv + 2 * CHUNK);

    return (size_t)(rows + (padded_D + padded_Dv) * TURNED_STRIDE + BACKWARD_ROWS * CHUNK) * sizeof(uint16_t) +
           (size_t)(2 * BACKWARD_ROWS / 2 * LANES) * sizeof(uint32_t) +
           (size_t)(3 * CHUNK * LANES + BACKWARD_ROWS * padded_D) * sizeof(float);
}

static size_t backward_of_panel(int64_t D, int64_t Dv)
{
    const int64_t padded_D = round_to_chunk(D), padded_Dv = round_to_chunk(Dv);

    return round_to_line(sizeof(bf16_key_panel)) +
           (size_t)(LANES * (2 * padded_D + padded_Dv + BACKWARD_ROWS)) * sizeof(uint16_t) +
           (size_t)(LANES * (padded_D + padded_Dv)) * sizeof(float);
}

static int64_t backward_panels(const attn_shape *shape)
{
    const int64_t room = BACKWARD_BYTES - (int64_t)backward_fixed(shape->head_dim, shape->v_head_dim);
    const int64_t fitting = room / (int64_t)backward_of_panel(shape->head_dim, shape->v_head_dim);

    return fitting < 1 ? 1 : fitting < BACKWARD_KEYS / LANES ? fitting : BACKWARD_KEYS / LANES;
}

static int64_t backward_keys(const attn_shape *shape, attn_dtype dtype)
{
    (void)dtype;
    return backward_panels(shape) * LANES;
}

static size_t backward_bytes(const attn_shape *shape, attn_dtype dtype)
{
    const int64_t D = shape->head_dim, Dv = shape->v_head_dim;

    (void)dtype;
    return round_to_line(sizeof(bf16_backward)) + backward_fixed(D, Dv) +
           (size_t)backward_panels(shape) * backward_of_panel(D, Dv);
}

static void deal_scratch(bf16_backward *w, char *scratch)
{
    const size_t pairs = BACKWARD_ROWS / 2 * LANES * sizeof(uint32_t), block = CHUNK * LANES * sizeof(float);
    const int64_t D = w->padded_D, Dv = w->padded_Dv;

    w->panels = take(&scratch, (size_t)w->panel_count * round_to_line(sizeof(bf16_key_panel)));
    for (int n = 0; n < w->panel_count; n++) {
        w->panels[n].k = take(&scratch, (size_t)(D * LANES) * sizeof(uint16_t));
        w->panels[n].v = take(&scratch, (size_t)(Dv * LANES) * sizeof(uint16_t));
        w->panels[n].dk = take(&scratch, (size_t)(D * LANES) * sizeof(float));
        w->panels[n].dv = take(&scratch, (size_t)(Dv * LANES) * sizeof(float));
    }
    w->k_rows = take(&scratch, (size_t)(D * w->panel_count * LANES) * sizeof(uint16_t));
    w->ds_stride = (int64_t)w->panel_count * LANES + CHUNK;
    w->ds_rows = take(&scratch, (size_t)(BACKWARD_ROWS * w->ds_stride) * sizeof(uint16_t));
    w->q = take(&scratch, (size_t)(BACKWARD_ROWS * (D + CHUNK)) * sizeof(uint16_t));
    w->d_o = take(&scratch, (size_t)(BACKWARD_ROWS * (Dv + CHUNK)) * sizeof(uint16_t));
    w->turned_q = take(&scratch, (size_t)(D * TURNED_STRIDE) * sizeof(uint16_t));
    w->turned_do = take(&scratch, (size_t)(Dv * TURNED_STRIDE) * sizeof(uint16_t));
    w->p = take(&scratch, pairs);
    w->ds = take(&scratch, pairs);
    w->scores = take(&scratch, block);
    w->d_p = take(&scratch, block);
    w->bend = take(&scratch, block);
    w->dq = take(&scratch, (size_t)(BACKWARD_ROWS * D) * sizeof(float));
}

static bf16_backward *open_backward(const attn_backward_call *call, attn_backward_task *task, char *scratch)
{
    const attn_shape *shape = &call->setup->problem->shape;
    const attn_score *score = &call->setup->problem->score;
    bf16_backward *w = take(&scratch, sizeof *w);
    int exponent;
    const double rest = frexp(score->scale, &exponent);

    w->call = call;
    w->task = task;
    w->D = shape->head_dim;
    w->Dv = shape->v_head_dim;
    w->padded_D = round_to_chunk(w->D);
    w->padded_Dv = round_to_chunk(w->Dv);
    w->panel_count = (int)((task->keys + LANES - 1) / LANES);
    w->scale = (float)score->scale;
    w->k_factor = (float)(score->scale == 0 ? 0 : ldexp(1, exponent));
    w->factor = (float)(rest * (score->softcap > 0 ? 1 / score->softcap : LOG2_E));
    w->cap = (float)(score->softcap * LOG2_E);
    w->alibi = score->alibi_slopes != NULL;
    w->first_key = attn_segments_global(call->setup->part_rows[task->part], task->key);
    w->products = (bf16_products){.pending = NULL};
    deal_scratch(w, scratch);
    return w;
}

/* All of a task. Results below 2^-126 become 0, as they do in the products anyway. */
static void run_backward(const attn_backward_call *call, attn_backward_task *task, void *scratch)
{
    const unsigned before = _mm_getcsr();
    bf16_backward *w = open_backward(call, task, scratch);

    _mm_setcsr(before | _MM_FLUSH_ZERO_ON);
    load_keys_of_task(w);
    for (int64_t row = task->first; row < task->last; row += BACKWARD_ROWS)
        visit_rows(w, row);
    for (int n = 0; n < w->panel_count; n++) {
        const int64_t first = (int64_t)n * LANES;

        store_key_rows(w, &call->buffers->dk[task->part], first, w->D, w->scale, w->panels[n].dk);
        store_key_rows(w, &call->buffers->dv[task->part], first, w->Dv, 1, w->panels[n].dv);
    }
    _mm_setcsr(before);
}
