/* What the bfloat16 kernels work with, and steps 1 to 3 and 9 of their task: everything on its way in and out. See
 * bf16_task.h. */
#include "core/checked.h"
#include "core/cpu.h"
#include "core/half.h"
#include "kernel/bf16_vector.h"
#include "kernel/kernel.h"
#include "kernel/walk.h"

#include <attn/memory.h>

#include <math.h>
#include <string.h>

enum {
    VECTORS = 2,
    LANES = VECTORS * WIDTH,
    CHUNK = 32, /* keys, columns of Q and K, and columns of V come in whole chunks, those that are not there as zeros */
    PAIRS = CHUNK / 2,
    VALUE_STRIDE = KEY_BLOCK + CHUNK, /* a cache line more than a block: see VALUE_STRIDE in portable_task.h */
    STAGES = 3,                       /* of the pipeline: products of keys, softmax, products of values */
    SLACK = 8
};

/* Query rows, one a lane. Lanes without a row repeat the last one and are not stored. */
typedef struct bf16_panel {
    __m512 base[VECTORS], sum[VECTORS];     /* of the exponents so far; of 2^(x - base) */
    __m512 rounded[VECTORS];                /* the sum of the rounded weights */
    __m512 position[VECTORS];               /* i' of each lane, less that of lane 0 */
    __m512 slope[VECTORS];                  /* ALiBi slope times log2(e) */
    uint32_t *q;                            /* [padded D / 2][LANES] pairs */
    float *o;                               /* [padded Dv][LANES] */
    int64_t seen_lo[LANES], seen_hi[LANES]; /* visible keys, global numbers */
    int64_t lo[LANES], hi[LANES];           /* the same in the part at hand, local numbers */
    int64_t first, last;                    /* some lane sees keys of [first, last) */
    int64_t all_from, all_to;               /* every lane sees [all_from, all_to) */
    int64_t diagonal;                       /* i' of lane 0 */
    int rows;                               /* lanes in use */
} bf16_panel;

/* A panel and the keys of the block that it sees. */
typedef struct bf16_stage {
    bf16_panel *panel;       /* NULL: none */
    uint32_t *weights;       /* [KEY_BLOCK / 2][LANES] pairs of bfloat16, from key `from` on */
    int64_t from, to;        /* keys of the block, whole chunks */
    __m512 rescale[VECTORS]; /* what the output so far must be multiplied with */
    bool rescaled;           /* not by 1 */
} bf16_stage;

/* A chunk of a stage. */
typedef struct bf16_chunk {
    bf16_stage *stage; /* NULL: none */
    int64_t j;         /* first key, in the block */
    float *scores;     /* [CHUNK][LANES] */
} bf16_chunk;

/* The softmax of a chunk, under way: pairs [pair, PAIRS) of keys are still scores. */
typedef struct bf16_softmax {
    __m512 base[VECTORS], sum[VECTORS], rounded[VECTORS], factor;
    const float *scores; /* [CHUNK][LANES], in */
    uint32_t *weights;   /* [PAIRS][LANES] pairs of bfloat16, out */
    bf16_chunk chunk;
    int64_t pair;
    int64_t share; /* pairs to do beside each group of products */
} bf16_softmax;

/* What goes on beside products. */
typedef struct bf16_products {
    row_streams ahead;
    float *pending; /* where the results of the last group of products are to be stored, NULL: nowhere */
} bf16_products;

