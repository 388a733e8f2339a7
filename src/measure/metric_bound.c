/* Shares of the bound that applies, and the traffic that no implementation can do without. */
#include "measure/metric.h"

#include <math.h>

static double bound_percent(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors;
    return 100 * attn_attributes_real(outcomes, "bound_seconds", NAN) / seconds;
}

static double memory_bandwidth(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors;
    return 1e-9 * attn_attributes_real(outcomes, "memory_bytes", NAN) / seconds;
}

const attn_metric attn_metric_bound_percent = {
    .name = "bound-percent",
    .heading = "% bound",
    .unit = "%",
    .summary = "percent of what the peak of the kernel's arithmetic or, where it is slower, the read bandwidth allows",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 3,
    .usual = true,
    .value = bound_percent,
};

const attn_metric attn_metric_memory_bandwidth = {
    .name = "memory-bandwidth",
    .heading = "memory GB/s",
    .unit = "GB/s",
    .summary = "bytes that must be read or written at least, each array once, a second",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 3,
    .usual = false,
    .value = memory_bandwidth,
};
