/* The peak of bfloat16 products of tiles (TDPBF16PS of AMX): C [16 x 16 float32] += A [16 x 32] B [32 x 16], four sums
 * in turn, as a product of matrices has them: one A with two B, another A with the same. Operands stay in tiles. Their
 * numbers are those of a generator and not all the same: a unit that multiplies equal numbers takes less power and may
 * then run at a higher frequency than it can with data. */
#include "core/cpu.h"
#include "measure/probe.h"

#if defined(__AVX512BF16__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))

#include <immintrin.h>
#include <string.h>

enum { ROWS = 16, ROW_BYTES = 64, OPERANDS = 4, PRODUCTS = 4, REPEATS = 16 };

/* The configuration of all tiles, as LDTILECFG reads it (Intel's manual, volume 1, chapter on AMX). */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static void pass(void *context, int thread, int64_t passes)
{
    uint16_t numbers[OPERANDS][ROWS * ROW_BYTES / 2];
    uint32_t state = 1;
    float sums[ROWS * ROW_BYTES / 4];
    tile_config config = {.palette = 1};
    volatile float keep;

    (void)context, (void)thread;
    for (int n = 0; n < OPERANDS; n++)
        for (int i = 0; i < ROWS * ROW_BYTES / 2; i++) {
            state = state * 1664525 + 1013904223; /* Numerical Recipes, 2nd edition, section 7.1 */
            numbers[n][i] =
                (uint16_t)(0x3c00 | (state >> 31) << 15 | (state >> 22 & 0xff)); /* of both signs, about 1e-2 */
        }
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = ROW_BYTES;
        config.rows[t] = ROWS;
    }
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, numbers[0], ROW_BYTES);
    _tile_loadd(5, numbers[1], ROW_BYTES);
    _tile_loadd(6, numbers[2], ROW_BYTES);
    _tile_loadd(7, numbers[3], ROW_BYTES);
    for (int64_t n = 0; n < passes; n++)
        for (int r = 0; r < REPEATS; r++) {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    _tile_stored(0, sums, ROW_BYTES);
    _tile_release();
    keep = sums[0];
    (void)keep;
}

static attn_status run_here(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    const double product = 2.0 * ROWS * (ROW_BYTES / 4) * (ROW_BYTES / 2);
    const attn_probe_work work = {.pass = pass, .amount = product * PRODUCTS * REPEATS};

    return attn_probe_time(&work, setup, out, error);
}

#else

#define run_here NULL /* never called: cpu_has is false there */

#endif

const attn_probe attn_probe_amx = {
    .name = "tile-bfloat16-amx",
    .summary = "peak of bfloat16 products of tiles (AMX)",
    .unit = "FLOP/s",
    .needs = "AMX with bfloat16",
#if defined(__AVX512BF16__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))
    .cpu_has = attn_cpu_amx_bf16,
#else
    .cpu_has = attn_cpu_none,
#endif
    .peak_of = ATTN_DTYPE_COUNT,
    .run = run_here,
};
