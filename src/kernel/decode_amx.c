/* Decoding of bfloat16 with tiles (AMX), where several query rows share their keys and the multiplications would
 * otherwise take longer than reading the keys and values does. Fewer rows are left to AVX-512.
 *
 * R rows, 8 or 16, those beyond the last repeating it, against a block of keys; J = 16 / R keys fill a vector:
 *
 *     S^T [keys x R]  = K Q^T             keys as they stand, 16 of them a tile
 *     P^T             = 2^(S^T - base)    lane j R + r; rounded to pairs of keys n, n + J and transposed
 *     O [R x Dv]     += P V               rows of V interleaved in the same pairs, which is all that is done to them
 *
 * Rounding, the base and the two sums of weights are those of bf16_task.h. */
#include "core/half.h"
#include "kernel/decode.h"
#include "kernel/kernel.h"

#if defined(__AVX512BF16__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))

#include "kernel/bf16_vector.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = ATTN_DECODE_BLOCK,
    LEAST_ROWS = 3,        /* for which tiles are worth while */
    CHUNK = 32,            /* columns of K or keys of P in a row of a tile */
    TILE = 16 * CHUNK,     /* bfloat16 elements of a tile */
    TILES = BLOCK / CHUNK, /* of P, and of each 16 columns of V */
    VALUE_STRIDE =
        TILES * TILE + CHUNK, /* from those of 16 columns to the next: a cache line more, see portable_task.h */
    SLACK = 8
};

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* What each tile register holds; its shape is set for a task. LONG ones have 16 rows of K or V. */
#define SCORES_0 0
#define SCORES_1 1
#define OUTPUT_0 2
#define OUTPUT_1 3
#define LONG_0 4
#define LONG_1 5
#define QUERIES 6
#define WEIGHTS 7

/* Rows of the next block that are to be brought into the second-level cache, a few at a time beside everything that is
 * done for the block at hand, most of them where it waits for nothing itself: all at once they would keep its own loads
 * waiting. */
typedef struct fetch {
    const attn_decode_keys *keys; /* NULL: nothing left */
    const char *const *row;
    int64_t bytes; /* of the row */
} fetch;

/* Rows at a time; beside the softmax so many in all. */
enum { BESIDE_SCORES = 1, BESIDE_PAIRS = 2, BESIDE_WEIGHTS = 64, BESIDE_OUTPUT = 6 };

typedef struct work {
    const attn_forward_setup *setup;
    const attn_decode_task *task;
    int64_t D, Dv, padded_D, padded_Dv;         /* whole chunks */
    __m512 base, sum, rounded;                  /* the same in all lanes of a row; the sums are to be added over them */
    __m512 position, slope;                     /* i' less that of row 0; ALiBi slope times log2(e) */
    int64_t lo[WIDTH], hi[WIDTH];               /* visible keys of each row, global numbers */
    int64_t diagonal;                           /* i' of row 0 */
    uint32_t *q;                                /* [padded D / 2][R] pairs */
    float *o;                                   /* [padded Dv / WIDTH][R][WIDTH], columns in the order of pack_pair */
    float *scores;                              /* [BLOCK][R] */
    uint16_t *weights;                          /* [TILES][R][CHUNK] */
    uint16_t *k_copy;                           /* [BLOCK][padded D] keys that do not stand as a tile wants them */
    uint16_t *v_pairs;                          /* [padded Dv / WIDTH][VALUE_STRIDE], in each [TILES][TILE] */
    float q_factor, factor, adjust_factor, cap; /* see bf16_work */
    bool alibi;
    fetch ahead;
} work;

