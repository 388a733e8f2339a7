/* The table of phases. */
#include "study/describe.h"
#include "study/summary.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char column_factors[] = "ranks|grid_seq|grid_head|threads";

/* What one printed table needs. */
typedef struct phase_sheet {
    attn_table *table;
    attn_table_format format;
    const attn_description *description;
    bool words; /* what the cases differ in has a column */
} phase_sheet;

static attn_status add_words(const phase_sheet *sheet, const attn_result *result, attn_error *error)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table of phases");
    if (sheet->format == ATTN_TABLE_CSV)
        attn_describe_case(result, stream);
    else
        attn_description_case(sheet->description, result, stream);
    if (fclose(stream) != 0) {
        free(text);
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table of phases");
    }
    attn_table_cell(sheet->table, "%s", text);
    free(text);
    return ATTN_OK;
}

/* Adds the cells that name a case; a person reads them in its first row alone. */
static attn_status add_name(const phase_sheet *sheet, const attn_result *result, const attn_summary *summary,
                            bool first, attn_error *error)
{
    attn_table *table = sheet->table;
    attn_status status = ATTN_OK;

    if (!first && sheet->format != ATTN_TABLE_CSV) {
        for (int cell = 0; cell < 3 + sheet->words; cell++)
            attn_table_cell(table, "%s", "");
        return ATTN_OK;
    }
    if (sheet->words)
        status = add_words(sheet, result, error);
    attn_table_cell(table, "%lld", (long long)summary->ranks);
    attn_table_cell(table, "%lldx%lld", (long long)attn_attributes_integer(result->factors, "grid_seq", 1),
                    (long long)attn_attributes_integer(result->factors, "grid_head", 1));
    attn_table_cell(table, "%lld", (long long)summary->threads);
    return status;
}

/* Whether a phase is a part of total. */
static bool within_total(attn_phase phase)
{
    return phase != ATTN_PHASE_INPUT_READ && phase != ATTN_PHASE_IMBALANCE_WAIT;
}

/* The bandwidths that are known of a phase, or how it stands to total. */
static void add_remark(const phase_sheet *sheet, const attn_result *result, const attn_summary *summary,
                       attn_phase phase)
{
    char remark[ATTN_VERDICT_MAX] = "";

    if (phase == ATTN_PHASE_TOTAL)
        attn_format_verdict(result, remark);
    else if (!within_total(phase))
        snprintf(remark, sizeof remark, "%s", phase == ATTN_PHASE_INPUT_READ ? "once" : "outside total");
    for (size_t m = 0; phase != ATTN_PHASE_TOTAL && m < attn_metric_count(); m++) {
        const attn_metric *metric = attn_metric_at(m);
        const double value = attn_summary_metric(result, summary, metric);
        const size_t used = strlen(remark);
        char number[ATTN_NUMBER_MAX];

        if (attn_metric_phase(metric) != phase || !isfinite(value))
            continue;
        attn_format_metric(metric, value, number);
        snprintf(remark + used, sizeof remark - used, "%s%s %s", used > 0 ? ", " : "", number,
                 attn_metric_unit(metric));
    }
    attn_table_cell(sheet->table, "%s", remark);
}

static attn_status add_phase(const phase_sheet *sheet, const attn_result *result, const attn_summary *summary,
                             attn_phase phase, attn_error *error)
{
    const double total = summary->phases[ATTN_PHASE_TOTAL], seconds = summary->phases[phase];
    const attn_status status = add_name(sheet, result, summary, phase == ATTN_PHASE_TOTAL, error);

    if (status != ATTN_OK)
        return status;
    attn_table_cell(sheet->table, "%s", attn_phase_name(phase));
    if (isfinite(seconds))
        attn_table_cell(sheet->table, "%.3f", 1e3 * seconds);
    else
        attn_table_cell(sheet->table, "-");
    if (within_total(phase) && total > 0)
        attn_table_cell(sheet->table, "%.1f", 100 * seconds / total);
    else
        attn_table_cell(sheet->table, "-");
    add_remark(sheet, result, summary, phase);
    attn_table_end_row(sheet->table);
    return ATTN_OK;
}

static attn_status add_case(const phase_sheet *sheet, const attn_result *result, attn_error *error)
{
    attn_summary summary;
    attn_status status = attn_summarise(result, &summary, error);

    for (int phase = 0; status == ATTN_OK && phase < ATTN_PHASE_COUNT; phase++)
        if (phase == ATTN_PHASE_TOTAL || summary.phases[phase] > 0)
            status = add_phase(sheet, result, &summary, (attn_phase)phase, error);
    return status;
}

attn_status attn_study_print_phases(const attn_results *results, attn_table_format format, FILE *stream,
                                    attn_error *error)
{
    const bool csv = format == ATTN_TABLE_CSV;
    phase_sheet sheet = {.format = format};
    attn_description *description = NULL;
    attn_status status = ATTN_OK;

    if (results->count == 0) {
        fputs(csv ? "" : "no cases\n", stream);
        return ATTN_OK;
    }
    status = attn_description_create((const attn_result *const *)results->cases, results->count, column_factors,
                                     &description, error);
    if (status != ATTN_OK)
        return status;
    sheet.description = description;
    sheet.words = csv || attn_description_varies(description);
    status = attn_table_create(sheet.words ? "<case|ranks|grid|threads|<phase|ms|% of total|<remark"
                                           : "ranks|grid|threads|<phase|ms|% of total|<remark",
                               &sheet.table, error);
    for (size_t c = 0; status == ATTN_OK && c < results->count; c++)
        status = add_case(&sheet, results->cases[c], error);
    if (status == ATTN_OK && !csv) {
        attn_description_common(description, stream);
        fputs("\neach phase: median over repetitions of the rank that spent most in it\n\n", stream);
    }
    if (status == ATTN_OK)
        status = attn_table_put(sheet.table, format, stream, error);
    attn_table_destroy(sheet.table);
    attn_description_destroy(description);
    return status;
}
