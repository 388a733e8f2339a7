/* The table of metrics, in the order in which they are shown: a new one is one line here and one file. */
#include "measure/metric.h"

#include <math.h>
#include <string.h>

#define METRIC_LIST(X)                                                                                                 \
    X(gflops)                                                                                                          \
    X(bound_percent)                                                                                                   \
    X(fma_percent)                                                                                                     \
    X(memory_bandwidth)                                                                                                \
    X(tokens)                                                                                                          \
    X(input_bandwidth)                                                                                                 \
    X(sent_bandwidth)                                                                                                  \
    X(predicted)                                                                                                       \
    X(model_choice)

#define DECLARE_METRIC(name) extern const attn_metric attn_metric_##name;
METRIC_LIST(DECLARE_METRIC)

static const attn_metric *const metrics[] = {
#define METRIC_ROW(name) &attn_metric_##name,
    METRIC_LIST(METRIC_ROW)};

size_t attn_metric_count(void)
{
    return sizeof metrics / sizeof metrics[0];
}

const attn_metric *attn_metric_at(size_t index)
{
    return metrics[index];
}

const attn_metric *attn_metric_find(const char *name)
{
    for (size_t i = 0; i < attn_metric_count(); i++)
        if (strcmp(metrics[i]->name, name) == 0)
            return metrics[i];
    return NULL;
}

const char *attn_metric_name(const attn_metric *metric)
{
    return metric->name;
}

const char *attn_metric_heading(const attn_metric *metric)
{
    return metric->heading;
}

const char *attn_metric_unit(const attn_metric *metric)
{
    return metric->unit;
}

const char *attn_metric_summary(const attn_metric *metric)
{
    return metric->summary;
}

attn_phase attn_metric_phase(const attn_metric *metric)
{
    return metric->phase;
}

int attn_metric_digits(const attn_metric *metric)
{
    return metric->digits;
}

bool attn_metric_usual(const attn_metric *metric)
{
    return metric->usual;
}

double attn_metric_value(const attn_metric *metric, const attn_attributes *factors, const attn_attributes *outcomes,
                         double seconds)
{
    const double value = seconds > 0 ? metric->value(factors, outcomes, seconds) : NAN;

    return isfinite(value) ? value : NAN;
}