static size_t round_to_line(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static int64_t round_to_chunk(int64_t count)
{
    return (count + CHUNK - 1) / CHUNK * CHUNK;
}

/* Begins with the next block, NULL: none, or not a whole one. */
static void open_fetch(work *w, const attn_decode_keys *next)
{
    w->ahead = (fetch){.keys = next};
    if (next != NULL) {
        w->ahead.row = next->k;
        w->ahead.bytes = w->D * (int64_t)sizeof(uint16_t);
    }
}

static inline void fetch_rows(work *w, int count)
{
    fetch *ahead = &w->ahead;

    for (int n = 0; n < count && ahead->keys != NULL; n++) {
        for (int64_t at = 0; at < ahead->bytes; at += 64)
            _mm_prefetch(*ahead->row + at, _MM_HINT_T1);
        ahead->row++;
        if (ahead->row == ahead->keys->k + BLOCK) {
            ahead->row = ahead->keys->v;
            ahead->bytes = w->Dv * (int64_t)sizeof(uint16_t);
        } else if (ahead->row == ahead->keys->v + BLOCK) {
            ahead->keys = NULL;
        }
    }
}

/* Step 1: the query rows as pairs in lanes, and the keys that each sees. */
static void load_rows(const int R, work *w, const attn_array *q)
{
    const attn_problem *problem = w->setup->problem;
    const attn_task *rows = &w->task->rows;
    const double *slopes = problem->score.alibi_slopes;
    const uint16_t *from[WIDTH];
    float position[WIDTH], slope[WIDTH];

    for (int lane = 0; lane < WIDTH; lane++) {
        const int64_t f = lane % R < rows->rows ? lane % R : rows->rows - 1;
        const int64_t h = attn_task_head(rows, f), r = attn_task_row(rows, f);
        const int64_t i = attn_segments_global(w->setup->q_rows, r);
        const int64_t diagonal = i + problem->shape.kv_seq - problem->shape.seq;
        const attn_interval seen = attn_mask_row(&problem->mask, &problem->shape, rows->b, i);

        from[lane] = (const uint16_t *)q->data + rows->b * q->batch_stride + h * q->head_stride + r * q->row_stride;
        w->lo[lane] = seen.lo;
        w->hi[lane] = seen.hi;
        if (lane == 0)
            w->diagonal = diagonal;
        position[lane] = (float)(diagonal - w->diagonal);
        slope[lane] = slopes != NULL ? (float)(slopes[w->setup->head_begin + h] * LOG2_E) : 0;
    }
    for (int64_t d = 0; d < w->padded_D; d += CHUNK) {
        __m512 m[WIDTH];

        UNROLL
        for (int n = 0; n < WIDTH; n++)
            m[n] = _mm512_castsi512_ps(multiply_pairs(_mm512_maskz_loadu_epi16(first_of_32(w->D - d), from[n] + d),
                                                      _mm512_set1_ps(w->q_factor)));
        transpose_lanes(m);
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            _mm512_mask_storeu_ps(w->q + (d / 2 + n) * R, first_of_16(R), m[n]);
    }
    w->position = _mm512_loadu_ps(position);
    w->slope = _mm512_loadu_ps(slope);
    w->base = _mm512_set1_ps(-INFINITY);
    w->sum = w->rounded = _mm512_setzero_ps();
    memset(w->o, 0, (size_t)(w->padded_Dv * R) * sizeof *w->o);
}

/* Whether 16 keys from j on can be read as a tile: whole chunks, evenly spaced. */
static bool stand_as_tile(const work *w, const attn_decode_keys *keys, int64_t j)
{
    const char *const *k = keys->k + j;
    bool even = w->D == w->padded_D && j + WIDTH <= keys->count;

    for (int n = 2; n < WIDTH && even; n++)
        even = k[n] - k[n - 1] == k[1] - k[0];
    return even;
}

static void copy_keys(const work *w, const attn_decode_keys *keys, int64_t j)
{
    for (int64_t n = j; n < j + WIDTH; n++)
        for (int64_t d = 0; d < w->padded_D; d += CHUNK)
            _mm512_storeu_si512(w->k_copy + n * w->padded_D + d,
                                _mm512_maskz_loadu_epi16(n < keys->count ? first_of_32(w->D - d) : 0,
                                                         keys->k[n < keys->count ? n : 0] + d * 2));
}

/* Step 2: the scores of two tiles of keys. */
static inline __attribute__((always_inline)) void score_tiles(const int R, work *w, const attn_decode_keys *keys,
                                                              int64_t j)
{
    const char *from[2];
    size_t stride[2];

    for (int t = 0; t < 2; t++) {
        const int64_t first = j + t * WIDTH;

        if (stand_as_tile(w, keys, first)) {
            from[t] = keys->k[first];
            stride[t] = (size_t)(keys->k[first + 1] - keys->k[first]);
        } else {
            copy_keys(w, keys, first);
            from[t] = (const char *)(w->k_copy + first * w->padded_D);
            stride[t] = (size_t)w->padded_D * sizeof(uint16_t);
        }
    }
    _tile_zero(SCORES_0);
    _tile_zero(SCORES_1);
    for (int64_t d = 0; d < w->padded_D; d += CHUNK) {
        _tile_loadd(QUERIES, w->q + d / 2 * R, (size_t)R * sizeof(uint32_t));
        _tile_loadd(LONG_0, from[0] + d * 2, stride[0]);
        _tile_dpbf16ps(SCORES_0, LONG_0, QUERIES);
        _tile_loadd(LONG_1, from[1] + d * 2, stride[1]);
        _tile_dpbf16ps(SCORES_1, LONG_1, QUERIES);
        fetch_rows(w, BESIDE_SCORES);
    }
    _tile_stored(SCORES_0, w->scores + j * R, (size_t)R * sizeof(float));
    _tile_stored(SCORES_1, w->scores + (j + WIDTH) * R, (size_t)R * sizeof(float));
}

/* Step 3: softcap and ALiBi. */
static void adjust_scores(const int R, const work *w, const attn_decode_keys *keys)
{
    for (int64_t j = 0; j < BLOCK; j += WIDTH / R) {
        float distance[WIDTH];
        __m512 x = _mm512_mul_ps(_mm512_loadu_ps(w->scores + j * R), _mm512_set1_ps(w->adjust_factor));

        for (int lane = 0; lane < WIDTH; lane++) {
            const int64_t key = j + lane / R < keys->count ? j + lane / R : 0;

            distance[lane] = (float)(keys->position[key] - w->diagonal);
        }
        if (w->cap != 0)
            x = _mm512_mul_ps(tanh_lanes(x), _mm512_set1_ps(w->cap));
        if (w->alibi)
            x = _mm512_fnmadd_ps(_mm512_abs_ps(_mm512_sub_ps(w->position, _mm512_loadu_ps(distance))), w->slope, x);
        _mm512_storeu_ps(w->scores + j * R, x);
    }
}

static bool sees(const work *w, int row, const attn_decode_keys *keys, int64_t j)
{
    return j < keys->count && w->lo[row] <= keys->position[j] && keys->position[j] < w->hi[row];
}

/* Whether some row does not see all keys of a block, or the block is not whole. */
static bool is_partial(const int R, const work *w, const attn_decode_keys *keys)
{
    bool partial = keys->count < BLOCK;

    for (int r = 0; r < R; r++)
        partial = partial || keys->lowest < w->lo[r] || keys->highest >= w->hi[r];
    return partial;
}

/* Step 4: keys that a row does not see get the score -inf. */
static void mask_scores(const int R, const work *w, const attn_decode_keys *keys)
{
    for (int64_t j = 0; j < BLOCK; j++)
        for (int r = 0; r < R; r++)
            if (!sees(w, r, keys, j))
                w->scores[j * R + r] = -INFINITY;
}

/* Raises the base of the lanes `grown` to the whole number above x, and multiplies what came before accordingly. */
static void raise_base(const int R, work *w, __mmask16 grown, __m512 x)
{
    const __m512 old = w->base;
    const __m512 base = _mm512_mask_roundscale_ps(old, grown, x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    const __m512 rescale = _mm512_mask_mov_ps(_mm512_set1_ps(1), grown, exp2_lanes(_mm512_sub_ps(old, base)));
    float factors[WIDTH];

    w->base = base;
    w->sum = _mm512_mul_ps(w->sum, rescale);
    w->rounded = _mm512_mul_ps(w->rounded, rescale);
    _mm512_storeu_ps(factors, rescale);
    for (int64_t n = 0; n < w->padded_Dv / WIDTH * R; n++) {
        float *at = w->o + n * WIDTH;

        _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(factors[n % R])));
    }
}

