/* Decoding for one arithmetic type; included by decode_level.h once for float and once for double, after core/vector.h.
 *
 * There are too few query rows to fill the lanes of a vector, so vectors run along D and Dv: each vector of keys or
 * values is read once from its own layout and used by all rows of a tile. A tile has R query rows, R = 1, 2, 4 or 8,
 * and takes J = WIDTH / R keys at a time:
 *
 *     R x J sums of q k         (score_keys)   added up across their lanes into one vector, lane r J + j
 *     2^(score - max)           (softmax)      vertical, as lanes keep their row; only the maximum is shared by J lanes
 *     O [R x Dv] += P V         (add_values)   R x (SUMS / R) sums, weights as broadcast scalars
 *
 * Online softmax as in the blocked kernel; scores are kept in units of log 2.
 */
#define WIDTH ((int)(VECTOR_BYTES / sizeof(REAL)))
#define TILE FN(tile)
#define WORK FN(work)

/* A tile of query rows. Rows beyond the last repeat it and are not stored. */
typedef struct TILE {
    VEC max, sum; /* of x so far, the same in all lanes of a row; of 2^(x - max) */
    REAL *q, *o;  /* [size][q_stride], [size][o_stride] */
    int64_t lo[MOST_ROWS], hi[MOST_ROWS], diagonal[MOST_ROWS]; /* visible keys and i' */
    REAL slope[MOST_ROWS];                                     /* ALiBi slope times log2(e) */
    int64_t first;                                             /* folded row */
    int size, rows;                                            /* R; rows in use */
} TILE;

typedef struct WORK {
    const attn_forward_setup *setup;
    const attn_forward_buffers *buffers;
    const attn_decode_task *task;
    int64_t D, Dv, k_lines, v_lines; /* lines of a row of k, of v */
    int64_t q_stride, o_stride;      /* elements of a row in whole lines */
    TILE *tiles;
    int tile_count;
    VEC *scores;        /* [ATTN_DECODE_BLOCK], used as [groups of J keys] */
    REAL q_factor;      /* see portable_task.h */
    REAL factor;        /* on scores in the softmax */
    REAL adjust_factor; /* on q . k before an adjustment */
    REAL cap;           /* softcap log2(e), 0: off */
    bool alibi;
} WORK;

/* Elements of a line, and the vectors that they make. */
static inline __attribute__((always_inline)) int FN(line_vectors)(const attn_dtype type)
{
    return type == ATTN_FLOAT32 || type == ATTN_FLOAT64 ? 1 : 2;
}

/* Line n of a row of `width` elements; elements beyond them are 0. */
static inline __attribute__((always_inline)) void FN(load_row)(const attn_dtype type, const char *row, int64_t n,
                                                               int64_t width, VEC to[2])
{
    const int64_t bytes = width * (int64_t)(sizeof(REAL) / (size_t)FN(line_vectors)(type)) - n * VECTOR_BYTES;
    const char *const from = row + n * VECTOR_BYTES;

    FN(widen)(type, bytes >= VECTOR_BYTES ? load_line(from) : load_part(from, bytes), to);
}

/* WIDTH vectors become one: the sum of vector n's lanes in lane n. First the 16 bytes of a vector are added up, then
 * the elements within them: such shuffles have their pattern in the instruction and keep what they read. */
static inline __attribute__((always_inline)) VEC FN(add_lanes)(const VEC m[WIDTH])
{
    enum { PART = 16 / sizeof(REAL), PARTS = VECTOR_BYTES / 16 };
    VEC t[WIDTH];

    UNROLL
    for (int n = 0; n < WIDTH; n++)
        t[n] = m[n % PARTS * PART + n / PARTS];
    UNROLL
    for (int count = WIDTH / 2; count >= PART; count /= 2) {
        UNROLL
        for (int n = 0; n < count; n++)
            t[n] = __builtin_shufflevector(t[2 * n], t[2 * n + 1], EACH_LANES(EVEN)) +
                   __builtin_shufflevector(t[2 * n], t[2 * n + 1], EACH_LANES(ODD));
    }
    UNROLL
    for (int count = PART / 2; count > 0; count /= 2) {
        UNROLL
        for (int n = 0; n < count; n++)
            t[n] = __builtin_shufflevector(t[2 * n], t[2 * n + 1], EACH_PAIRS(EVEN)) +
                   __builtin_shufflevector(t[2 * n], t[2 * n + 1], EACH_PAIRS(ODD));
    }
    return t[0];
}