/* Everything one task works with. */
typedef struct bf16_work {
    const attn_forward_setup *setup;
    const attn_forward_buffers *buffers;
    const attn_task *task;
    int64_t D, Dv, padded_D, padded_Dv;
    bf16_panel *panels;
    int panel_count;
    bf16_stage stages[STAGES];
    float *scores[STAGES]; /* [CHUNK][LANES] each */
    int64_t *positions;    /* [KEY_BLOCK] global numbers of the keys of a block, for ALiBi */
    uint16_t *k_block;     /* [KEY_BLOCK][padded_D] keys whose rows are not whole steps */
    uint16_t *v_block;     /* [padded_Dv][VALUE_STRIDE] */
    float q_factor;        /* on q: the power of two and the sign of the scale, or 0; see portable_task.h */
    float factor;        /* on scores in the softmax: the rest of |scale|, times log2(e); 1 where they were adjusted */
    float adjust_factor; /* on q . k before an adjustment: the rest of |scale|, times log2(e) or over the softcap */
    float cap;           /* softcap log2(e), 0: off */
    bool alibi;
    bf16_products products; /* ahead: the keys and values of the next block */
} bf16_work;

/* A block of keys and values. */
typedef struct bf16_keys {
    const uint16_t *k; /* rows k_stride apart, whole chunks of them */
    const uint16_t *v; /* transposed, see bf16_work.v_block */
    int64_t k_stride;
    int64_t part, begin, count; /* local rows begin .. begin + count - 1 of the part */
    bool special;               /* V has infinities or NaN; they are 0 in v */
} bf16_keys;

static inline int64_t round_to_chunk(int64_t count)
{
    return (count + CHUNK - 1) / CHUNK * CHUNK;
}

/* A row of keys or values. */
static inline const uint16_t *row_of(const bf16_work *w, int64_t part, const attn_array *a, int64_t row)
{
    return (const uint16_t *)a->data +
           attn_part_place(w->setup, w->buffers, part, a, w->task->b, w->task->kv_head, row);
}

/* Rows as pairs of columns in lanes, times a power of two or 0.
 *   to  out, [columns up to whole chunks / 2][LANES], WIDTH lanes of it */
static void turn_pairs(const uint16_t *const from[WIDTH], int64_t columns, float factor, uint32_t *to)
{
    for (int64_t d = 0; d < columns; d += CHUNK) {
        const __mmask32 there = first_of_32(columns - d);
        __m512 m[WIDTH];

        UNROLL
        for (int n = 0; n < WIDTH; n++)
            m[n] = _mm512_castsi512_ps(
                multiply_pairs(_mm512_maskz_loadu_epi16(there, from[n] + d), _mm512_set1_ps(factor)));
        transpose_lanes(m);
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            _mm512_storeu_ps(to + (d / 2 + n) * LANES, m[n]);
    }
}

/* Step 1: the query rows of a panel as pairs in lanes, and the keys that each sees. */
static void load_panel(const bf16_work *w, int64_t row, int rows, bf16_panel *panel)
{
    const attn_problem *problem = w->setup->problem;
    const attn_array *q = &w->buffers->q;
    const double *slopes = problem->score.alibi_slopes;
    float position[LANES], slope[LANES];
    const uint16_t *from[WIDTH];

    panel->rows = rows;
    for (int lane = 0; lane < LANES; lane++) {
        const int64_t f = row + (lane < rows ? lane : rows - 1);
        const int64_t h = attn_task_head(w->task, f), r = attn_task_row(w->task, f);
        const int64_t i = attn_segments_global(w->setup->q_rows, r);
        const int64_t diagonal = i + problem->shape.kv_seq - problem->shape.seq;
        const attn_interval seen = attn_task_seen(w->setup, w->task, i);

        from[lane % WIDTH] =
            (const uint16_t *)q->data + w->task->b * q->batch_stride + h * q->head_stride + r * q->row_stride;
        if (lane % WIDTH == WIDTH - 1)
            turn_pairs(from, w->D, w->q_factor, panel->q + lane / WIDTH * WIDTH);
        panel->seen_lo[lane] = seen.lo;
        panel->seen_hi[lane] = seen.hi;
        if (lane == 0)
            panel->diagonal = diagonal;
        position[lane] = (float)(diagonal - panel->diagonal);
        slope[lane] = slopes != NULL ? (float)(slopes[w->setup->head_begin + h] * LOG2_E) : 0;
    }
    for (int n = 0; n < VECTORS; n++) {
        panel->position[n] = _mm512_loadu_ps(position + n * WIDTH);
        panel->slope[n] = _mm512_loadu_ps(slope + n * WIDTH);
        panel->base[n] = _mm512_set1_ps(-INFINITY);
        panel->sum[n] = panel->rounded[n] = _mm512_setzero_ps();
    }
    memset(panel->o, 0, (size_t)w->padded_Dv * LANES * sizeof *panel->o);
}