/* The largest exponents of the rows, in all their lanes; a NaN counts for nothing. */
static inline __attribute__((always_inline)) __m512 find_top(const int R, const work *w)
{
    enum { STRANDS = 4 };
    __m512 m[STRANDS];

    UNROLL
    for (int i = 0; i < STRANDS; i++)
        m[i] = _mm512_set1_ps(-INFINITY);
    for (int n = 0; n < BLOCK * R; n += STRANDS * WIDTH) {
        UNROLL
        for (int i = 0; i < STRANDS; i++)
            m[i] = _mm512_max_ps(_mm512_loadu_ps(w->scores + n + i * WIDTH), m[i]);
    }
    m[0] = _mm512_max_ps(_mm512_max_ps(m[0], m[1]), _mm512_max_ps(m[2], m[3]));
    if (R == 8)
        m[0] = _mm512_max_ps(m[0], _mm512_shuffle_f32x4(m[0], m[0], 0x4e));
    return _mm512_mul_ps(m[0], _mm512_set1_ps(w->factor));
}

/* Step 5: the online softmax. Vectors 2 n and 2 n + 1 of scores become one of pairs of weights, and 16 of those,
 * transposed, rows of P: of one tile of 16 rows, or of two of 8. */
static inline __attribute__((always_inline)) void soften(const int R, work *w)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    const __m512 top = find_top(R, w), factor = _mm512_set1_ps(w->factor);
    const __mmask16 grown = _mm512_cmp_ps_mask(top, _mm512_add_ps(w->base, _mm512_set1_ps(SLACK)), _CMP_GT_OQ);
    __m512 base, sum, rounded;

    if (grown != 0)
        raise_base(R, w, grown, top);
    /* A row that has seen no key yet: 2^(-inf - 0) = 0. */
    base = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(w->base, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ), w->base);
    sum = w->sum;
    rounded = w->rounded;
    for (int t = 0; t < BLOCK * R / (2 * WIDTH * WIDTH); t++) {
        const float *from = w->scores + t * 2 * WIDTH * WIDTH;
        __m512 pairs[WIDTH];

        UNROLL
        for (int n = 0; n < WIDTH; n++) {
            const __m512 a = exp2_lanes(_mm512_fmsub_ps(_mm512_loadu_ps(from + 2 * n * WIDTH), factor, base));
            const __m512 b = exp2_lanes(_mm512_fmsub_ps(_mm512_loadu_ps(from + (2 * n + 1) * WIDTH), factor, base));
            const __m512i weights = pair_lanes(a, b);

            sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
            rounded = _mm512_dpbf16_ps(rounded, (__m512bh)weights, ones);
            pairs[n] = _mm512_castsi512_ps(weights);
            fetch_rows(w, BESIDE_PAIRS);
        }
        transpose_lanes(pairs);
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            _mm512_storeu_ps(w->weights + t * TILE + n * CHUNK, pairs[n]);
    }
    w->sum = sum;
    w->rounded = rounded;
}

