/* The scaling table: no speed-up without its baseline in absolute seconds (Hoefler and Belli, SC15, rule 1). */
#include "study/names.h"
#include "study/series.h"
#include "study/summary.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char place_columns[] = "ranks|grid|threads";
static const char time_columns[] =
    "launches|reps|median ms|<[lo, hi] ms|speed-up|<[lo, hi]|efficiency %|<[lo, hi] %|<remark";

/* What one printed table needs: the series it is of, and what to say of each point. */
typedef struct scaling_sheet {
    attn_table *table;
    attn_table_format format;
    const attn_description *problem, *sharing;
    bool words;    /* the points differ in more than their place, which a column says */
    size_t number; /* of the series, from 1, a column of the CSV; 0 for cases that are no series */
} scaling_sheet;

static void add_interval(attn_table *table, double lo, double hi, double factor, int digits, const char *mark)
{
    char text[2 * ATTN_NUMBER_MAX];

    attn_format_interval(factor * lo, factor * hi, digits, text);
    attn_table_cell(table, "%s%s", text, mark);
}

static void add_number(attn_table *table, double value, int digits)
{
    char text[ATTN_NUMBER_MAX];

    attn_format_significant(value, digits, text);
    attn_table_cell(table, "%s", text);
}

static attn_status add_words(const scaling_sheet *sheet, const attn_point *point, attn_error *error)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a row of the scaling table");
    if (sheet->format == ATTN_TABLE_CSV) {
        attn_describe_case(point->result, stream);
    } else {
        long end;

        attn_description_case(sheet->problem, point->result, stream);
        end = ftell(stream);
        if (end > 0 && attn_description_varies(sheet->sharing))
            fputs("  ", stream);
        attn_description_case(sheet->sharing, point->result, stream);
    }
    if (fclose(stream) != 0 || text == NULL) {
        free(text);
        return attn_error_set(error, ATTN_MEMORY, "no memory for a row of the scaling table");
    }
    attn_table_cell(sheet->table, "%s", text);
    free(text);
    return ATTN_OK;
}

static void add_remark(const scaling_sheet *sheet, const attn_series *series, const attn_point *point)
{
    const bool csv = sheet->format == ATTN_TABLE_CSV;
    char verdict[ATTN_VERDICT_MAX];

    if (!point->valid) {
        attn_format_verdict(point->result, verdict);
        attn_table_cell(sheet->table, "%s", verdict);
        return;
    }
    snprintf(verdict, sizeof verdict, "%s", point == series->baseline ? "baseline" : "");
    if (csv && !point->settled)
        snprintf(verdict + strlen(verdict), sizeof verdict - strlen(verdict), "%snot converged",
                 *verdict != '\0' ? ", " : "");
    if (point->oversubscribed)
        snprintf(verdict + strlen(verdict), sizeof verdict - strlen(verdict),
                 "%soversubscribed: %lld threads on %lld cores", *verdict != '\0' ? ", " : "",
                 (long long)attn_result_threads(point->result), (long long)attn_result_cores(point->result));
    if (point->rejected > 0)
        snprintf(verdict + strlen(verdict), sizeof verdict - strlen(verdict), "%s%zu launch%s left out, not valid",
                 *verdict != '\0' ? ", " : "", point->rejected, point->rejected > 1 ? "es" : "");
    attn_table_cell(sheet->table, "%s", verdict);
}

