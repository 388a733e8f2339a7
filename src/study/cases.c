/* The table of `run`. */
#include "study/describe.h"
#include "study/summary.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>

static const char columns[] = "ranks|grid|threads|median ms|<interval|reps|GFLOP/s|max error|<verdict";
static const char column_factors[] = "ranks|grid_seq|grid_head|threads";

/* What the footnotes and the last line are about. */
typedef struct case_tally {
    size_t of_status[ATTN_CASE_STATUS_COUNT];
    size_t unsettled, oversubscribed;
    const attn_result *most; /* the oversubscribed case of the most threads */
} case_tally;

/* Marks stand behind a value; a space keeps the digits of the others in line. CSV has words instead. */
static const char *mark(attn_table_format format, bool marked, size_t marked_rows, const char *sign)
{
    if (format == ATTN_TABLE_CSV || marked_rows == 0)
        return "";
    return marked ? sign : " ";
}

static void add_times(attn_table *table, attn_table_format format, const attn_result *result,
                      const attn_summary *summary, const case_tally *tally)
{
    char median[ATTN_NUMBER_MAX] = "-", interval[2 * ATTN_NUMBER_MAX] = "-", rate[ATTN_NUMBER_MAX] = "-";
    const double max_error = attn_attributes_real(result->outcomes, "max_error", -1);

    if (summary->timed) {
        attn_format_significant(1e3 * summary->time.median, 4, median);
        attn_format_interval(1e3 * summary->time.lo, 1e3 * summary->time.hi, 4, interval);
        attn_format_significant(1e-9 * summary->rate, 4, rate);
    }
    attn_table_cell(table, "%s", median);
    attn_table_cell(table, "%s%s", interval, mark(format, summary->timed && !summary->settled, tally->unsettled, "~"));
    attn_table_cell(table, "%lld", (long long)result->reps);
    attn_table_cell(table, "%s", rate);
    if (max_error >= 0 || isnan(max_error))
        attn_table_cell(table, "%.1e", max_error);
    else
        attn_table_cell(table, "-");
}

static void add_row(attn_table *table, attn_table_format format, const attn_result *result, const attn_summary *summary,
                    const case_tally *tally)
{
    char verdict[ATTN_VERDICT_MAX];
    const bool csv = format == ATTN_TABLE_CSV;

    attn_table_cell(table, "%lld", (long long)summary->ranks);
    attn_table_cell(table, "%lldx%lld", (long long)attn_attributes_integer(result->factors, "grid_seq", 1),
                    (long long)attn_attributes_integer(result->factors, "grid_head", 1));
    attn_table_cell(table, "%lld%s", (long long)summary->threads,
                    mark(format, summary->oversubscribed, tally->oversubscribed, "*"));
    add_times(table, format, result, summary, tally);
    attn_format_verdict(result, verdict);
    attn_table_cell(table, "%s%s%s", verdict, csv && summary->timed && !summary->settled ? ", not converged" : "",
                    csv && summary->oversubscribed ? ", oversubscribed" : "");
    attn_table_end_row(table);
}

static case_tally count_cases(const attn_results *results, const attn_summary *summaries)
{
    case_tally t = {.most = NULL};

    for (size_t c = 0; c < results->count; c++) {
        const attn_result *result = results->cases[c];

        t.of_status[result->status]++;
        t.unsettled += summaries[c].timed && !summaries[c].settled;
        if (!summaries[c].oversubscribed)
            continue;
        t.oversubscribed++;
        if (t.most == NULL || attn_result_threads(result) > attn_result_threads(t.most))
            t.most = result;
    }
    return t;
}

static void print_last_line(const attn_results *results, const case_tally *t, FILE *stream)
{
    const size_t valid = t->of_status[ATTN_CASE_VALID], invalid = t->of_status[ATTN_CASE_INVALID];
    const size_t skipped = t->of_status[ATTN_CASE_SKIPPED], interrupted = t->of_status[ATTN_CASE_INTERRUPTED];

    if (invalid > 0)
        fprintf(stream, "INVALID: %zu of %zu cases; %zu valid", invalid, results->count, valid);
    else
        fprintf(stream, "VALID: %zu of %zu cases", valid, results->count);
    if (skipped > 0)
        fprintf(stream, "; %zu skipped", skipped);
    if (interrupted > 0)
        fprintf(stream, "; %zu interrupted", interrupted);
    fputc('\n', stream);
}

static void print_notes(const attn_results *results, const case_tally *t, attn_table_format format, FILE *stream)
{
    if (t->unsettled > 0)
        fputs("~ the interval is wider than asked, or there are too few repetitions for its coverage\n", stream);
    if (t->unsettled > 0 && format == ATTN_TABLE_MARKDOWN)
        fputc('\n', stream);
    if (t->oversubscribed > 0)
        fprintf(stream, "%s more threads than cores: %s%lld threads on %lld cores; not a scaling result\n",
                format == ATTN_TABLE_MARKDOWN ? "\\*" : "*", t->oversubscribed > 1 ? "up to " : "",
                (long long)attn_result_threads(t->most), (long long)attn_result_cores(t->most));
    if (t->oversubscribed > 0 && format == ATTN_TABLE_MARKDOWN)
        fputc('\n', stream);
    print_last_line(results, t, stream);
}