/* The keys of pair p of tile t of P: the first one, and how far the other is from it. */
static inline int64_t first_of_pair(const int R, int t, int p)
{
    return R == 8 ? 4 * p + t : t * CHUNK + 2 * p;
}

static inline int64_t pair_step(const int R)
{
    return WIDTH / R;
}

/* Step 6: the values of two keys as pairs. Interleaving within 16 bytes takes one instruction and leaves columns 0 ..
 * 3, 8 .. 11, 16 .. 19, 24 .. 27 of 32 in one tile and the others in the next. Returns whether there are infinities or
 * NaN, which where `clear` is set become 0. */
static inline __attribute__((always_inline)) bool pack_pair(const work *w, const char *first, const char *second,
                                                            __mmask32 has_first, __mmask32 has_second, bool clear,
                                                            uint16_t *to)
{
    __mmask32 special = 0;

    for (int64_t d = 0; d < w->padded_Dv; d += CHUNK, to += 2 * VALUE_STRIDE) {
        const __mmask32 columns = first_of_32(w->Dv - d);
        __m512i a = _mm512_maskz_loadu_epi16(columns & has_first, first + d * 2);
        __m512i b = _mm512_maskz_loadu_epi16(columns & has_second, second + d * 2);

        if (clear) {
            special |= find_specials(a) | find_specials(b);
            a = _mm512_maskz_mov_epi16(_knot_mask32(find_specials(a)), a);
            b = _mm512_maskz_mov_epi16(_knot_mask32(find_specials(b)), b);
        }
        _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a, b));
        _mm512_storeu_si512(to + VALUE_STRIDE, _mm512_unpackhi_epi16(a, b));
    }
    return special != 0;
}