/* Step 1: the query rows of a tile, the keys that each sees. */
static inline __attribute__((always_inline)) void FN(load_tile)(const attn_dtype type, const WORK *w, TILE *tile)
{
    const attn_problem *problem = w->setup->problem;
    const attn_array *q = &w->buffers->q;
    const size_t element = attn_dtype_size(problem->dtype);
    const double *slopes = problem->score.alibi_slopes;

    for (int n = 0; n < tile->size; n++) {
        const int64_t f = tile->first + (n < tile->rows ? n : tile->rows - 1);
        const int64_t h = attn_task_head(&w->task->rows, f), r = attn_task_row(&w->task->rows, f);
        const int64_t place = w->task->rows.b * q->batch_stride + h * q->head_stride + r * q->row_stride;
        const char *from = (const char *)q->data + (size_t)place * element;
        const int64_t i = attn_segments_global(w->setup->q_rows, r);
        const attn_interval keys = attn_mask_row(&problem->mask, &problem->shape, w->task->rows.b, i);
        REAL *to = tile->q + n * w->q_stride;

        for (int64_t l = 0; l < w->k_lines; l++) {
            VEC elements[2];

            FN(load_row)(type, from, l, w->D, elements);
            for (int c = 0; c < FN(line_vectors)(type); c++, to += WIDTH)
                FN(store)(to, w->q_factor * elements[c]);
        }
        tile->lo[n] = keys.lo;
        tile->hi[n] = keys.hi;
        tile->diagonal[n] = i + problem->shape.kv_seq - problem->shape.seq;
        tile->slope[n] = slopes != NULL ? (REAL)(slopes[w->setup->head_begin + h] * LOG2_E) : 0;
    }
    tile->max = FN(splat)((REAL)-INFINITY);
    tile->sum = FN(splat)(0);
    memset(tile->o, 0, (size_t)(tile->size * w->o_stride) * sizeof(REAL));
}

/* Step 2: q k of R rows and J keys, four keys at a time, which are enough to keep the multipliers busy. The line of the
 * key ahead is on its way while one is used. */
static inline __attribute__((always_inline)) void FN(score_line)(const int R, const int K, const attn_dtype type,
                                                                 const WORK *w, const TILE *tile, const char *const *k,
                                                                 const char *const *ahead, int64_t n, bool whole,
                                                                 VEC *sum)
{
    const int J = WIDTH / R, vectors = FN(line_vectors)(type);
    VEC key[4][2];

    UNROLL
    for (int j = 0; j < K; j++) {
        if (ahead != NULL)
            __builtin_prefetch(ahead[j] + n * VECTOR_BYTES, 0, PREFETCH);
        if (whole)
            FN(read_line)(type, k[j] + n * VECTOR_BYTES, key[j]);
        else
            FN(load_row)(type, k[j], n, w->D, key[j]);
    }
    UNROLL
    for (int c = 0; c < vectors; c++) {
        UNROLL
        for (int r = 0; r < R; r++) {
            VEC row = FN(load)(tile->q + r * w->q_stride + (n * vectors + c) * WIDTH);

            KEEP(row);
            UNROLL
            for (int j = 0; j < K; j++)
                sum[r * J + j] += row * key[j][c];
        }
    }
}

static inline __attribute__((always_inline)) VEC FN(score_keys)(const int R, const attn_dtype type, const WORK *w,
                                                                const TILE *tile, const char *const *k,
                                                                const char *const *ahead)
{
    const int J = WIDTH / R, K = J < 4 ? J : 4;
    const int64_t whole = w->D / (WIDTH * FN(line_vectors)(type));
    VEC sum[WIDTH];

    UNROLL
    for (int n = 0; n < WIDTH; n++)
        sum[n] = FN(splat)(0);
    UNROLL
    for (int j = 0; j < J; j += K) {
        for (int64_t n = 0; n < whole; n++)
            FN(score_line)(R, K, type, w, tile, k + j, ahead != NULL ? ahead + j : NULL, n, true, sum + j);
        if (whole < w->k_lines)
            FN(score_line)(R, K, type, w, tile, k + j, ahead != NULL ? ahead + j : NULL, whole, false, sum + j);
    }
    return FN(add_lanes)(sum);
}