/* Step 2: which keys of a part each lane sees. Both ends rise with the lane. */
static void find_lane_ends(const attn_segments *part, const int64_t *global, int64_t *local)
{
    int64_t next = 0;

    for (int lane = 0; lane < LANES; lane++)
        local[lane] = find_below(part, global[lane], &next);
}

static void find_keys(const attn_segments *part, bf16_panel *panel)
{
    find_lane_ends(part, panel->seen_lo, panel->lo);
    find_lane_ends(part, panel->seen_hi, panel->hi);
    panel->first = panel->lo[0];
    panel->last = panel->hi[LANES - 1];
    panel->all_from = panel->lo[LANES - 1];
    panel->all_to = panel->hi[0];
}

/* Step 3: a block of keys and values. */
static void copy_keys(const bf16_work *w, int64_t part, int64_t begin, int64_t count)
{
    for (int64_t j = 0; j < round_to_chunk(count); j++) {
        const uint16_t *from = row_of(w, part, &w->buffers->k[part], begin + (j < count ? j : 0));

        for (int64_t d = 0; d < w->padded_D; d += CHUNK)
            _mm512_storeu_si512(w->k_block + j * w->padded_D + d,
                                _mm512_maskz_loadu_epi16(j < count ? first_of_32(w->D - d) : 0, from + d));
    }
}

/* 32 rows of 32 columns, transposed. Two rows are interleaved into pairs, of even columns and of odd ones, and 16 pairs
 * transposed. Returns whether there are infinities or NaN.
 *   to  out, [CHUNK] columns, `stride` elements apart */
static bool turn_rows(const uint16_t *const rows[CHUNK], int64_t count, int64_t d, __mmask32 columns, uint16_t *to,
                      int64_t stride)
{
    const __m512i low = _mm512_set1_epi32(0xffff);
    __m512 even[WIDTH], odd[WIDTH];
    __mmask32 special = 0;

    UNROLL
    for (int n = 0; n < WIDTH; n++) {
        const __m512i a = _mm512_maskz_loadu_epi16(2 * n < count ? columns : 0, rows[2 * n] + d);
        const __m512i b = _mm512_maskz_loadu_epi16(2 * n + 1 < count ? columns : 0, rows[2 * n + 1] + d);

        special |= find_specials(a) | find_specials(b);
        even[n] = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(low, a, _mm512_slli_epi32(b, 16), 0xca));
        odd[n] = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(low, _mm512_srli_epi32(a, 16), b, 0xca));
    }
    transpose_lanes(even);
    UNROLL
    for (int n = 0; n < WIDTH; n++)
        _mm512_storeu_ps(to + 2 * n * stride, even[n]);
    transpose_lanes(odd);
    UNROLL
    for (int n = 0; n < WIDTH; n++)
        _mm512_storeu_ps(to + (2 * n + 1) * stride, odd[n]);
    return special != 0;
}

/* Infinities and NaN of whole chunks of numbers become 0. */
static void clear_specials(uint16_t *numbers, int64_t count)
{
    for (int64_t n = 0; n < count; n += CHUNK) {
        const __m512i x = _mm512_loadu_si512(numbers + n);

        _mm512_storeu_si512(numbers + n, _mm512_maskz_mov_epi16(_knot_mask32(find_specials(x)), x));
    }
}

