#include <attn/machine.h>

#include <math.h>

static const char *const origins[] = {
#define ORIGIN_TEXT(name, text) [ATTN_ORIGIN_##name] = text,
    ATTN_ORIGIN_LIST(ORIGIN_TEXT)};

const char *attn_origin_name(attn_origin origin)
{
    return (unsigned)origin < ATTN_ORIGIN_COUNT ? origins[origin] : "unknown";
}

/* FLOP/s of a core for float32; decoding reads each key for few operations. */
static const double pass_rate[ATTN_PASS_COUNT] = {
    [ATTN_PASS_FORWARD] = 30e9, [ATTN_PASS_BACKWARD] = 24e9, [ATTN_PASS_DECODE] = 5e9};

static const double dtype_factor[ATTN_DTYPE_COUNT] = {
    [ATTN_FLOAT64] = 0.5, [ATTN_FLOAT32] = 1, [ATTN_FLOAT16] = 1, [ATTN_BFLOAT16] = 1};

attn_machine attn_machine_default(void)
{
    attn_machine machine = {.node = {.alpha = 1e-6, .beta = 1 / 5e9, .hidden = 0},
                            .network = {.alpha = 3e-6, .beta = 1 / 10e9, .hidden = 1},
                            .copy_bandwidth = 8e9};

    for (int pass = 0; pass < ATTN_PASS_COUNT; pass++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
            machine.rate[pass][dtype].flops = pass_rate[pass] * dtype_factor[dtype];
    return machine;
}

/* Minimises the sum of ((alpha + beta m) / t - 1)^2: linear least squares with weights 1 / t^2. */
void attn_link_fit(const double *bytes, const double *seconds, size_t count, attn_link *link)
{
    double w = 0, wm = 0, wmm = 0, wt = 0, wmt = 0, determinant;

    for (size_t i = 0; i < count; i++) {
        const double weight = 1 / (seconds[i] * seconds[i]);

        w += weight;
        wm += weight * bytes[i];
        wmm += weight * bytes[i] * bytes[i];
        wt += weight * seconds[i];
        wmt += weight * bytes[i] * seconds[i];
    }
    determinant = w * wmm - wm * wm;
    link->beta = determinant > 0 ? fmax(0, (w * wmt - wm * wt) / determinant) : 0;
    link->alpha = (wt - link->beta * wm) / w; /* the best for this beta */
    if (link->alpha < 0) {
        link->alpha = 0;
        link->beta = wmt / wmm;
    }
}
