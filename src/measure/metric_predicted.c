/* What the cost model had said of a case, and what following it would have cost where candidates were measured. */
#include "measure/metric.h"

#include <math.h>

static double predicted(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors, (void)seconds;
    return 1e3 * attn_attributes_real(outcomes, "predicted_seconds", NAN);
}

static double regret(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors, (void)seconds;
    return 100 * attn_attributes_real(outcomes, "regret", NAN);
}

const attn_metric attn_metric_predicted = {
    .name = "predicted",
    .heading = "predicted ms",
    .unit = "ms",
    .summary = "time that the cost model gives the plan",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 4,
    .usual = false,
    .value = predicted,
};

const attn_metric attn_metric_regret = {
    .name = "regret",
    .heading = "regret %",
    .unit = "%",
    .summary = "percent by which the cost model's choice was slower than the best measured candidate",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 3,
    .usual = false,
    .value = regret,
};