static inline __attribute__((always_inline)) bool pack_values(const int R, work *w, const attn_decode_keys *keys,
                                                              bool partial)
{
    bool special = false;

    for (int p = 0; p < WIDTH; p++) {
        fetch_rows(w, BESIDE_WEIGHTS * 2 * WIDTH / (BLOCK * R));
        for (int t = 0; t < TILES; t++) {
            const int64_t a = first_of_pair(R, t, p), b = a + pair_step(R);
            uint16_t *to = w->v_pairs + t * TILE + p * CHUNK;

            if (partial)
                special |= pack_pair(w, keys->v[a < keys->count ? a : 0], keys->v[b < keys->count ? b : 0],
                                     a < keys->count ? UINT32_MAX : 0, b < keys->count ? UINT32_MAX : 0, true, to);
            else
                pack_pair(w, keys->v[a], keys->v[b], UINT32_MAX, UINT32_MAX, false, to);
        }
    }
    return special;
}

/* Step 7: O += P V. */
static inline __attribute__((always_inline)) void add_values(const int R, work *w)
{
    for (int64_t n = 0; n < w->padded_Dv / WIDTH; n += 2) {
        float *o = w->o + n * R * WIDTH;
        const uint16_t *v = w->v_pairs + n * VALUE_STRIDE;

        _tile_loadd(OUTPUT_0, o, WIDTH * sizeof *o);
        _tile_loadd(OUTPUT_1, o + R * WIDTH, WIDTH * sizeof *o);
        UNROLL
        for (int t = 0; t < TILES; t++) {
            _tile_loadd(WEIGHTS, w->weights + t * R * CHUNK, CHUNK * sizeof(uint16_t));
            _tile_loadd(LONG_0, v + t * TILE, CHUNK * sizeof(uint16_t));
            _tile_dpbf16ps(OUTPUT_0, WEIGHTS, LONG_0);
            _tile_loadd(LONG_1, v + VALUE_STRIDE + t * TILE, CHUNK * sizeof(uint16_t));
            _tile_dpbf16ps(OUTPUT_1, WEIGHTS, LONG_1);
        }
        _tile_stored(OUTPUT_0, o, WIDTH * sizeof *o);
        _tile_stored(OUTPUT_1, o + R * WIDTH, WIDTH * sizeof *o);
        fetch_rows(w, BESIDE_OUTPUT);
    }
}

/* Where column d of a row of O stands: see pack_pair. */
static int64_t place_of_column(const int R, int64_t d, int row)
{
    const int64_t in = d % CHUNK;

    return ((d / CHUNK * 2 + in / 4 % 2) * R + row) * WIDTH + in / 8 * 4 + in % 4;
}

