/* What a case's raw samples say, and numbers as text. */
#ifndef ATTN_STUDY_SUMMARY_H
#define ATTN_STUDY_SUMMARY_H

#include <attn/metric.h>
#include <attn/result.h>
#include <attn/statistics.h>
#include <attn/study.h>

typedef struct attn_summary {
    bool timed;                      /* there are samples; otherwise time is not set */
    attn_median time;                /* s: over repetitions, of the maximum over ranks of total */
    double phases[ATTN_PHASE_COUNT]; /* s: the same median of each phase; of input-read, which happens once, its time;
                                        NAN where there are no samples */
    double level;                    /* coverage that was asked of the interval */
    bool settled;        /* the sampler stopped because the interval was narrow enough, and it covers enough */
    bool oversubscribed; /* more threads than cores */
    int64_t ranks, threads;
} attn_summary;

/* Recomputes everything from the samples. */
attn_status attn_summarise(const attn_result *result, attn_summary *out, attn_error *error);

/* A metric of a summarised case; NAN where it does not apply. */
double attn_summary_metric(const attn_result *result, const attn_summary *summary, const attn_metric *metric);

enum { ATTN_NUMBER_MAX = 64, ATTN_VERDICT_MAX = 512 };

/* Writes value with that many significant digits, without an exponent ("12.34", "0.001234"); "-" when not finite.
 *   out  out, [ATTN_NUMBER_MAX] */
void attn_format_significant(double value, int digits, char *out);

/* The same for a metric's value, with the digits that it is worth. */
void attn_format_metric(const attn_metric *metric, double value, char *out);

/* Writes "[lo, hi]".
 *   out  out, [2 * ATTN_NUMBER_MAX] */
void attn_format_interval(double lo, double hi, int digits, char *out);

/* Writes the verdict on a case: "VALID", "INVALID", "skipped: REASON", "interrupted".
 *   out  out, [ATTN_VERDICT_MAX] */
void attn_format_verdict(const attn_result *result, char *out);

/* Threads of a case in use on all its ranks, and the cores they have (0 when unknown). */
int64_t attn_result_threads(const attn_result *result);
int64_t attn_result_cores(const attn_result *result);

/* attn_table_print with a message. */
attn_status attn_table_put(const attn_table *table, attn_table_format format, FILE *stream, attn_error *error);

#endif