static inline __attribute__((always_inline)) void FN(score_block)(const int R, const attn_dtype type, const WORK *w,
                                                                  const TILE *tile, const attn_decode_keys *keys,
                                                                  const attn_decode_keys *ahead)
{
    const int J = WIDTH / R;
    int64_t j = 0;

    if (ahead != NULL)
        for (; j + J <= keys->count; j += J)
            w->scores[j / J] = FN(score_keys)(R, type, w, tile, keys->k + j, ahead->k + j);
    for (; j + J <= keys->count; j += J)
        w->scores[j / J] = FN(score_keys)(R, type, w, tile, keys->k + j, NULL);
    if (j < keys->count) {
        const char *last[WIDTH];

        for (int n = 0; n < J; n++)
            last[n] = keys->k[j + n < keys->count ? j + n : keys->count - 1];
        w->scores[j / J] = FN(score_keys)(R, type, w, tile, last, NULL);
    }
}

/* Step 3: softcap and ALiBi. */
static void FN(adjust_scores)(const WORK *w, const TILE *tile, const attn_decode_keys *keys)
{
    const int J = WIDTH / tile->size;

    for (int64_t j = 0; j < keys->count; j += J) {
        VEC x = w->scores[j / J] * w->adjust_factor;

        if (w->cap != 0)
            x = FN(tanh)(x) * w->cap;
        if (w->alibi) {
            REAL away[WIDTH];

            for (int lane = 0; lane < WIDTH; lane++) {
                const int64_t key = j + lane % J < keys->count ? j + lane % J : j;
                const int64_t distance = tile->diagonal[lane / J] - keys->position[key];

                away[lane] = (REAL)(distance < 0 ? -distance : distance) * tile->slope[lane / J];
            }
            x -= FN(load)(away);
        }
        w->scores[j / J] = x;
    }
}

/* Whether some row does not see all keys of a block, or the last vector of scores has lanes without a key. */
static bool FN(is_partial)(const TILE *tile, const attn_decode_keys *keys)
{
    bool partial = keys->count % (WIDTH / tile->size) != 0;

    for (int r = 0; r < tile->size; r++)
        partial = partial || keys->lowest < tile->lo[r] || keys->highest >= tile->hi[r];
    return partial;
}

static bool FN(sees)(const TILE *tile, int r, const attn_decode_keys *keys, int64_t j)
{
    return j < keys->count && tile->lo[r] <= keys->position[j] && keys->position[j] < tile->hi[r];
}

/* Step 4: keys that a row does not see get the score -inf. */
static void FN(mask_scores)(const WORK *w, const TILE *tile, const attn_decode_keys *keys)
{
    const int J = WIDTH / tile->size;

    for (int64_t j = 0; j < keys->count; j += J)
        for (int lane = 0; lane < WIDTH; lane++)
            if (!FN(sees)(tile, lane / J, keys, j + lane % J))
                w->scores[j / J][lane] = (REAL)-INFINITY;
}

/* Step 5: the online softmax. Scores become weights; returns what the sums so far must be multiplied with. */
static inline __attribute__((always_inline)) VEC FN(softmax)(const int R, const WORK *w, TILE *tile, int64_t count)
{
    const int J = WIDTH / R;
    const int64_t groups = (count + J - 1) / J;
    const VEC none = FN(splat)((REAL)-INFINITY), factor = FN(splat)(w->factor);
    VEC top = none, sum = FN(splat)(0), base, rescale;

    for (int64_t n = 0; n < groups; n++)
        top = FN(max)(w->scores[n], top);
    for (int r = 0; r < R; r++)
        for (int j = 1; j < J; j++)
            top[r * J] = top[r * J + j] > top[r * J] ? top[r * J + j] : top[r * J];
    for (int lane = 0; lane < WIDTH; lane++)
        top[lane] = top[lane / J * J];
    top = FN(max)(top * factor, tile->max);
    base = FN(select)(top == none, FN(splat)(0), top); /* a row that has seen no key yet: 2^(-inf - 0) = 0 */
    rescale = FN(exp2)(tile->max - base);
    for (int64_t n = 0; n < groups; n++) {
        const VEC p = FN(exp2)(w->scores[n] * factor - base);

        w->scores[n] = p;
        sum += p;
    }
    tile->max = top;
    tile->sum = tile->sum * rescale + sum;
    return rescale;
}