/* Step 7, afterwards: infinities and NaN of V reach the rows that see them, and no others (0 times one is NaN). */
static void add_specials(const int R, const work *w, const attn_decode_keys *keys)
{
    for (int t = 0; t < TILES; t++)
        for (int n = 0; n < CHUNK; n++) {
            const int64_t j = first_of_pair(R, t, n / 2) + n % 2 * pair_step(R);

            for (int64_t d = 0; d < w->Dv && j < keys->count; d++) {
                const float v = attn_float_from_bfloat16(((const uint16_t *)(const void *)keys->v[j])[d]);

                for (int r = 0; r < R && !isfinite(v); r++)
                    if (sees(w, r, keys, j))
                        w->o[place_of_column(R, d, r)] +=
                            attn_float_from_bfloat16(w->weights[(t * R + r) * CHUNK + n]) * v;
            }
        }
}

/* Steps 2 to 7 of a block. */
static inline __attribute__((always_inline)) void visit(const int R, work *w, const attn_decode_keys *keys)
{
    const bool partial = is_partial(R, w, keys);
    bool special;

    for (int64_t j = 0; j < BLOCK; j += 2 * WIDTH)
        score_tiles(R, w, keys, j);
    if (w->cap != 0 || w->alibi)
        adjust_scores(R, w, keys);
    if (partial)
        mask_scores(R, w, keys);
    special = pack_values(R, w, keys, partial);
    soften(R, w);
    add_values(R, w);
    fetch_rows(w, 2 * BLOCK); /* what is left */
    if (special)
        add_specials(R, w, keys);
}

/* Step 8: divide, write the partial o and lse. */
static void store_rows(const int R, const work *w, float *o, int64_t stride, float *lse)
{
    float base[WIDTH], sums[WIDTH], rounded[WIDTH];

    _mm512_storeu_ps(base, w->base);
    _mm512_storeu_ps(sums, w->sum);
    _mm512_storeu_ps(rounded, w->rounded);
    for (int64_t r = 0; r < w->task->rows.rows; r++) {
        double sum = 0, of_rounded = 0;
        float scale;

        for (int lane = (int)r; lane < WIDTH; lane += R) {
            sum += (double)sums[lane];
            of_rounded += (double)rounded[lane];
        }
        lse[r] = (float)(sum == 0 ? -INFINITY : (double)base[r] * LN_2 + log(sum));
        scale = (float)(of_rounded == 0 ? 0 : 1 / of_rounded);
        for (int64_t d = 0; d < w->padded_Dv; d++)
            o[r * stride + d] = w->o[place_of_column(R, d, (int)r)] * scale;
    }
}

static void *take(char **scratch, size_t bytes)
{
    void *const taken = *scratch;

    *scratch += round_to_line(bytes);
    return taken;
}

static size_t tile_bytes(const attn_shape *shape)
{
    const size_t D = (size_t)round_to_chunk(shape->head_dim), Dv = (size_t)round_to_chunk(shape->v_head_dim);

    return round_to_line(D / 2 * WIDTH * sizeof(uint32_t)) + round_to_line(Dv * WIDTH * sizeof(float)) +
           round_to_line(BLOCK * WIDTH * sizeof(float)) + round_to_line(BLOCK * WIDTH * sizeof(uint16_t)) +
           round_to_line(BLOCK * D * sizeof(uint16_t)) + round_to_line(Dv / WIDTH * VALUE_STRIDE * sizeof(uint16_t));
}

