/* Metrics: what is derived from a case's counts and times, as rates and as shares of a peak. One table; every report,
 * export and list takes its rows. Values are in the metric's own unit. */
#ifndef ATTN_METRIC_H
#define ATTN_METRIC_H

#include <attn/attributes.h>
#include <attn/phase.h>

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A row of the table of metrics; constant, static storage. */
typedef struct attn_metric attn_metric;

/* Reads the table, in the order in which metrics are shown: its length, the row at 0 <= index < count, and the row of a
 * name (NULL when there is none). */
ATTN_API size_t attn_metric_count(void);
ATTN_API const attn_metric *attn_metric_at(size_t index);
ATTN_API const attn_metric *attn_metric_find(const char *name);

/* Reads a row: its name as given to --metric and as a column of the CSV, the heading of its column in tables and its
 * key in JSON, its unit, one line of what it is, the phase whose seconds it takes, how many significant digits it is
 * worth, and whether tables show it unasked. */
ATTN_API const char *attn_metric_name(const attn_metric *metric);
ATTN_API const char *attn_metric_heading(const attn_metric *metric);
ATTN_API const char *attn_metric_unit(const attn_metric *metric);
ATTN_API const char *attn_metric_summary(const attn_metric *metric);
ATTN_API attn_phase attn_metric_phase(const attn_metric *metric);
ATTN_API int attn_metric_digits(const attn_metric *metric);
ATTN_API bool attn_metric_usual(const attn_metric *metric);

/* Computes the value for a case whose phase took that many seconds; NAN where it does not apply or an input is missing.
 *   factors, outcomes  in, as in attn_result
 *   seconds            in, s
 * In the metric's unit. */
ATTN_API double attn_metric_value(const attn_metric *metric, const attn_attributes *factors,
                                  const attn_attributes *outcomes, double seconds);

#ifdef __cplusplus
}
#endif
#endif