static attn_status add_point(const scaling_sheet *sheet, const attn_series *series, const attn_point *point,
                             attn_error *error)
{
    attn_table *table = sheet->table;
    const bool csv = sheet->format == ATTN_TABLE_CSV;
    const bool compared = point != series->baseline; /* the baseline against itself has no interval */

    if (csv)
        attn_table_cell(table, "%zu", sheet->number);
    attn_table_cell(table, "%lld", (long long)point->ranks);
    attn_table_cell(table, "%lldx%lld", (long long)attn_attributes_integer(point->result->factors, "grid_seq", 1),
                    (long long)attn_attributes_integer(point->result->factors, "grid_head", 1));
    attn_table_cell(table, "%lld", (long long)point->threads);
    if (sheet->words) {
        const attn_status status = add_words(sheet, point, error);

        if (status != ATTN_OK)
            return status;
    }
    attn_table_cell(table, "%zu", point->launches);
    attn_table_cell(table, "%lld", (long long)point->reps);
    add_number(table, 1e3 * point->time, 4);
    add_interval(table, point->valid ? point->lo : NAN, point->hi, 1e3, 4, csv || point->settled ? "" : "~");
    add_number(table, point->speedup, 3);
    add_interval(table, compared ? point->speedup_lo : NAN, point->speedup_hi, 1, 3, "");
    add_number(table, 100 * point->efficiency, 3);
    add_interval(table, compared ? point->efficiency_lo : NAN, point->efficiency_hi, 100, 3, "");
    add_remark(sheet, series, point);
    attn_table_end_row(table);
    return ATTN_OK;
}

static void print_baseline(const attn_series *series, FILE *stream)
{
    const attn_point *base = series->baseline;
    char time[ATTN_NUMBER_MAX], interval[2 * ATTN_NUMBER_MAX];

    if (base == NULL) {
        fputs("baseline: none, no case of this series is valid; no speed-up\n\n", stream);
        return;
    }
    attn_format_significant(1e3 * base->time, 4, time);
    attn_format_interval(1e3 * base->lo, 1e3 * base->hi, 4, interval);
    fprintf(stream, "baseline %lld rank%s x %lld thread%s: %s ms %s", (long long)base->ranks,
            base->ranks > 1 ? "s" : "", (long long)base->threads, base->threads > 1 ? "s" : "", time, interval);
    if (base->ranks > 1)
        fputs(series->points[0].ranks < base->ranks ? ", the fewest ranks with a valid result"
                                                    : ", the fewest ranks that were run",
              stream);
    if (base->oversubscribed)
        fputs(", oversubscribed", stream);
    if (series->per_core)
        fputs("; threads differ: efficiency per core", stream);
    fputs("\n\n", stream);
}

static void print_heading(const scaling_sheet *sheet, const attn_series *series, FILE *stream)
{
    if (sheet->number > 0)
        fprintf(stream, "series %zu: ", sheet->number);
    else
        fputs("run at one rank count only, no speed-up: ", stream);
    attn_description_common(sheet->problem, stream);
    fputs("; ", stream);
    if (attn_description_varies(sheet->sharing))
        fputs("exchange and layout by rank count", stream);
    else
        attn_description_common(sheet->sharing, stream);
    if (series->family[0] != '\0')
        fprintf(stream, ", %s", series->family);
    fputs(sheet->number > 0 ? "\n" : "\n\n", stream);
    if (sheet->number > 0)
        print_baseline(series, stream);
}

static attn_status create_table(scaling_sheet *sheet, attn_error *error)
{
    char names[sizeof "series||<case||" + sizeof place_columns + sizeof time_columns];

    snprintf(names, sizeof names, "%s%s|%s%s", sheet->format == ATTN_TABLE_CSV ? "series|" : "", place_columns,
             sheet->words ? "<case|" : "", time_columns);
    return attn_table_create(names, &sheet->table, error);
}

/* Adds one series to the sheet's table, or, outside CSV, prints it as a table of its own. */
static attn_status put_series(scaling_sheet *sheet, const attn_series *series, FILE *stream, attn_error *error)
{
    const bool csv = sheet->format == ATTN_TABLE_CSV;
    attn_description *problem = NULL, *ways = NULL;
    attn_status status = attn_series_describe(&series, 1, &problem, error);

    if (status == ATTN_OK)
        status = attn_series_describe_sharing(series, &ways, error);
    sheet->problem = problem;
    sheet->sharing = ways;
    if (status == ATTN_OK && !csv) {
        sheet->words = attn_description_varies(problem) || attn_description_varies(ways);
        status = create_table(sheet, error);
    }
    for (size_t p = 0; status == ATTN_OK && p < series->count; p++)
        status = add_point(sheet, series, &series->points[p], error);
    if (status == ATTN_OK && !csv) {
        print_heading(sheet, series, stream);
        status = attn_table_put(sheet->table, sheet->format, stream, error);
        fputc('\n', stream);
    }
    if (!csv) {
        attn_table_destroy(sheet->table);
        sheet->table = NULL;
    }
    attn_description_destroy(problem);
    attn_description_destroy(ways);
    return status;
}

