/* A task of the bfloat16 kernels, all but the products. Included once by each of them, which then defines multiply_keys
 * and multiply_values (declared below) and a row of the table with run_task.
 *
 * The form is that of portable_task.h: queries in the lanes, LANES of them a panel, and for each block of keys
 *
 *     S^T [keys x lanes]  = K Q^T           in float32, from pairs (d, d+1) of bfloat16
 *     P^T                 = 2^(S^T - base)  in float32, then rounded to pairs of keys of bfloat16
 *     O^T [Dv x lanes]   += V^T P^T         in float32, from pairs of keys
 *
 * q, k and v enter the products as they are: the scale is applied in float32, in the exponent. K is read in place where
 * its width is whole tiles; V is transposed once per block, so that pairs of keys stand together. lse comes from the
 * sum of the weights before they are rounded, and so has the precision of float32; o is divided by the sum of the
 * rounded weights, so that it is a mean of rows of V: of one key, or of equal rows, the row itself.
 *
 * base is the running maximum, but it follows the maximum only when that is SLACK above it: weights up to 2^SLACK are
 * as exact as weights up to 1, and what was summed needs almost never be rescaled.
 *
 * Keys come in chunks. The products of a chunk are made beside the softmax of the chunk before the last one, and the
 * values of a panel beside the first softmax of the next: so the units for products and for vectors both have work.
 */
#include "kernel/bf16_panel.h"

/* S^T of a chunk.
 *   beside  a softmax to work on, share pairs at a time */
static void multiply_keys(bf16_work *w, const bf16_keys *keys, const bf16_chunk *chunk, bf16_softmax *beside);

/* Adds V^T P^T to the output, after that was multiplied by rescale where `rescaled` says so. */
static void multiply_values(bf16_work *w, const bf16_keys *keys, const bf16_stage *stage, bf16_softmax *beside);

/* Makes sure that the results of both have arrived in memory, as otherwise only those of the last call but one have. */
static void finish_products(bf16_work *w);

/* Groups of products in multiply_keys and multiply_values: so often they turn to the softmax. */
static int64_t count_key_groups(const bf16_work *w);
static int64_t count_value_groups(const bf16_work *w, int64_t keys);

/* Step 5: softcap and ALiBi, of the chunk at key j. */
static void adjust_scores(const bf16_work *w, const bf16_panel *panel, int64_t j, float *scores)
{
    for (int64_t row = 0; row < CHUNK; row++) {
        const float distance = w->alibi ? (float)(w->positions[j + row] - panel->diagonal) : 0;

        for (int n = 0; n < VECTORS; n++) {
            float *at = scores + row * LANES + n * WIDTH;
            __m512 x = _mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(w->adjust_factor));

            if (w->cap != 0)
                x = _mm512_mul_ps(tanh_lanes(x), _mm512_set1_ps(w->cap));
            if (w->alibi)
                x = _mm512_fnmadd_ps(_mm512_abs_ps(_mm512_sub_ps(panel->position[n], _mm512_set1_ps(distance))),
                                     panel->slope[n], x);
            _mm512_storeu_ps(at, x);
        }
    }
}

/* Step 6: keys that a lane does not see get the score -inf.
 *   first  local number of the chunk's first key, in its part */
static void mask_scores(const bf16_panel *panel, int64_t first, float *scores)
{
    for (int n = 0; n < VECTORS; n++) {
        int32_t lo[WIDTH], hi[WIDTH];
        __m512i low, high;

        for (int m = 0; m < WIDTH; m++) {
            const int64_t a = panel->lo[n * WIDTH + m] - first, b = panel->hi[n * WIDTH + m] - first;

            lo[m] = (int32_t)(a < 0 ? 0 : a > CHUNK ? CHUNK : a);
            hi[m] = (int32_t)(b < 0 ? 0 : b > CHUNK ? CHUNK : b);
        }
        low = _mm512_loadu_si512(lo);
        high = _mm512_loadu_si512(hi);
        for (int row = 0; row < CHUNK; row++) {
            const __m512i key = _mm512_set1_epi32(row);
            const __mmask16 hidden = _mm512_cmpgt_epi32_mask(low, key) | _mm512_cmple_epi32_mask(high, key);

            _mm512_mask_storeu_ps(scores + row * LANES + n * WIDTH, hidden, _mm512_set1_ps(-INFINITY));
        }
    }
}

/* Steps 5 and 6 of a chunk. */
static void finish_scores(const bf16_work *w, const bf16_keys *keys, const bf16_chunk *chunk)
{
    const bf16_panel *panel = chunk->stage->panel;
    const int64_t first = keys->begin + chunk->j;

    if (w->cap != 0 || w->alibi)
        adjust_scores(w, panel, chunk->j, chunk->scores);
    if (panel->all_from > first || panel->all_to < first + CHUNK)
        mask_scores(panel, first, chunk->scores);
}

