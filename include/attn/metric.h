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

ATTN_API size_t attn_metric_count(void);
ATTN_API const attn_metric *attn_metric_at(size_t index);            /* 0 <= index < count */
ATTN_API const attn_metric *attn_metric_find(const char *name);      /* NULL when there is none of that name */
ATTN_API const char *attn_metric_name(const attn_metric *metric);    /* as given to --metric, and a column of the CSV */
ATTN_API const char *attn_metric_heading(const attn_metric *metric); /* of its column in tables, and its key in JSON */
ATTN_API const char *attn_metric_unit(const attn_metric *metric);
ATTN_API const char *attn_metric_summary(const attn_metric *metric);

ATTN_API attn_phase attn_metric_phase(const attn_metric *metric); /* whose seconds it takes */
ATTN_API int attn_metric_digits(const attn_metric *metric);       /* significant digits that it is worth */
ATTN_API bool attn_metric_usual(const attn_metric *metric);       /* whether tables show it unasked */

/* The value for a case whose phase took that many seconds; NAN where it does not apply or an input is missing.
 *   factors, outcomes  in, as in attn_result
 *   seconds            in, s */
ATTN_API double attn_metric_value(const attn_metric *metric, const attn_attributes *factors,
                                  const attn_attributes *outcomes, double seconds);

#ifdef __cplusplus
}
#endif
#endif