static void print_notes(bool unsettled, bool oversubscribed, FILE *stream)
{
    fputs("time: median over repetitions of the slowest rank, over launches the median of their medians; intervals of "
          "the median\nby order statistics. speed-up: FLOP/s over those of the baseline (t0 / t in strong scaling); "
          "efficiency: speed-up x\nbaseline cores / cores, cores = ranks x threads. Their intervals are conservative, "
          "from both times' intervals.\n",
          stream);
    if (unsettled)
        fputs("~ the interval is wider than asked, or there are too few repetitions for its coverage\n", stream);
    if (oversubscribed)
        fputs("oversubscribed: more threads than cores; not a scaling result\n", stream);
}

/* Prints the points of all series of one rank count as one table. */
static attn_status put_lone(scaling_sheet *sheet, const attn_scaling *scaling, FILE *stream, attn_error *error)
{
    attn_series lone = {.points = calloc(scaling->count, sizeof *lone.points)};
    attn_status status = ATTN_OK;

    if (lone.points == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu scaling series", scaling->count);
    for (size_t s = 0; s < scaling->count; s++)
        if (scaling->series[s].count == 1) {
            attn_point *point = &lone.points[lone.count++];

            *point = scaling->series[s].points[0];
            point->speedup = point->speedup_lo = point->efficiency = point->efficiency_lo = NAN;
        }
    sheet->number = 0;
    if (lone.count > 0)
        status = put_series(sheet, &lone, stream, error);
    free(lone.points);
    return status;
}

static attn_status put_all(scaling_sheet *sheet, const attn_scaling *scaling, FILE *stream, attn_error *error)
{
    const bool csv = sheet->format == ATTN_TABLE_CSV;
    bool unsettled = false, oversubscribed = false;
    attn_status status = ATTN_OK;
    size_t number = 0;

    for (size_t s = 0; s < scaling->count && status == ATTN_OK; s++) {
        const attn_series *series = &scaling->series[s];

        for (size_t p = 0; p < series->count; p++) {
            unsettled = unsettled || (series->points[p].valid && !series->points[p].settled);
            oversubscribed = oversubscribed || series->points[p].oversubscribed;
        }
        if (series->count == 1 && !csv)
            continue;
        sheet->number = ++number;
        status = put_series(sheet, series, stream, error);
    }
    if (status == ATTN_OK && csv)
        return attn_table_put(sheet->table, sheet->format, stream, error);
    if (status == ATTN_OK)
        status = put_lone(sheet, scaling, stream, error);
    if (status == ATTN_OK)
        print_notes(unsettled, oversubscribed, stream);
    return status;
}

attn_status attn_study_print_scaling(const attn_results *results, attn_table_format format, FILE *stream,
                                     attn_error *error)
{
    attn_scaling *scaling;
    scaling_sheet sheet = {.format = format, .words = true};
    attn_status status = attn_scaling_find(results, &scaling, error);

    if (status != ATTN_OK)
        return status;
    if (scaling->count == 0 && format != ATTN_TABLE_CSV)
        fputs("no cases\n", stream);
    if (format == ATTN_TABLE_CSV)
        status = create_table(&sheet, error);
    if (status == ATTN_OK && (scaling->count > 0 || format == ATTN_TABLE_CSV))
        status = put_all(&sheet, scaling, stream, error);
    attn_table_destroy(sheet.table);
    attn_scaling_destroy(scaling);
    return status;
}