/* Weights of a panel times a power of 2. */
static void rescale_weights(uint32_t *weights, int64_t pairs, const __m512 rescale[VECTORS])
{
    for (int64_t p = 0; p < pairs; p++)
        for (int n = 0; n < VECTORS; n++) {
            uint32_t *at = weights + p * LANES + n * WIDTH;

            _mm512_storeu_si512(at, multiply_pairs(_mm512_loadu_si512(at), rescale[n]));
        }
}

/* Raises the base of some lanes to their largest exponent, x, and multiplies what came before accordingly. The base is
 * a whole number, so that what is multiplied with is a power of 2, and no rounding is added. */
static void raise_base(bf16_stage *stage, int64_t pairs, const __mmask16 grown[VECTORS], const __m512 x[VECTORS])
{
    bf16_panel *panel = stage->panel;
    __m512 rescale[VECTORS];
    __mmask16 changed = 0;

    for (int n = 0; n < VECTORS; n++) {
        const __m512 old = panel->base[n];
        const __mmask16 first = _mm512_cmp_ps_mask(old, _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ);
        const __m512 base = _mm512_mask_roundscale_ps(old, grown[n], x[n], _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);

        rescale[n] = _mm512_mask_mov_ps(_mm512_set1_ps(1), grown[n], exp2_lanes(_mm512_sub_ps(old, base)));
        stage->rescale[n] = _mm512_mul_ps(stage->rescale[n], rescale[n]);
        panel->sum[n] = _mm512_mul_ps(panel->sum[n], rescale[n]);
        panel->rounded[n] = _mm512_mul_ps(panel->rounded[n], rescale[n]);
        panel->base[n] = base;
        changed |= (__mmask16)(grown[n] & ~first);
    }
    if (changed != 0) {
        stage->rescaled = true;
        rescale_weights(stage->weights, pairs, rescale);
    }
}

/* The largest scores of a chunk; a NaN counts for nothing. In four strands, as each maximum waits for the one
 * before. */
static inline void find_top(const float *scores, __m512 top[VECTORS])
{
    enum { STRANDS = 4 };

    UNROLL
    for (int n = 0; n < VECTORS; n++) {
        __m512 m[STRANDS];

        UNROLL
        for (int i = 0; i < STRANDS; i++)
            m[i] = _mm512_set1_ps(-INFINITY);
        UNROLL
        for (int row = 0; row < CHUNK; row++)
            m[row % STRANDS] = _mm512_max_ps(_mm512_loadu_ps(scores + row * LANES + n * WIDTH), m[row % STRANDS]);
        top[n] = _mm512_max_ps(_mm512_max_ps(m[0], m[1]), _mm512_max_ps(m[2], m[3]));
    }
}

/* Step 7: the online softmax of a chunk, prepared. Nothing waits for the maximum unless the base must be raised, which
 * the CPU foresees not to happen. */
static void open_softmax(const bf16_work *w, const bf16_chunk *chunk, bf16_softmax *s)
{
    bf16_panel *panel = chunk->stage->panel;
    const int64_t pairs = (chunk->j - chunk->stage->from) / 2;
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 x[VECTORS];
    __mmask16 grown[VECTORS], any = 0;

    find_top(chunk->scores, x);
    for (int n = 0; n < VECTORS; n++) {
        x[n] = _mm512_mul_ps(x[n], _mm512_set1_ps(w->factor));
        grown[n] = _mm512_cmp_ps_mask(x[n], _mm512_add_ps(panel->base[n], _mm512_set1_ps(SLACK)), _CMP_GT_OQ);
        any |= grown[n];
    }
    if (any != 0)
        raise_base(chunk->stage, pairs, grown, x);
    s->chunk = *chunk;
    s->factor = _mm512_set1_ps(w->factor);
    s->scores = chunk->scores;
    s->weights = chunk->stage->weights + pairs * LANES;
    s->pair = 0;
    for (int n = 0; n < VECTORS; n++) {
        const __m512 base = panel->base[n];

        /* A row that has seen no key yet: 2^(-inf - 0) = 0. */
        s->base[n] = _mm512_mask_mov_ps(base, _mm512_cmp_ps_mask(base, none, _CMP_EQ_OQ), _mm512_setzero_ps());
        s->sum[n] = panel->sum[n];
        s->rounded[n] = panel->rounded[n];
    }
}

