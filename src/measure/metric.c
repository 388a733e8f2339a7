/* The table of metrics: a new one is one function and one row. A function may take every input as given and every time
 * as positive: what is missing is NAN and makes its result NAN. */
#include <attn/metric.h>

#include <math.h>
#include <string.h>

struct attn_metric {
    const char *name, *heading, *unit, *summary;
    attn_phase phase;
    int digits;
    bool usual;
    double (*value)(const attn_attributes *factors, const attn_attributes *outcomes, double seconds);
};

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

static const attn_metric metrics[] = {
    {"gflops", "GFLOP/s", "GFLOP/s", "useful floating-point operations, counted from the mask, a second",
     ATTN_PHASE_TOTAL, 4, true, gflops},
    {"fma-percent", "% peak", "%", "of the multiply-add peak that the same ranks and threads had beside the case",
     ATTN_PHASE_TOTAL, 3, true, fma_percent},
    {"tokens", "tokens/s", "tokens/s", "query rows of all sequences a second", ATTN_PHASE_TOTAL, 4, false, tokens},
    {"input-bandwidth", "input GB/s", "GB/s", "bytes of q, k and v that all ranks read or made, a second of input-read",
     ATTN_PHASE_INPUT_READ, 3, false, input_bandwidth},
    {"sent-bandwidth", "sent GB/s", "GB/s", "bytes that the rank which sends most hands to others, a second",
     ATTN_PHASE_TOTAL, 3, false, sent_bandwidth},
};

size_t attn_metric_count(void)
{
    return sizeof metrics / sizeof metrics[0];
}

const attn_metric *attn_metric_at(size_t index)
{
    return &metrics[index];
}

const attn_metric *attn_metric_find(const char *name)
{
    for (size_t i = 0; i < attn_metric_count(); i++)
        if (strcmp(metrics[i].name, name) == 0)
            return &metrics[i];
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
