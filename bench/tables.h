/* --format and --metric: how tables are printed, and which metrics have a column. */
#ifndef BENCH_TABLES_H
#define BENCH_TABLES_H

#include "options.h"

#include <attn/study.h>

/* Reads --format. ATTN_ARGUMENT. */
attn_status tables_format(const options *given, attn_table_format *out, attn_error *error);

/* The metrics of --metric in the order given; NULL and 0 where it was not. */
typedef struct metric_columns {
    const attn_metric **list; /* [count] */
    size_t count;
} metric_columns;

/* Reads --metric.
 *   out  released with metric_columns_release, on failure too */
attn_status metric_columns_read(const options *given, metric_columns *out, attn_error *error);
void metric_columns_release(metric_columns *columns);

#endif
