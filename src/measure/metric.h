/* The contract between the table of metrics (metric_table.c) and the metrics: plain arithmetic, without MPI, files or
 * memory. A metric may take every input as given and the time as positive: what is missing is NAN and makes its result
 * NAN. Inputs are factors and outcomes of a case, by their names in result files. */
#ifndef MEASURE_METRIC_H
#define MEASURE_METRIC_H

#include <attn/metric.h>

struct attn_metric {
    const char *name, *heading, *unit, *summary;
    attn_phase phase; /* whose seconds it takes */
    int digits;       /* significant digits that it is worth */
    bool usual;       /* whether tables show it unasked */
    double (*value)(const attn_attributes *factors, const attn_attributes *outcomes, double seconds);
};

#endif
