/* Metric `requests`: sequences a second, what a server that batches them would answer. */
#include "measure/metric.h"

#include <math.h>

static double requests(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)outcomes;
    return attn_attributes_real(factors, "batch", NAN) / seconds;
}

const attn_metric attn_metric_requests = {
    .name = "requests",
    .heading = "requests/s",
    .unit = "requests/s",
    .summary = "sequences of the batch a second",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 4,
    .usual = false,
    .value = requests,
};
