/* Multiply-adds with operands from the L1 cache: what the inner loop of a matrix product can reach in steady state. A
 * tile of TILE_ROWS x TILE_VECTORS sums stays in registers; each step loads TILE_VECTORS vectors from one array and
 * broadcasts TILE_ROWS numbers from another, as the products of attention do. Both arrays together take a third of a
 * small L1 cache (32 KiB). Included by probe_vector_level.h. */
enum { L1_STEPS = 64, L1_VECTORS = TILE_VECTORS * (int)(VECTOR_BYTES / sizeof(REAL)) };

static void FN(l1_pass)(void *context, int thread, int64_t passes)
{
    _Alignas(64) REAL vectors[L1_STEPS * L1_VECTORS], numbers[L1_STEPS * TILE_ROWS];
    const REAL *volatile hidden[] = {vectors, numbers}; /* so that nothing is known of their contents */
    VEC sums[TILE_ROWS][TILE_VECTORS];
    volatile REAL keep; /* and nothing can be left out */

    (void)context, (void)thread;
    for (int i = 0; i < L1_STEPS * L1_VECTORS; i++)
        vectors[i] = (REAL)1e-3;
    for (int i = 0; i < L1_STEPS * TILE_ROWS; i++)
        numbers[i] = (REAL)1e-3;
    for (int r = 0; r < TILE_ROWS; r++)
        for (int v = 0; v < TILE_VECTORS; v++)
            sums[r][v] = FN(splat)(0);
    for (int64_t n = 0; n < passes; n++) {
        const REAL *from = hidden[0], *number = hidden[1];

        for (int step = 0; step < L1_STEPS; step++) {
            VEC loaded[TILE_VECTORS];

            PROBE_UNROLL
            for (int v = 0; v < TILE_VECTORS; v++)
                loaded[v] = FN(load)(from + step * L1_VECTORS + v * (int)(VECTOR_BYTES / sizeof(REAL)));
            PROBE_UNROLL
            for (int r = 0; r < TILE_ROWS; r++) {
                const VEC broadcast = FN(splat)(number[step * TILE_ROWS + r]);

                PROBE_UNROLL
                for (int v = 0; v < TILE_VECTORS; v++)
                    sums[r][v] += broadcast * loaded[v];
            }
        }
    }
    for (int r = 0; r < TILE_ROWS; r++)
        for (int v = 0; v < TILE_VECTORS; v++)
            sums[0][0] += sums[r][v];
    keep = sums[0][0][0];
    (void)keep;
}

static attn_status FN(l1_run)(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    const attn_probe_work work = {.pass = FN(l1_pass), .amount = 2.0 * L1_VECTORS * TILE_ROWS * L1_STEPS};

    return attn_probe_time(&work, setup, out, error);
}

const attn_probe PROBE_SYMBOL(l1) = {
    .name = PROBE_NAME("l1-float32"),
    .summary = "multiply-adds with operands from the L1 cache, " PROBE_SUMMARY,
    .unit = "FLOP/s",
    .needs = PROBE_NEEDS,
    .cpu_has = PROBE_CPU_HAS,
    .peak_of = ATTN_DTYPE_COUNT,
    .run = FN(l1_run),
};
