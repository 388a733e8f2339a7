/* The multiply-add peak of one type at one level: independent chains x = x a + b, each in a register of its own. A
 * result is ready after about 4 cycles and there are at most two units, so 8 chains keep them busy and the others cover
 * what is slower. The loop has no load and no store. Where a level has no fused instruction, as SSE2 has none, a link
 * of a chain is a product and a sum. Included for each type by probe_vector_level.h. */

static void FN(fma_pass)(void *context, int thread, int64_t passes)
{
    volatile REAL one = 1, keep; /* unknown to the compiler and of use to it: nothing can be left out */
    const VEC a = one * (REAL)0.999 - (VEC){0}, b = 1 - a; /* chains go to 1 */
    VEC x[CHAINS];

    (void)context, (void)thread;
    for (int c = 0; c < CHAINS; c++)
        x[c] = a + (REAL)c;
    for (int64_t n = 0; n < passes; n++) {
        PROBE_UNROLL
        for (int r = 0; r < REPEATS; r++) {
            PROBE_UNROLL
            for (int c = 0; c < CHAINS; c++)
                x[c] = x[c] * a + b;
        }
    }
    for (int c = 1; c < CHAINS; c++)
        x[0] += x[c];
    keep = x[0][0];
    (void)keep;
}

static attn_status FN(fma_run)(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    const double lanes = VECTOR_BYTES / sizeof(REAL);
    const attn_probe_work work = {.pass = FN(fma_pass), .amount = 2 * lanes * CHAINS * REPEATS};

    return attn_probe_time(&work, setup, out, error);
}

const attn_probe ROW = {
    .name = ROW_NAME,
    .summary = "multiply-add peak of " PROBE_SUMMARY,
    .unit = "FLOP/s",
    .needs = PROBE_NEEDS,
    .cpu_has = PROBE_CPU_HAS,
    .peak_of = ROW_TYPE,
    .run = FN(fma_run),
};
