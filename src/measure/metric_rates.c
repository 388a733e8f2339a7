/* The metrics of every release: rates, and shares of a peak. */
#include "measure/metric.h"

#include <math.h>

static double gflops(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors;
    return 1e-9 * attn_attributes_real(outcomes, "flops", NAN) / seconds;
}

static double fma_percent(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    const double rate = attn_attributes_real(outcomes, "flops", NAN) / seconds;

    (void)factors;
    return 100 * rate / attn_attributes_real(outcomes, "fma_peak", NAN);
}

static double tokens(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)outcomes;
    return attn_attributes_real(factors, "batch", NAN) * attn_attributes_real(factors, "seq", NAN) / seconds;
}

static double input_bandwidth(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors;
    return 1e-9 * attn_attributes_real(outcomes, "input_bytes", NAN) / seconds;
}

static double sent_bandwidth(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors;
    return 1e-9 * attn_attributes_real(outcomes, "bytes_predicted", NAN) / seconds;
}

const attn_metric attn_metric_gflops = {
    .name = "gflops",
    .heading = "GFLOP/s",
    .unit = "GFLOP/s",
    .summary = "useful floating-point operations, counted from the mask, a second",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 4,
    .usual = true,
    .value = gflops,
};

const attn_metric attn_metric_fma_percent = {
    .name = "fma-percent",
    .heading = "% peak",
    .unit = "%",
    .summary = "percent of the multiply-add peak that the same ranks and threads had beside the case",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 3,
    .usual = false,
    .value = fma_percent,
};

const attn_metric attn_metric_tokens = {
    .name = "tokens",
    .heading = "tokens/s",
    .unit = "tokens/s",
    .summary = "query rows of all sequences a second",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 4,
    .usual = false,
    .value = tokens,
};

const attn_metric attn_metric_input_bandwidth = {
    .name = "input-bandwidth",
    .heading = "input GB/s",
    .unit = "GB/s",
    .summary = "bytes of q, k and v that all ranks read or made, a second of input-read",
    .phase = ATTN_PHASE_INPUT_READ,
    .digits = 3,
    .usual = false,
    .value = input_bandwidth,
};

const attn_metric attn_metric_sent_bandwidth = {
    .name = "sent-bandwidth",
    .heading = "sent GB/s",
    .unit = "GB/s",
    .summary = "bytes that the rank which sends most hands to others, a second",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 3,
    .usual = false,
    .value = sent_bandwidth,
};
