/* The bfloat16 kernel for AMX: products of tiles, C [16 x 16 float32] += A [16 x 32] B [32 x 16] (TDPBF16PS).
 *
 * A is 16 keys of K, or 16 columns of V transposed, as they stand; a row of B is a pair of each of 16 lanes, which is
 * how q and the weights stand; a row of C is a vector of the softmax. A group is four products of two A and two B, so
 * that a tile that was loaded is used twice. */
#include "core/cpu.h"
#include "kernel/decode.h"
#include "kernel/kernel.h"

#if defined(__AVX512BF16__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))

enum { BLOCK_ROWS = 768, KEY_BLOCK = 256 };

#include "kernel/bf16_task.h"
/* after it */
#include "kernel/bf16_backward.h"

enum { ROWS = 16, LANE_STRIDE = LANES * 4 /* bytes from row to row of B and C */ };

/* The configuration of tiles, as LDTILECFG reads it. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static int64_t count_key_groups(const bf16_work *w)
{
    return w->padded_D / CHUNK;
}

static int64_t count_value_groups(const bf16_work *w, int64_t keys)
{
    return keys / CHUNK * (w->padded_Dv / CHUNK);
}

/* Stores tile C from the group before, if there was one, and starts it anew, from memory or from 0. That stands right
 * before the first product into C: a store waits for the last product, and the products of the three other tiles go
 * on. */
#define START_TILE(C, OFFSET)                                                                                          \
    do {                                                                                                               \
        if (done != NULL)                                                                                              \
            _tile_stored(C, done + (OFFSET), LANE_STRIDE);                                                             \
        if (start != NULL)                                                                                             \
            _tile_loadd(C, start + (OFFSET), LANE_STRIDE);                                                             \
        else                                                                                                           \
            _tile_zero(C);                                                                                             \
    } while (0)

enum { TILE_0 = 0, TILE_1 = WIDTH, TILE_2 = ROWS * LANES, TILE_3 = ROWS * LANES + WIDTH }; /* floats */

/* Beside a group of products; in the backward pass there is no softmax to work on. */
static inline __attribute__((always_inline)) void work_beside(bf16_products *products, bf16_softmax *softmax)
{
    if (softmax != NULL)
        softmax_pairs(softmax, softmax->share);
    prefetch_lines(&products->ahead);
}

/* Products of 32 rows of A with the lanes of B into tiles 0 .. 3, two by two.
 *   start  what they begin with, NULL: zeros */
static inline __attribute__((always_inline)) void multiply_tiles(bf16_products *products, const uint16_t *from,
                                                                 int64_t stride, const uint32_t *lanes, int64_t count,
                                                                 const float *start, bf16_softmax *softmax)
{
    const size_t row_bytes = (size_t)stride * sizeof *from;
    float *const done = products->pending;

    _tile_loadd(4, from, row_bytes);
    _tile_loadd(6, lanes, LANE_STRIDE);
    START_TILE(0, TILE_0);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, lanes + WIDTH, LANE_STRIDE);
    START_TILE(1, TILE_1);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, from + ROWS * stride, row_bytes);
    START_TILE(2, TILE_2);
    _tile_dpbf16ps(2, 5, 6);
    START_TILE(3, TILE_3);
    _tile_dpbf16ps(3, 5, 7);
    work_beside(products, softmax);
    for (int64_t k = CHUNK; k < count; k += CHUNK) {
        lanes += CHUNK / 2 * LANES;
        _tile_loadd(4, from + k, row_bytes);
        _tile_loadd(6, lanes, LANE_STRIDE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, lanes + WIDTH, LANE_STRIDE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, from + k + ROWS * stride, row_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        work_beside(products, softmax);
    }
}

static void store_tiles(bf16_products *products)
{
    if (products->pending == NULL)
        return;
    _tile_stored(0, products->pending + TILE_0, LANE_STRIDE);
    _tile_stored(1, products->pending + TILE_1, LANE_STRIDE);
    _tile_stored(2, products->pending + TILE_2, LANE_STRIDE);
    _tile_stored(3, products->pending + TILE_3, LANE_STRIDE);
    products->pending = NULL;
}

static void finish_products(bf16_work *w)
{
    store_tiles(&w->products);
}

static void multiply_keys(bf16_work *w, const bf16_keys *keys, const bf16_chunk *chunk, bf16_softmax *beside)
{
    multiply_tiles(&w->products, keys->k + chunk->j * keys->k_stride, keys->k_stride, chunk->stage->panel->q,
                   w->padded_D, NULL, beside);
    w->products.pending = chunk->scores;
}

static void rescale_output(float *o, const __m512 rescale[VECTORS])
{
    for (int d = 0; d < CHUNK; d++)
        for (int n = 0; n < VECTORS; n++) {
            float *at = o + d * LANES + n * WIDTH;

            _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), rescale[n]));
        }
}

static void multiply_values(bf16_work *w, const bf16_keys *keys, const bf16_stage *stage, bf16_softmax *beside)
{
    for (int64_t d = 0; d < w->padded_Dv; d += CHUNK) {
        float *o = stage->panel->o + d * LANES;

        if (stage->rescaled)
            rescale_output(o, stage->rescale);
        multiply_tiles(&w->products, keys->v + d * VALUE_STRIDE + stage->from, VALUE_STRIDE, stage->weights,
                       stage->to - stage->from, o, beside);
        w->products.pending = o;
    }
}

static int64_t count_groups(int64_t count)
{
    return count / CHUNK;
}

static void multiply_block(bf16_backward *w, const uint16_t *from, int64_t stride, const uint32_t *lanes, int64_t count,
                           bool add, float *c)
{
    multiply_tiles(&w->products, from, stride, lanes, count, add ? c : NULL, NULL);
    w->products.pending = c;
}

static void finish_blocks(bf16_backward *w)
{
    store_tiles(&w->products);
}

/* Tiles are configured for a task and released after it, as their state is large to save and slows other code. */
static void configure_tiles(void)
{
    tile_config config = {.palette = 1};

    for (int n = 0; n < 8; n++) {
        config.row_bytes[n] = CHUNK * sizeof(uint16_t);
        config.rows[n] = ROWS;
    }
    _tile_loadconfig(&config);
}

static void run_tiles(const attn_forward_setup *setup, const attn_forward_buffers *buffers, const attn_task *task,
                      void *scratch)
{
    configure_tiles();
    run_task(setup, buffers, task, scratch);
    _tile_release();
}

static void run_tiles_backward(const attn_backward_call *call, attn_backward_task *task, void *scratch)
{
    configure_tiles();
    run_backward(call, task, scratch);
    _tile_release();
}

#endif

const attn_kernel attn_kernel_amx_bf16 = {
    .name = "amx-bf16",
    .summary = "bfloat16 products of tiles (AMX)",
    .needs = "AMX with bfloat16",
    .peak = "tile-bfloat16-amx",
#if defined(__AVX512BF16__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))
    .cpu_has = attn_cpu_amx_bf16,
    .forward = {[ATTN_BFLOAT16] = run_tiles},
    .block_rows = block_rows,
    .key_block = KEY_BLOCK,
    .panel_rows = panel_rows,
    .scratch_bytes = scratch_bytes,
    .backward = {[ATTN_BFLOAT16] = run_tiles_backward},
    .backward_keys = backward_keys,
    .backward_bytes = backward_bytes,
    .decode = &attn_decode_amx,
    .paged = true,
#else
    .cpu_has = attn_cpu_none,
#endif
};