static void print_heading(const attn_description *description, const attn_results *results,
                          const attn_summary *summaries, FILE *stream)
{
    bool same = true;

    for (size_t c = 1; c < results->count; c++)
        same = same && summaries[c].level == summaries[0].level;
    attn_description_common(description, stream);
    fputs("\ntime: median over repetitions of the slowest rank; [lo, hi] covers the median with ", stream);
    if (same)
        fprintf(stream, "%g %%", 100 * summaries[0].level);
    else
        fputs("each case's probability", stream);
    fputs(" (order statistics)\n\n", stream);
}

/* The words of a row: in CSV all of a case, otherwise what the heading does not say. */
static char *case_words(const attn_description *description, const attn_result *result, attn_table_format format)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return NULL;
    if (format == ATTN_TABLE_CSV)
        attn_describe_case(result, stream);
    else
        attn_description_case(description, result, stream);
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static attn_status fill(attn_table *table, bool words, const attn_description *description, const attn_results *results,
                        const attn_summary *summaries, attn_table_format format, const case_tally *t, attn_error *error)
{
    for (size_t c = 0; c < results->count; c++) {
        if (words) {
            char *text = case_words(description, results->cases[c], format);

            if (text == NULL)
                return attn_error_set(error, ATTN_MEMORY, "no memory for a table of %zu cases", results->count);
            attn_table_cell(table, "%s", text);
            free(text);
        }
        add_row(table, format, results->cases[c], &summaries[c], t);
    }
    return ATTN_OK;
}

attn_status attn_study_print_cases(const attn_results *results, attn_table_format format, FILE *stream,
                                   attn_error *error)
{
    attn_description *description = NULL;
    attn_table *table = NULL;
    attn_summary *summaries = NULL;
    attn_status status = ATTN_OK;
    char names[sizeof columns + sizeof "<case|"];
    bool words;
    case_tally t;

    if (results->count == 0) {
        fputs(format == ATTN_TABLE_CSV ? "" : "no cases\n", stream);
        return ATTN_OK;
    }
    summaries = calloc(results->count, sizeof *summaries);
    if (summaries == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table of %zu cases", results->count);
    for (size_t c = 0; c < results->count && status == ATTN_OK; c++)
        status = attn_summarise(results->cases[c], &summaries[c], error);
    if (status == ATTN_OK)
        status = attn_description_create((const attn_result *const *)results->cases, results->count, column_factors,
                                         &description, error);
    if (status != ATTN_OK)
        goto cleanup;
    words = format == ATTN_TABLE_CSV || attn_description_varies(description);
    snprintf(names, sizeof names, "%s%s", words ? "<case|" : "", columns);
    status = attn_table_create(names, &table, error);
    if (status != ATTN_OK)
        goto cleanup;
    t = count_cases(results, summaries);
    status = fill(table, words, description, results, summaries, format, &t, error);
    if (status == ATTN_OK && format != ATTN_TABLE_CSV)
        print_heading(description, results, summaries, stream);
    if (status == ATTN_OK)
        status = attn_table_put(table, format, stream, error);
    if (status == ATTN_OK && format != ATTN_TABLE_CSV) {
        fputc('\n', stream);
        print_notes(results, &t, format, stream);
    }

cleanup:
    attn_table_destroy(table);
    attn_description_destroy(description);
    free(summaries);
    return status;
}

void attn_study_print_case_line(const attn_result *result, FILE *stream)
{
    attn_summary summary;
    attn_error error = ATTN_ERROR_INIT;
    char verdict[ATTN_VERDICT_MAX], number[ATTN_NUMBER_MAX], interval[2 * ATTN_NUMBER_MAX];

    attn_describe_case(result, stream);
    fputs(": ", stream);
    if (attn_summarise(result, &summary, &error) == ATTN_OK && summary.timed) {
        attn_format_significant(1e3 * summary.time.median, 4, number);
        attn_format_interval(1e3 * summary.time.lo, 1e3 * summary.time.hi, 4, interval);
        fprintf(stream, "%s ms %s%s, %lld reps, ", number, interval, summary.settled ? "" : "~",
                (long long)result->reps);
        attn_format_significant(1e-9 * summary.rate, 4, number);
        fprintf(stream, "%s GFLOP/s, ", number);
        if (attn_attributes_find(result->outcomes, "max_error") != NULL)
            fprintf(stream, "error %.1e, ", attn_attributes_real(result->outcomes, "max_error", 0));
        if (summary.oversubscribed)
            fprintf(stream, "%lld threads on %lld cores, ", (long long)attn_result_threads(result),
                    (long long)attn_result_cores(result));
    }
    attn_format_verdict(result, verdict);
    fprintf(stream, "%s\n", verdict);
}
