/* What the cost model had said of a case, and what following it would have cost where candidates were measured. */
#include "measure/metric.h"

#include <math.h>

static double predicted(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors;
    return 100 * attn_attributes_real(outcomes, "predicted_seconds", NAN) / seconds;
}

static double model_choice(const attn_attributes *factors, const attn_attributes *outcomes, double seconds)
{
    (void)factors;
    return 100 * attn_attributes_real(outcomes, "model_seconds", NAN) / seconds;
}

const attn_metric attn_metric_predicted = {
    .name = "predicted",
    .heading = "% predicted",
    .unit = "%",
    .summary = "percent of the time that the cost model predicted",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 3,
    .usual = false,
    .value = predicted,
};

const attn_metric attn_metric_model_choice = {
    .name = "model-choice",
    .heading = "% model",
    .unit = "%",
    .summary = "percent of the time that the cost model's own choice took beside the candidates",
    .phase = ATTN_PHASE_TOTAL,
    .digits = 3,
    .usual = false,
    .value = model_choice,
};