static bf16_keys load_keys(const bf16_work *w, int64_t part, int64_t begin, int64_t count)
{
    const attn_array *k = &w->buffers->k[part], *v = &w->buffers->v[part];
    bf16_keys block = {
        .k = w->k_block, .k_stride = w->padded_D, .v = w->v_block, .part = part, .begin = begin, .count = count};

    if (w->D == w->padded_D && count % CHUNK == 0 && attn_part_run(w->setup, begin, count) == count) {
        block.k = row_of(w, part, k, begin);
        block.k_stride = k->row_stride;
    } else {
        copy_keys(w, part, begin, count);
    }
    for (int64_t j = 0; j < count; j += CHUNK) {
        const uint16_t *rows[CHUNK];

        for (int64_t n = 0; n < CHUNK; n++)
            rows[n] = row_of(w, part, v, begin + (j + n < count ? j + n : 0));
        for (int64_t d = 0; d < w->padded_Dv; d += CHUNK)
            block.special |=
                turn_rows(rows, count - j, d, first_of_32(w->Dv - d), w->v_block + d * VALUE_STRIDE + j, VALUE_STRIDE);
    }
    if (block.special)
        clear_specials(w->v_block, w->padded_Dv * VALUE_STRIDE);
    return block;
}

/* Step 9: divide, add the sink, write o and lse. Returns what the output of a lane is to be multiplied with. */
static float store_lse(const bf16_work *w, const bf16_panel *panel, int64_t row, int lane)
{
    const double *sinks = w->setup->add_sinks ? w->setup->problem->score.sinks : NULL;
    const attn_array *lse = &w->buffers->lse;
    const int64_t h = attn_task_head(w->task, row + lane), r = attn_task_row(w->task, row + lane);
    const int64_t place = w->task->b * lse->batch_stride + h * lse->head_stride + r * lse->row_stride;
    const int n = lane / WIDTH, m = lane % WIDTH;
    double max = (double)panel->base[n][m] * LN_2, sum = (double)panel->sum[n][m];
    double rounded = (double)panel->rounded[n][m], scale = 1;

    if (sinks != NULL) {
        const double sink = sinks[w->setup->head_begin + h], larger = sink > max ? sink : max;

        scale = exp(max - larger);
        sum = sum * scale + exp(sink - larger);
        rounded = rounded * scale + exp(sink - larger);
        max = larger;
    }
    ((float *)lse->data)[place] = (float)(sum == 0 ? -INFINITY : max + log(sum));
    return (float)(rounded == 0 ? 0 : scale / rounded);
}

static void store_panel(const bf16_work *w, int64_t row, const bf16_panel *panel)
{
    const attn_array *o = &w->buffers->o;
    const bool rounded = w->setup->o_dtype == ATTN_BFLOAT16;
    float scales[LANES] = {0};
    int64_t to[LANES];

    for (int lane = 0; lane < panel->rows; lane++) {
        const int64_t f = row + lane;

        scales[lane] = store_lse(w, panel, row, lane);
        to[lane] = w->task->b * o->batch_stride + attn_task_head(w->task, f) * o->head_stride +
                   attn_task_row(w->task, f) * o->row_stride;
    }
    for (int first = 0; first < panel->rows; first += WIDTH)
        for (int64_t d = 0; d < w->Dv; d += WIDTH) {
            const __m512 scale = _mm512_loadu_ps(scales + first);
            const __mmask16 columns = first_of_16(w->Dv - d);
            __m512 m[WIDTH];

            UNROLL
            for (int n = 0; n < WIDTH; n++)
                m[n] = _mm512_mul_ps(_mm512_loadu_ps(panel->o + (d + n) * LANES + first), scale);
            transpose_lanes(m);
            for (int n = 0; n < WIDTH && first + n < panel->rows; n++) {
                if (rounded)
                    _mm256_mask_storeu_epi16((uint16_t *)o->data + to[first + n] + d, columns,
                                             (__m256i)_mm512_cvtneps_pbh(m[n]));
                else
                    _mm512_mask_storeu_ps((float *)o->data + to[first + n] + d, columns, m[n]);
            }
        }
}