/* Step 6 of one key: L lines of it times the weights of R rows. */
static inline __attribute__((always_inline)) void FN(value_key)(const int R, const int L, const attn_dtype type,
                                                                const WORK *w, const attn_decode_keys *keys, int64_t j,
                                                                int64_t n, bool whole, const REAL *weight,
                                                                const attn_decode_keys *ahead, VEC *sum)
{
    const int J = WIDTH / R, vectors = FN(line_vectors)(type), C = L * vectors;
    VEC value[2 * SUMS];

    UNROLL
    for (int l = 0; l < L; l++) {
        if (ahead != NULL)
            __builtin_prefetch(ahead->v[j] + (n + l) * VECTOR_BYTES, 0, PREFETCH);
        if (whole)
            FN(read_line)(type, keys->v[j] + (n + l) * VECTOR_BYTES, value + l * vectors);
        else
            FN(load_row)(type, keys->v[j], n + l, w->Dv, value + l * vectors);
    }
    UNROLL
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++)
            /* cppcheck-suppress uninitvar ; value was filled through pointers */
            sum[r * C + c] += value[c] * weight[r * J];
}

/* Step 6: L lines of columns of V times the weights, added to the rescaled output. */
static inline __attribute__((always_inline)) void FN(value_tile)(const int R, const int L, const attn_dtype type,
                                                                 const WORK *w, const TILE *tile,
                                                                 const attn_decode_keys *keys, int64_t n, bool whole,
                                                                 VEC rescale, const attn_decode_keys *ahead)
{
    const int J = WIDTH / R, vectors = FN(line_vectors)(type), C = L * vectors;
    const REAL *const weights = (const REAL *)(const void *)w->scores;
    const int K = J < 4 ? 1 : 4; /* keys at a time; with many rows their sums would leave the registers */
    REAL *const o = tile->o + n * vectors * WIDTH;
    VEC sum[MOST_ROWS > SUMS ? MOST_ROWS * 2 : SUMS * 2];
    int64_t j = 0;

    UNROLL
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++)
            sum[r * C + c] = FN(load)(o + r * w->o_stride + c * WIDTH) * rescale[r * J];
    for (; j + K <= keys->count; j += K) {
        UNROLL
        for (int k = 0; k < K; k++)
            FN(value_key)(R, L, type, w, keys, j + k, n, whole, weights + j / J * WIDTH + j % J + k, ahead, sum);
    }
    for (; j < keys->count; j++)
        FN(value_key)(R, L, type, w, keys, j, n, whole, weights + j / J * WIDTH + j % J, ahead, sum);
    UNROLL
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++)
            FN(store)(o + r * w->o_stride + c * WIDTH, sum[r * C + c]);
}

static inline __attribute__((always_inline)) void FN(add_values)(const int R, const attn_dtype type, const WORK *w,
                                                                 const TILE *tile, const attn_decode_keys *keys,
                                                                 VEC rescale, const attn_decode_keys *ahead)
{
    const int vectors = FN(line_vectors)(type), fit = SUMS / (R * vectors);
    const int L = fit < 1 ? 1 : fit * vectors > 8 ? 8 / vectors : fit;
    const int64_t whole = w->Dv / (WIDTH * vectors);
    int64_t n = 0;

    for (; n + L <= whole; n += L)
        FN(value_tile)(R, L, type, w, tile, keys, n, true, rescale, ahead);
    for (; n < whole; n++)
        FN(value_tile)(R, 1, type, w, tile, keys, n, true, rescale, ahead);
    if (n < w->v_lines)
        FN(value_tile)(R, 1, type, w, tile, keys, n, false, rescale, ahead);
}

/* Infinities and NaN have all bits of the exponent set. */
static inline __attribute__((always_inline)) bool FN(all_finite)(const attn_dtype type, const WORK *w,
                                                                 const attn_decode_keys *keys)
{
    const WORD exponent = (((WORD)1 << (sizeof(REAL) * 8 - 1 - MANTISSA)) - 1) << MANTISSA;
    INTS found = {0};

    for (int64_t j = 0; j < keys->count; j++)
        for (int64_t n = 0; n < w->v_lines; n++) {
            VEC value[2];

            FN(load_row)(type, keys->v[j], n, w->Dv, value);
            for (int c = 0; c < FN(line_vectors)(type); c++)
                found |= (INTS)(((BITS)value[c] & exponent) == exponent);
        }
    for (int lane = 0; lane < WIDTH; lane++)
        if (found[lane] != 0)
            return false;
    return true;
}

