#include "study/summary.h"

#include "measure/median.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double wanted_level(const attn_result *result)
{
    const double level = attn_attributes_real(result->outcomes, "ci", 0.95);

    return level > 0 && level < 1 ? level : 0.95;
}

/* The maximum over ranks of a phase in each repetition.
 *   out  out, [reps] */
static void find_slowest(const attn_result *result, int64_t phase, double *out)
{
    for (int64_t rep = 0; rep < result->reps; rep++) {
        const double *first = result->samples + rep * result->ranks * result->phases + phase;

        out[rep] = first[0];
        for (int64_t rank = 1; rank < result->ranks; rank++)
            out[rep] = fmax(out[rep], first[rank * result->phases]);
    }
}

/* slowest [reps] is for work. */
static void summarise_phases(const attn_result *result, double *slowest, attn_summary *out)
{
    const size_t reps = (size_t)result->reps;

    for (int64_t phase = 0; phase < ATTN_PHASE_COUNT && phase < result->phases; phase++) {
        find_slowest(result, phase, slowest);
        if (phase == ATTN_PHASE_INPUT_READ) {
            out->phases[phase] = slowest[0]; /* stands in the first repetition alone */
            continue;
        }
        attn_values_sort(slowest, reps);
        out->phases[phase] = attn_quantile(slowest, reps, 0.5);
    }
}

attn_status attn_summarise(const attn_result *result, attn_summary *out, attn_error *error)
{
    double *slowest;
    attn_status status;

    *out = (attn_summary){
        .level = wanted_level(result),
        .oversubscribed = attn_attributes_integer(result->outcomes, "oversubscribed", 0) != 0,
        .ranks = attn_attributes_integer(result->factors, "ranks", 1),
        .threads = attn_attributes_integer(result->factors, "threads", 1),
    };
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++)
        out->phases[phase] = NAN;
    if (result->samples == NULL || result->reps < 1 || result->ranks < 1 || result->phases < 1)
        return ATTN_OK;
    slowest = calloc((size_t)result->reps, sizeof *slowest);
    if (slowest == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld samples", (long long)result->reps);
    attn_result_slowest(result, slowest);
    status = attn_median_interval(slowest, (size_t)result->reps, out->level, &out->time, error);
    if (status == ATTN_OK)
        summarise_phases(result, slowest, out);
    free(slowest);
    if (status != ATTN_OK)
        return status;
    out->timed = true;
    out->settled = out->time.reached && attn_attributes_integer(result->outcomes, "converged", 1) != 0;
    return ATTN_OK;
}

double attn_summary_metric(const attn_result *result, const attn_summary *summary, const attn_metric *metric)
{
    return attn_metric_value(metric, result->factors, result->outcomes, summary->phases[attn_metric_phase(metric)]);
}

void attn_format_significant(double value, int digits, char *out)
{
    char rounded[ATTN_NUMBER_MAX];
    const char *exponent;
    int decimals;

    if (!isfinite(value)) {
        snprintf(out, ATTN_NUMBER_MAX, "-");
        return;
    }
    /* The exponent after rounding: 9.9996 has two digits before the point. */
    snprintf(rounded, sizeof rounded, "%.*e", digits - 1, value);
    exponent = strchr(rounded, 'e');
    decimals = digits - 1 - (exponent != NULL ? (int)strtol(exponent + 1, NULL, 10) : 0);
    if (decimals > 12)
        snprintf(out, ATTN_NUMBER_MAX, "%.*e", digits - 1, value);
    else if (value > 1e15 || value < -1e15)
        snprintf(out, ATTN_NUMBER_MAX, "%s", rounded);
    else
        snprintf(out, ATTN_NUMBER_MAX, "%.*f", decimals > 0 ? decimals : 0, value);
}

void attn_format_metric(const attn_metric *metric, double value, char *out)
{
    attn_format_significant(value, attn_metric_digits(metric), out);
}

void attn_format_interval(double lo, double hi, int digits, char *out)
{
    char first[ATTN_NUMBER_MAX], last[ATTN_NUMBER_MAX];

    if (isfinite(lo) && isfinite(hi)) {
        attn_format_significant(lo, digits, first);
        attn_format_significant(hi, digits, last);
        snprintf(out, 2 * ATTN_NUMBER_MAX, "[%.60s, %.60s]", first, last);
    } else {
        snprintf(out, 2 * ATTN_NUMBER_MAX, "-");
    }
}

void attn_format_verdict(const attn_result *result, char *out)
{
    const char *reason = attn_attributes_text(result->outcomes, "reason", "");
    const char *word = result->status == ATTN_CASE_VALID     ? "VALID"
                       : result->status == ATTN_CASE_INVALID ? "INVALID"
                                                             : attn_case_status_name(result->status);

    if (result->status == ATTN_CASE_VALID || *reason == '\0')
        snprintf(out, ATTN_VERDICT_MAX, "%s", word);
    else
        snprintf(out, ATTN_VERDICT_MAX, "%s: %s", word, reason);
}

int64_t attn_result_threads(const attn_result *result)
{
    return attn_attributes_integer(result->factors, "ranks", 1) *
           attn_attributes_integer(result->factors, "threads", 1);
}

int64_t attn_result_cores(const attn_result *result)
{
    return attn_attributes_integer(result->outcomes, "cores_available", 0);
}

attn_status attn_table_put(const attn_table *table, attn_table_format format, FILE *stream, attn_error *error)
{
    const attn_status status = attn_table_print(table, format, stream);

    if (status == ATTN_FILE)
        return attn_error_set(error, status, "the table cannot be written");
    return status == ATTN_OK ? status : attn_error_set(error, status, "no memory for a table");
}
