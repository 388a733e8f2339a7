/* The table of `run`. */
#include "study/describe.h"
#include "study/summary.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char column_factors[] = "ranks|grid_seq|grid_head|threads";

/* What one printed table needs. */
typedef struct case_sheet {
    attn_table *table;
    attn_table_format format;
    const attn_metric *const *metrics; /* [metric_count] columns */
    size_t metric_count;
    const attn_description *description;
    bool words;  /* what the cases differ in has a column */
    bool bounds; /* what bounds a case has one */
} case_sheet;

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

static void add_times(const case_sheet *sheet, const attn_result *result, const attn_summary *summary,
                      const case_tally *tally)
{
    attn_table *table = sheet->table;
    char number[ATTN_NUMBER_MAX] = "-", interval[2 * ATTN_NUMBER_MAX] = "-";
    const double max_error = attn_attributes_real(result->outcomes, "max_error", -1);

    if (summary->timed) {
        attn_format_significant(1e3 * summary->time.median, 4, number);
        attn_format_interval(1e3 * summary->time.lo, 1e3 * summary->time.hi, 4, interval);
    }
    attn_table_cell(table, "%s", number);
    attn_table_cell(table, "%s%s", interval,
                    mark(sheet->format, summary->timed && !summary->settled, tally->unsettled, "~"));
    attn_table_cell(table, "%lld", (long long)result->reps);
    for (size_t m = 0; m < sheet->metric_count; m++) {
        attn_format_metric(sheet->metrics[m], attn_summary_metric(result, summary, sheet->metrics[m]), number);
        attn_table_cell(table, "%s", number);
    }
    if (sheet->bounds)
        attn_table_cell(table, "%s", attn_attributes_text(result->outcomes, "bound", "-"));
    if (max_error >= 0 || isnan(max_error))
        attn_table_cell(table, "%.1e", max_error);
    else
        attn_table_cell(table, "-");
}

static void add_row(const case_sheet *sheet, const attn_result *result, const attn_summary *summary,
                    const case_tally *tally)
{
    attn_table *table = sheet->table;
    char verdict[ATTN_VERDICT_MAX];
    const bool csv = sheet->format == ATTN_TABLE_CSV;

    attn_table_cell(table, "%lld", (long long)summary->ranks);
    attn_table_cell(table, "%lldx%lld", (long long)attn_attributes_integer(result->factors, "grid_seq", 1),
                    (long long)attn_attributes_integer(result->factors, "grid_head", 1));
    attn_table_cell(table, "%lld%s", (long long)summary->threads,
                    mark(sheet->format, summary->oversubscribed, tally->oversubscribed, "*"));
    add_times(sheet, result, summary, tally);
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

static attn_status fill(const case_sheet *sheet, const attn_results *results, const attn_summary *summaries,
                        const case_tally *tally, attn_error *error)
{
    for (size_t c = 0; c < results->count; c++) {
        if (sheet->words) {
            char *text = case_words(sheet->description, results->cases[c], sheet->format);

            if (text == NULL)
                return attn_error_set(error, ATTN_MEMORY, "no memory for a table of %zu cases", results->count);
            attn_table_cell(sheet->table, "%s", text);
            free(text);
        }
        add_row(sheet, results->cases[c], &summaries[c], tally);
    }
    return ATTN_OK;
}

/* The share of a bound says little without its name. */
static bool shows_bounds(const case_sheet *sheet)
{
    for (size_t m = 0; m < sheet->metric_count; m++)
        if (strcmp(attn_metric_name(sheet->metrics[m]), "bound-percent") == 0)
            return true;
    return false;
}

static attn_status create_table(case_sheet *sheet, attn_error *error)
{
    char *names = NULL;
    size_t size;
    FILE *stream = open_memstream(&names, &size);
    attn_status status;

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table");
    fprintf(stream, "%sranks|grid|threads|median ms|<interval|reps", sheet->words ? "<case|" : "");
    for (size_t m = 0; m < sheet->metric_count; m++)
        fprintf(stream, "|%s", attn_metric_heading(sheet->metrics[m]));
    fprintf(stream, "%s|max error|<verdict", sheet->bounds ? "|<bound" : "");
    status = fclose(stream) == 0 ? attn_table_create(names, &sheet->table, error)
                                 : attn_error_set(error, ATTN_MEMORY, "no memory for a table");
    free(names);
    return status;
}

/* Prints the cases, of which there are some. */
static attn_status print_sheet(case_sheet *sheet, const attn_results *results, const attn_summary *summaries,
                               FILE *stream, attn_error *error)
{
    const bool csv = sheet->format == ATTN_TABLE_CSV;
    const case_tally tally = count_cases(results, summaries);
    attn_description *description;
    attn_status status = attn_description_create((const attn_result *const *)results->cases, results->count,
                                                 column_factors, &description, error);

    if (status != ATTN_OK)
        return status;
    sheet->description = description;
    sheet->words = csv || attn_description_varies(description);
    sheet->bounds = shows_bounds(sheet);
    status = create_table(sheet, error);
    if (status == ATTN_OK)
        status = fill(sheet, results, summaries, &tally, error);
    if (status == ATTN_OK && !csv)
        print_heading(description, results, summaries, stream);
    if (status == ATTN_OK)
        status = attn_table_put(sheet->table, sheet->format, stream, error);
    if (status == ATTN_OK && !csv) {
        fputc('\n', stream);
        print_notes(results, &tally, sheet->format, stream);
    }
    attn_table_destroy(sheet->table);
    attn_description_destroy(description);
    return status;
}

attn_status attn_study_print_cases(const attn_results *results, const attn_metric *const *metrics, size_t count,
                                   attn_table_format format, FILE *stream, attn_error *error)
{
    const attn_metric **usual = calloc(attn_metric_count(), sizeof *usual);
    attn_summary *summaries = calloc(results->count + 1, sizeof *summaries);
    case_sheet sheet = {.format = format, .metrics = metrics, .metric_count = count};
    attn_status status = ATTN_OK;

    if (usual == NULL || summaries == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for a table of %zu cases", results->count);
    if (status == ATTN_OK && metrics == NULL) {
        sheet.metrics = usual;
        sheet.metric_count = 0;
        for (size_t m = 0; m < attn_metric_count(); m++)
            if (attn_metric_usual(attn_metric_at(m)))
                usual[sheet.metric_count++] = attn_metric_at(m);
    }
    for (size_t c = 0; c < results->count && status == ATTN_OK; c++)
        status = attn_summarise(results->cases[c], &summaries[c], error);
    if (status == ATTN_OK && results->count > 0)
        status = print_sheet(&sheet, results, summaries, stream, error);
    else if (status == ATTN_OK)
        fputs(format == ATTN_TABLE_CSV ? "" : "no cases\n", stream);
    free(summaries);
    free(usual);
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
        for (size_t m = 0; m < attn_metric_count(); m++) {
            const attn_metric *metric = attn_metric_at(m);
            const double value = attn_summary_metric(result, &summary, metric);

            attn_format_metric(metric, value, number);
            if (attn_metric_usual(metric) && isfinite(value))
                fprintf(stream, "%s %s, ", number, attn_metric_heading(metric));
        }
        if (attn_attributes_find(result->outcomes, "max_error") != NULL)
            fprintf(stream, "error %.1e, ", attn_attributes_real(result->outcomes, "max_error", 0));
        if (summary.oversubscribed)
            fprintf(stream, "%lld threads on %lld cores, ", (long long)attn_result_threads(result),
                    (long long)attn_result_cores(result));
    }
    attn_format_verdict(result, verdict);
    fprintf(stream, "%s\n", verdict);
}