/* Step 6 where V has an infinity or NaN that some row does not see: 0 times that must not reach the row. */
static inline __attribute__((always_inline)) void FN(add_visible_values)(const attn_dtype type, const WORK *w,
                                                                         const TILE *tile, const attn_decode_keys *keys,
                                                                         VEC rescale)
{
    const int J = WIDTH / tile->size, vectors = FN(line_vectors)(type);

    for (int r = 0; r < tile->size; r++)
        for (int64_t n = 0; n < w->v_lines; n++) {
            REAL *const o = tile->o + r * w->o_stride + n * vectors * WIDTH;

            for (int c = 0; c < vectors; c++)
                FN(store)(o + c * WIDTH, FN(load)(o + c * WIDTH) * rescale[r * J]);
            for (int64_t j = 0; j < keys->count; j++) {
                VEC value[2];

                if (!FN(sees)(tile, r, keys, j))
                    continue;
                FN(load_row)(type, keys->v[j], n, w->Dv, value);
                for (int c = 0; c < vectors; c++)
                    FN(store)(o + c * WIDTH, FN(load)(o + c * WIDTH) + value[c] * w->scores[j / J][r * J + j % J]);
            }
        }
}

/* Steps 2 to 6 for one tile and one block. */
static inline __attribute__((always_inline)) void FN(visit_as)(const int R, const attn_dtype type, const WORK *w,
                                                               TILE *tile, const attn_decode_keys *keys,
                                                               const attn_decode_keys *ahead)
{
    const bool partial = FN(is_partial)(tile, keys);
    VEC rescale;

    FN(score_block)(R, type, w, tile, keys, ahead);
    if (w->cap != 0 || w->alibi)
        FN(adjust_scores)(w, tile, keys);
    if (partial)
        FN(mask_scores)(w, tile, keys);
    rescale = FN(softmax)(R, w, tile, keys->count);
    if (partial && !FN(all_finite)(type, w, keys))
        FN(add_visible_values)(type, w, tile, keys, rescale);
    else
        FN(add_values)(R, type, w, tile, keys, rescale, ahead);
}

static inline __attribute__((always_inline)) void FN(visit)(const attn_dtype type, const WORK *w, TILE *tile,
                                                            const attn_decode_keys *keys, const attn_decode_keys *ahead)
{
    switch (tile->size) {
    case 1:
        FN(visit_as)(1, type, w, tile, keys, ahead);
        break;
    case 2:
        FN(visit_as)(2, type, w, tile, keys, ahead);
        break;
#if VECTOR_BYTES >= 32
    case 8:
        FN(visit_as)(WIDTH < 8 ? WIDTH : 8, type, w, tile, keys, ahead);
        break;
#endif
    default:
        FN(visit_as)(WIDTH < 4 ? WIDTH : 4, type, w, tile, keys, ahead);
        break;
    }
}

/* Step 7: divide, write the partial o, in whole lines, and lse. */
static inline __attribute__((always_inline)) void FN(store_tile)(const attn_dtype type, const WORK *w, const TILE *tile,
                                                                 REAL *o, int64_t stride, REAL *lse)
{
    const int J = WIDTH / tile->size;

    for (int n = 0; n < tile->rows; n++) {
        const REAL *from = tile->o + n * w->o_stride;
        REAL sum = 0, scale, *to = o + (tile->first + n) * stride;

        for (int j = 0; j < J; j++)
            sum += tile->sum[n * J + j];
        scale = sum == 0 ? 0 : 1 / sum;
        for (int64_t d = 0; d < w->o_stride; d += FN(line_vectors)(type) * WIDTH) {
            const VEC first = FN(load)(from + d) * scale;

            if (type == ATTN_BFLOAT16) { /* even and odd columns */
                const VEC second = FN(load)(from + d + WIDTH) * scale;

                FN(store)(to + d, __builtin_shufflevector(first, second, ZIP(LOW)));
                FN(store)(to + d + WIDTH, __builtin_shufflevector(first, second, ZIP(HIGH)));
            } else {
                FN(store)(to + d, first);
                if (type == ATTN_FLOAT16)
                    FN(store)(to + d + WIDTH, FN(load)(from + d + WIDTH) * scale);
            }
        }
        lse[tile->first + n] = (REAL)(sum == 0 ? -INFINITY : (double)tile->max[n * J] * LN_2 + log((double)sum));
    }
}

