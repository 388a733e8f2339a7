/* Exponentials: 2^x as the softmax of the kernels has it (core/vector.h), of scores in the L1 cache, which are left
 * there as weights and added up. Included by probe_vector_level.h. */
enum { EXP_VECTORS = 64, EXP_LANES = VECTOR_BYTES / sizeof(REAL) };

static void FN(exp_pass)(void *context, int thread, int64_t passes)
{
    _Alignas(64) REAL scores[EXP_VECTORS * EXP_LANES], weights[EXP_VECTORS * EXP_LANES] = {0};
    const REAL *volatile hidden_scores = scores; /* so that nothing is known of their contents */
    REAL *volatile hidden_weights = weights;
    VEC sums[2] = {FN(splat)(0), FN(splat)(0)};
    volatile REAL keep; /* and nothing can be left out */

    (void)context, (void)thread;
    for (int i = 0; i < EXP_VECTORS * EXP_LANES; i++)
        scores[i] = (REAL)(-0.01 * i);
    for (int64_t n = 0; n < passes; n++) {
        const REAL *from = hidden_scores;
        REAL *to = hidden_weights;

        for (int v = 0; v < EXP_VECTORS; v += 2) {
            PROBE_UNROLL
            for (int i = 0; i < 2; i++) {
                const VEC weight = FN(exp2)(FN(load)(from + (v + i) * EXP_LANES));

                FN(store)(to + (v + i) * EXP_LANES, weight);
                sums[i] += weight;
            }
        }
    }
    keep = sums[0][0] + sums[1][0] + weights[0];
    (void)keep;
}

static attn_status FN(exp_run)(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    const attn_probe_work work = {.pass = FN(exp_pass), .amount = (double)EXP_VECTORS * EXP_LANES};

    return attn_probe_time(&work, setup, out, error);
}

const attn_probe PROBE_SYMBOL(exp) = {
    .name = PROBE_NAME("exp-float32"),
    .summary = "exponentials as the softmax takes them, " PROBE_SUMMARY,
    .unit = "exp/s",
    .needs = PROBE_NEEDS,
    .cpu_has = PROBE_CPU_HAS,
    .peak_of = ATTN_DTYPE_COUNT,
    .run = FN(exp_run),
};