/* Scores become weights 2^(factor score - base), for at most so many pairs. */
static inline __attribute__((always_inline)) void softmax_pairs(bf16_softmax *s, int64_t most)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    const int64_t end = PAIRS - s->pair < most ? PAIRS : s->pair + most;
    const float *from = s->scores + s->pair * 2 * LANES;
    uint32_t *to = s->weights + s->pair * LANES;

    for (; s->pair < end; s->pair++, from += 2 * LANES, to += LANES) {
        UNROLL
        for (int n = 0; n < VECTORS; n++) {
            const __m512 a = exp2_lanes(_mm512_fmsub_ps(_mm512_loadu_ps(from + n * WIDTH), s->factor, s->base[n]));
            const __m512 b =
                exp2_lanes(_mm512_fmsub_ps(_mm512_loadu_ps(from + LANES + n * WIDTH), s->factor, s->base[n]));
            const __m512i weights = pair_lanes(a, b);

            s->sum[n] = _mm512_add_ps(s->sum[n], _mm512_add_ps(a, b));
            s->rounded[n] = _mm512_dpbf16_ps(s->rounded[n], (__m512bh)weights, ones);
            _mm512_storeu_si512(to + n * WIDTH, weights);
        }
    }
}

/* Completes a softmax. Returns the stage whose last it was, NULL when more are to come. */
static bf16_stage *close_softmax(bf16_softmax *s)
{
    bf16_stage *stage = s->chunk.stage;

    s->chunk.stage = NULL;
    if (stage == NULL)
        return NULL;
    softmax_pairs(s, PAIRS);
    memcpy(stage->panel->sum, s->sum, sizeof s->sum);
    memcpy(stage->panel->rounded, s->rounded, sizeof s->rounded);
    return s->chunk.j + CHUNK == stage->to ? stage : NULL;
}

/* Step 8, afterwards: infinities and NaN of V reach the lanes that see them, and no others (0 times one is NaN). */
static void add_specials(const bf16_work *w, const bf16_keys *keys, const bf16_stage *stage)
{
    const bf16_panel *panel = stage->panel;

    for (int64_t j = stage->from; j < stage->to && j < keys->count; j++)
        for (int64_t d = 0; d < w->Dv; d++) {
            const uint16_t v = row_of(w, keys->part, &w->buffers->v[keys->part], keys->begin + j)[d];

            if ((v & EXPONENT16) != EXPONENT16)
                continue;
            for (int lane = 0; lane < LANES; lane++)
                if (panel->lo[lane] <= keys->begin + j && keys->begin + j < panel->hi[lane]) {
                    const int64_t key = j - stage->from;
                    const uint32_t pair = stage->weights[key / 2 * LANES + lane];
                    const uint16_t p = (uint16_t)(key % 2 == 0 ? pair : pair >> 16);

                    panel->o[d * LANES + lane] += attn_float_from_bfloat16(p) * attn_float_from_bfloat16(v);
                }
        }
}
/* Takes a free stage for a panel; from == to when it sees none of the keys. */
static bf16_stage *open_stage(bf16_work *w, const bf16_keys *keys, bf16_panel *panel)
{
    const int64_t from = panel->first - keys->begin, to = panel->last - keys->begin;
    bf16_stage *stage = w->stages;

    while (stage->panel != NULL)
        stage++;
    stage->from = stage->to = 0;
    if (from >= to || from >= keys->count || to <= 0)
        return stage;
    stage->panel = panel;
    stage->from = from < 0 ? 0 : from / CHUNK * CHUNK;
    stage->to = round_to_chunk(to < keys->count ? to : keys->count);
    stage->rescaled = false;
    for (int n = 0; n < VECTORS; n++)
        stage->rescale[n] = _mm512_set1_ps(1);
    return stage;
}

/* A part of the softmax beside each of so many groups of products. */
static void share_softmax(bf16_softmax *s, int64_t groups)
{
    s->share = (PAIRS - s->pair + groups - 1) / groups;
}

/* Step 8 of a stage, whose softmax is complete; another is under way. */
static void add_stage(bf16_work *w, const bf16_keys *keys, bf16_stage *stage, bf16_softmax *s)
{
    share_softmax(s, count_value_groups(w, stage->to - stage->from) + count_key_groups(w));
    multiply_values(w, keys, stage, s);
    if (keys->special) {
        finish_products(w);
        add_specials(w, keys, stage);
    }
    stage->panel = NULL;
}

/* Steps 5 to 7 of the chunk scored last but one, whose scores have arrived; step 8 of the stage that this completes. */
static void advance(bf16_work *w, const bf16_keys *keys, const bf16_chunk *scored, bf16_softmax *s)
{
    bf16_stage *complete = close_softmax(s);

    if (scored->stage != NULL) {
        finish_scores(w, keys, scored);
        open_softmax(w, scored, s);
    }
    if (complete != NULL)
        add_stage(w, keys, complete, s);
}