/* Rows of the tile that begins before `left` more rows. */
static int FN(tile_size)(int64_t left)
{
    const int most = WIDTH < MOST_ROWS ? WIDTH : MOST_ROWS;
    int size = 1;

    while (size < most && size < left)
        size *= 2;
    return size;
}

static int64_t FN(count_lines)(const attn_dtype type, int64_t width)
{
    const int elements = WIDTH * FN(line_vectors)(type);

    return (width + elements - 1) / elements;
}

static size_t FN(scratch_bytes)(const attn_dtype type, int64_t D, int64_t Dv, int64_t rows)
{
    const int64_t vectors = (FN(count_lines)(type, D) + FN(count_lines)(type, Dv)) * FN(line_vectors)(type);

    return decode_round((size_t)rows * sizeof(TILE)) + (size_t)((rows + MOST_ROWS) * vectors) * sizeof(VEC) +
           ATTN_DECODE_BLOCK * sizeof(VEC);
}

static WORK FN(open_work)(const attn_forward_setup *setup, const attn_forward_buffers *buffers,
                          const attn_decode_task *task, char *scratch)
{
    const attn_problem *problem = setup->problem;
    const attn_score *score = &problem->score;
    WORK w = {.setup = setup,
              .buffers = buffers,
              .task = task,
              .D = problem->shape.head_dim,
              .Dv = problem->shape.v_head_dim,
              .alibi = score->alibi_slopes != NULL,
              .q_factor = (REAL)((score->scale > 0) - (score->scale < 0)),
              .cap = (REAL)(score->softcap * LOG2_E)};

    w.adjust_factor = (REAL)(fabs(score->scale) * (score->softcap > 0 ? 1 / score->softcap : LOG2_E));
    w.factor = w.cap != 0 || w.alibi || score->scale == 0 ? 1 : w.adjust_factor;
    w.k_lines = FN(count_lines)(problem->dtype, w.D);
    w.v_lines = FN(count_lines)(problem->dtype, w.Dv);
    w.q_stride = w.k_lines * FN(line_vectors)(problem->dtype) * WIDTH;
    w.o_stride = w.v_lines * FN(line_vectors)(problem->dtype) * WIDTH;
    w.scores = (VEC *)(void *)scratch;
    scratch += ATTN_DECODE_BLOCK * sizeof(VEC);
    w.tiles = (TILE *)(void *)scratch;
    scratch += decode_round((size_t)task->rows.rows * sizeof(TILE));
    for (int64_t row = 0; row < task->rows.rows;) {
        TILE *tile = &w.tiles[w.tile_count++];
        const int64_t left = task->rows.rows - row;

        tile->first = row;
        tile->size = FN(tile_size)(left);
        tile->rows = left < tile->size ? (int)left : tile->size;
        tile->q = (REAL *)(void *)scratch;
        scratch += (size_t)(tile->size * w.q_stride) * sizeof(REAL);
        tile->o = (REAL *)(void *)scratch;
        scratch += (size_t)(tile->size * w.o_stride) * sizeof(REAL);
        row += tile->rows;
    }
    return w;
}

static inline __attribute__((always_inline)) void FN(decode)(const attn_dtype type, const attn_forward_setup *setup,
                                                             const attn_forward_buffers *buffers,
                                                             const attn_decode_task *task, void *o, int64_t stride,
                                                             void *lse, void *scratch)
{
    WORK w = FN(open_work)(setup, buffers, task, scratch);
    attn_decode_cursor cursor = attn_decode_open(setup, buffers, task);
    attn_decode_keys blocks[2];

    for (int n = 0; n < w.tile_count; n++)
        FN(load_tile)(type, &w, &w.tiles[n]);
    attn_decode_next(&cursor, &blocks[0]);
    for (int64_t b = 0; blocks[b % 2].count > 0; b++) {
        const attn_decode_keys *keys = &blocks[b % 2], *next = &blocks[(b + 1) % 2];

        attn_decode_next(&cursor, &blocks[(b + 1) % 2]);
        for (int n = 0; n < w.tile_count; n++)
            FN(visit)(type, &w, &w.tiles[n], keys, n == 0 && next->count == keys->count ? next : NULL);
    }
    for (int n = 0; n < w.tile_count; n++)
        FN(store_tile)(type, &w, &w.tiles[n], o, stride, lse);
}

#undef WIDTH
#undef TILE
#undef WORK