/* Deals the scratch memory to a task: whole cache lines. */
static size_t round_to_line(size_t bytes)
{
    return (bytes + ATTN_ALIGNMENT - 1) / ATTN_ALIGNMENT * ATTN_ALIGNMENT;
}

static void *take(char **scratch, size_t bytes)
{
    void *const taken = *scratch;

    *scratch += round_to_line(bytes);
    return taken;
}

static size_t query_bytes(int64_t D)
{
    return (size_t)(round_to_chunk(D) / 2 * LANES) * sizeof(uint32_t);
}

static size_t output_bytes(int64_t Dv)
{
    return (size_t)(round_to_chunk(Dv) * LANES) * sizeof(float);
}

static size_t key_bytes(int64_t D)
{
    return (size_t)(KEY_BLOCK * round_to_chunk(D)) * sizeof(uint16_t);
}

static size_t value_bytes(int64_t Dv)
{
    return (size_t)(round_to_chunk(Dv) * VALUE_STRIDE) * sizeof(uint16_t);
}

static size_t scratch_bytes(const attn_shape *shape, attn_dtype dtype, int64_t rows)
{
    const size_t panels = (size_t)((rows + LANES - 1) / LANES);
    const int64_t D = shape->head_dim, Dv = shape->v_head_dim;

    (void)dtype;
    return round_to_line(panels * sizeof(bf16_panel)) +
           panels * (round_to_line(query_bytes(D)) + round_to_line(output_bytes(Dv))) +
           STAGES *
               (round_to_line(CHUNK * LANES * sizeof(float)) + round_to_line(KEY_BLOCK * LANES * sizeof(uint16_t))) +
           round_to_line(KEY_BLOCK * sizeof(int64_t)) + round_to_line(key_bytes(D)) + round_to_line(value_bytes(Dv));
}

static void open_work(bf16_work *w, const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                      const attn_task *task, char *scratch)
{
    const attn_score *score = &setup->problem->score;
    const int64_t D = setup->problem->shape.head_dim, Dv = setup->problem->shape.v_head_dim;
    int exponent;
    const double rest = frexp(fabs(score->scale), &exponent);

    *w = (bf16_work){.setup = setup,
                     .buffers = buffers,
                     .task = task,
                     .D = D,
                     .Dv = Dv,
                     .padded_D = round_to_chunk(D),
                     .padded_Dv = round_to_chunk(Dv),
                     .panel_count = (int)((task->rows + LANES - 1) / LANES),
                     .q_factor = (float)(score->scale == 0 ? 0 : ldexp(score->scale < 0 ? -1 : 1, exponent)),
                     .cap = (float)(score->softcap * LOG2_E),
                     .alibi = score->alibi_slopes != NULL};
    w->adjust_factor = (float)(rest * (score->softcap > 0 ? 1 / score->softcap : LOG2_E));
    w->factor = w->cap != 0 || w->alibi || score->scale == 0 ? 1 : w->adjust_factor;
    w->panels = take(&scratch, (size_t)w->panel_count * sizeof *w->panels);
    for (int n = 0; n < STAGES; n++) {
        w->scores[n] = take(&scratch, CHUNK * LANES * sizeof(float));
        w->stages[n].weights = take(&scratch, KEY_BLOCK * LANES * sizeof(uint16_t));
    }
    w->positions = take(&scratch, KEY_BLOCK * sizeof(int64_t));
    w->k_block = take(&scratch, key_bytes(D));
    w->v_block = take(&scratch, value_bytes(Dv));
    for (int n = 0; n < w->panel_count; n++) {
        w->panels[n].q = take(&scratch, query_bytes(D));
        w->panels[n].o = take(&scratch, output_bytes(Dv));
    }
}
