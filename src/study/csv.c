/* All cases as CSV: one column for every name that any case has, then times and metrics. */
#include "study/summary.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Names in the order of the cases' lists. */
typedef struct name_list {
    const char **names; /* borrowed */
    size_t count;
} name_list;

static const attn_attributes *attributes_of(const attn_result *result, bool outcomes)
{
    return outcomes ? result->outcomes : result->factors;
}

static size_t place_of(const name_list *list, const char *name)
{
    size_t at = 0;

    while (at < list->count && strcmp(list->names[at], name) != 0)
        at++;
    return at;
}

/* A new name stands right behind the one that comes before it in its case, so that columns do not depend on which case
 * comes first. */
static void add_names(name_list *list, const attn_attributes *attributes)
{
    size_t next = 0; /* place behind the name before */

    for (size_t i = 0; i < attn_attributes_count(attributes); i++) {
        const char *name = attn_attributes_at(attributes, i)->name;
        const size_t at = place_of(list, name);

        if (at < list->count) {
            next = at + 1;
            continue;
        }
        memmove(list->names + next + 1, list->names + next, (list->count - next) * sizeof *list->names);
        list->names[next++] = name;
        list->count++;
    }
}

static attn_status collect_names(const attn_results *results, bool outcomes, name_list *list, attn_error *error)
{
    size_t capacity = 1;

    *list = (name_list){NULL, 0};
    for (size_t c = 0; c < results->count; c++)
        capacity += attn_attributes_count(attributes_of(results->cases[c], outcomes));
    list->names = calloc(capacity, sizeof *list->names);
    if (list->names == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the columns of %zu cases", results->count);
    for (size_t c = 0; c < results->count; c++)
        add_names(list, attributes_of(results->cases[c], outcomes));
    return ATTN_OK;
}

/* A column name is left as it is, but for what has a meaning in attn_table_create. */
static void write_columns(const name_list *list, FILE *stream)
{
    for (size_t i = 0; i < list->count; i++) {
        fputc('|', stream);
        for (const char *c = list->names[i]; *c != '\0'; c++)
            fputc(*c == '|' || (*c == '<' && c == list->names[i]) ? '_' : *c, stream);
    }
}

static attn_status create_table(const name_list *factors, const name_list *outcomes, attn_table **out,
                                attn_error *error)
{
    char *columns = NULL;
    size_t size;
    FILE *stream = open_memstream(&columns, &size);
    attn_status status;

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table");
    fputs("id|launch_id|status", stream);
    write_columns(factors, stream);
    write_columns(outcomes, stream);
    fputs("|reps|median_s|ci_lo_s|ci_hi_s", stream);
    for (size_t m = 0; m < attn_metric_count(); m++)
        fprintf(stream, "|%s", attn_metric_name(attn_metric_at(m)));
    if (fclose(stream) != 0) {
        free(columns);
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table");
    }
    status = attn_table_create(columns, out, error);
    free(columns);
    return status;
}

static void add_values(attn_table *table, const name_list *list, const attn_attributes *attributes)
{
    for (size_t i = 0; i < list->count; i++) {
        const attn_attribute *attribute = attn_attributes_find(attributes, list->names[i]);
        char number[ATTN_NUMBER_MAX];

        if (attribute == NULL) {
            attn_table_cell(table, "%s", "");
        } else if (attribute->kind == ATTN_VALUE_TEXT) {
            attn_table_cell(table, "%s", attribute->text);
        } else {
            attn_attribute_format(attribute, number, sizeof number);
            attn_table_cell(table, "%s", number);
        }
    }
}

/* An empty cell when there is no number. */
static void add_number(attn_table *table, double value)
{
    if (isnan(value))
        attn_table_cell(table, "%s", "");
    else
        attn_table_cell(table, "%.9g", value);
}

static attn_status add_case(attn_table *table, const attn_result *result, const name_list *factors,
                            const name_list *outcomes, attn_error *error)
{
    attn_summary summary;
    const attn_status status = attn_summarise(result, &summary, error);

    if (status != ATTN_OK)
        return status;
    attn_table_cell(table, "%s", result->id);
    attn_table_cell(table, "%s", result->launch_id);
    attn_table_cell(table, "%s", attn_case_status_name(result->status));
    add_values(table, factors, result->factors);
    add_values(table, outcomes, result->outcomes);
    attn_table_cell(table, "%lld", (long long)result->reps);
    add_number(table, summary.timed ? summary.time.median : NAN);
    add_number(table, summary.timed ? summary.time.lo : NAN);
    add_number(table, summary.timed ? summary.time.hi : NAN);
    for (size_t m = 0; m < attn_metric_count(); m++)
        add_number(table, attn_summary_metric(result, &summary, attn_metric_at(m)));
    attn_table_end_row(table);
    return ATTN_OK;
}

attn_status attn_study_write_csv(const attn_results *results, FILE *stream, attn_error *error)
{
    name_list factors = {NULL, 0}, outcomes = {NULL, 0};
    attn_table *table = NULL;
    attn_status status = collect_names(results, false, &factors, error);

    if (status == ATTN_OK)
        status = collect_names(results, true, &outcomes, error);
    if (status == ATTN_OK)
        status = create_table(&factors, &outcomes, &table, error);
    for (size_t c = 0; c < results->count && status == ATTN_OK; c++)
        status = add_case(table, results->cases[c], &factors, &outcomes, error);
    if (status == ATTN_OK)
        status = attn_table_put(table, ATTN_TABLE_CSV, stream, error);
    attn_table_destroy(table);
    free(factors.names);
    free(outcomes.names);
    return status;
}