/* Steps 4 to 8 for all panels that see some of the keys. */
static void visit_block(bf16_work *w, const bf16_keys *keys)
{
    const bf16_chunk none = {.stage = NULL};
    bf16_softmax s = {.pair = PAIRS};
    bf16_chunk scored = none;
    int turn = 0;

    for (int n = 0; n < w->panel_count; n++) {
        bf16_stage *stage = open_stage(w, keys, &w->panels[n]);

        for (int64_t j = stage->from; j < stage->to; j += CHUNK) {
            const bf16_chunk chunk = {.stage = stage, .j = j, .scores = w->scores[turn++ % STAGES]};

            share_softmax(&s, count_key_groups(w));
            multiply_keys(w, keys, &chunk, &s);
            advance(w, keys, &scored, &s);
            scored = chunk;
        }
    }
    finish_products(w);
    advance(w, keys, &scored, &s);
    advance(w, keys, &none, &s);
    finish_products(w);
}

/* Lets the keys and values from local row `begin` on, up to `count` of them, be fetched beside the products. */
static void look_ahead(bf16_work *w, int64_t part, int64_t begin, int64_t count)
{
    const attn_array *arrays[2] = {&w->buffers->k[part], &w->buffers->v[part]};
    const int64_t rows = count > 0 ? attn_part_run(w->setup, begin, count) : 0;
    const int64_t groups =
        w->panel_count * (KEY_BLOCK / CHUNK * count_key_groups(w) + count_value_groups(w, KEY_BLOCK));

    w->products.ahead = (row_streams){.of = {{.bytes = (size_t)w->D * sizeof(uint16_t), .folded = 1},
                                             {.bytes = (size_t)w->Dv * sizeof(uint16_t), .folded = 1}}};
    for (int n = 0; n < 2 && rows > 0; n++) {
        w->products.ahead.of[n].first = (const char *)row_of(w, part, arrays[n], begin);
        w->products.ahead.of[n].step = (size_t)arrays[n]->row_stride * sizeof(uint16_t);
        w->products.ahead.of[n].rows = rows;
    }
    share_lines(&w->products.ahead, groups);
}

/* Blocks begin at multiples of KEY_BLOCK, so that no bit of the result depends on how rows were cut into tasks. */
static void visit_part(bf16_work *w, int64_t part)
{
    const attn_segments *rows = w->setup->part_rows[part];
    int64_t first = rows->rows, last = 0;

    for (int n = 0; n < w->panel_count; n++) {
        bf16_panel *panel = &w->panels[n];

        find_keys(rows, panel);
        if (panel->first < panel->last) {
            first = panel->first < first ? panel->first : first;
            last = panel->last > last ? panel->last : last;
        }
    }
    for (int64_t begin = first / KEY_BLOCK * KEY_BLOCK; begin < last; begin += KEY_BLOCK) {
        const int64_t count = rows->rows - begin < KEY_BLOCK ? rows->rows - begin : KEY_BLOCK;
        const int64_t next = begin + KEY_BLOCK, left = last - next;
        const bf16_keys block = load_keys(w, part, begin, count);

        look_ahead(w, part, next, left < 0 ? 0 : left < KEY_BLOCK ? left : KEY_BLOCK);
        if (w->alibi)
            find_positions(rows, begin, count, w->positions);
        visit_block(w, &block);
    }
}

/* All of a task. Results below 2^-126 become 0, as they do in the products anyway. */
static void run_task(const attn_forward_setup *setup, const attn_forward_buffers *buffers, const attn_task *task,
                     void *scratch)
{
    const unsigned before = _mm_getcsr();
    bf16_work w;

    _mm_setcsr(before | _MM_FLUSH_ZERO_ON);
    open_work(&w, setup, buffers, task, scratch);
    for (int n = 0; n < w.panel_count; n++) {
        const int64_t left = task->rows - (int64_t)n * LANES;

        load_panel(&w, task->row + (int64_t)n * LANES, (int)(left < LANES ? left : LANES), &w.panels[n]);
    }
    for (int64_t part = 0; part < setup->part_count; part++)
        visit_part(&w, part);
    for (int n = 0; n < w.panel_count; n++)
        store_panel(&w, task->row + (int64_t)n * LANES, &w.panels[n]);
    _mm_setcsr(before);
}

static int64_t panel_rows(attn_dtype dtype)
{
    (void)dtype;
    return LANES;
}

static int64_t block_rows(const attn_shape *shape, attn_dtype dtype)
{
    (void)shape, (void)dtype;
    return BLOCK_ROWS;
}