static work open_work(const attn_forward_setup *setup, const attn_decode_task *task, char *scratch)
{
    const attn_score *score = &setup->problem->score;
    const int64_t D = setup->problem->shape.head_dim, Dv = setup->problem->shape.v_head_dim;
    int exponent;
    const double rest = frexp(fabs(score->scale), &exponent);
    work w = {.setup = setup,
              .task = task,
              .D = D,
              .Dv = Dv,
              .padded_D = round_to_chunk(D),
              .padded_Dv = round_to_chunk(Dv),
              .q_factor = (float)(score->scale == 0 ? 0 : ldexp(score->scale < 0 ? -1 : 1, exponent)),
              .cap = (float)(score->softcap * LOG2_E),
              .alibi = score->alibi_slopes != NULL};

    w.adjust_factor = (float)(rest * (score->softcap > 0 ? 1 / score->softcap : LOG2_E));
    w.factor = w.cap != 0 || w.alibi || score->scale == 0 ? 1 : w.adjust_factor;
    w.q = take(&scratch, (size_t)(w.padded_D / 2 * WIDTH) * sizeof *w.q);
    w.o = take(&scratch, (size_t)(w.padded_Dv * WIDTH) * sizeof *w.o);
    w.scores = take(&scratch, BLOCK * WIDTH * sizeof *w.scores);
    w.weights = take(&scratch, BLOCK * WIDTH * sizeof *w.weights);
    w.k_copy = take(&scratch, (size_t)(BLOCK * w.padded_D) * sizeof *w.k_copy);
    w.v_pairs = take(&scratch, (size_t)(w.padded_Dv / WIDTH * VALUE_STRIDE) * sizeof *w.v_pairs);
    return w;
}

static void configure_tiles(int R)
{
    static const uint8_t rows[] = {16, 16, 0, 0, 16, 16, 16, 0};  /* 0: R */
    static const uint8_t bytes[] = {0, 0, 64, 64, 64, 64, 0, 64}; /* 0: of R elements */
    tile_config config = {.palette = 1};

    for (int n = 0; n < 8; n++) {
        config.rows[n] = rows[n] != 0 ? rows[n] : (uint8_t)R;
        config.row_bytes[n] = bytes[n] != 0 ? bytes[n] : (uint16_t)((size_t)R * sizeof(float));
    }
    _tile_loadconfig(&config);
}

static inline __attribute__((always_inline)) void decode_rows(const int R, const attn_forward_setup *setup,
                                                              const attn_forward_buffers *buffers,
                                                              const attn_decode_task *task, float *o, int64_t stride,
                                                              float *lse, void *scratch)
{
    work w = open_work(setup, task, scratch);
    attn_decode_cursor cursor = attn_decode_open(setup, buffers, task);
    attn_decode_keys blocks[2];

    load_rows(R, &w, &buffers->q);
    attn_decode_next(&cursor, &blocks[0]);
    for (int64_t b = 0; blocks[b % 2].count > 0; b++) {
        const attn_decode_keys *next = &blocks[(b + 1) % 2];

        attn_decode_next(&cursor, &blocks[(b + 1) % 2]);
        open_fetch(&w, next->count == BLOCK ? next : NULL);
        visit(R, &w, &blocks[b % 2]);
    }
    store_rows(R, &w, o, stride, lse);
}

/* Tiles are configured for a task and released after it; results below 2^-126 become 0, as they do in the products. */
static void decode_bfloat16(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                            const attn_decode_task *task, void *o, int64_t stride, void *lse, void *scratch)
{
    const unsigned before = _mm_getcsr();
    const int64_t rows = task->rows.rows;

    if (rows < LEAST_ROWS) {
        attn_decode_avx512.decode[ATTN_BFLOAT16](setup, buffers, task, o, stride, lse, scratch);
        return;
    }
    _mm_setcsr(before | _MM_FLUSH_ZERO_ON);
    configure_tiles(rows <= 8 ? 8 : 16);
    if (rows <= 8)
        decode_rows(8, setup, buffers, task, o, stride, lse, scratch);
    else
        decode_rows(16, setup, buffers, task, o, stride, lse, scratch);
    _tile_release();
    _mm_setcsr(before);
}

static size_t scratch_bytes(const attn_shape *shape, attn_dtype dtype, int64_t rows)
{
    const size_t tiles = tile_bytes(shape), other = attn_decode_avx512.scratch_bytes(shape, dtype, rows);

    return tiles > other ? tiles : other;
}

const attn_decode_level attn_decode_amx = {
    .decode = {[ATTN_BFLOAT16] = decode_bfloat16},
    .scratch_bytes = scratch_bytes,
};

#else

const attn_decode_level attn_decode_amx = {.scratch_bytes = NULL};

#endif
