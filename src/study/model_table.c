/* The table of models: parameters, and the largest P predicted from the others beside what was measured. */
#include "study/models.h"
#include "study/names.h"
#include "study/summary.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The intervals of a printed table. */
static const double level = 0.95;

static void put_number(attn_table *table, double value, bool csv, int digits)
{
    char text[ATTN_NUMBER_MAX];

    if (csv && !isfinite(value))
        attn_table_cell(table, "%s", "");
    else if (csv)
        attn_table_cell(table, "%.9g", value);
    else {
        attn_format_significant(value, digits, text);
        attn_table_cell(table, "%s", text);
    }
}

static void put_interval(attn_table *table, double lo, double hi, bool csv)
{
    char text[2 * ATTN_NUMBER_MAX];

    if (csv) {
        put_number(table, lo, csv, 0);
        put_number(table, hi, csv, 0);
        return;
    }
    attn_format_interval(lo, hi, 3, text);
    attn_table_cell(table, "%s", text);
}

/* What a model says of all of the series: the same for all of its parameters, and said once. */
static void put_fit(attn_table *table, const attn_model_fit *fit, const attn_observation *last, bool csv)
{
    const attn_estimate *prediction = &fit->prediction;

    put_number(table, 100 * fit->worst, csv, 2);
    attn_table_cell(table, "%.0f", last->p);
    put_number(table, 1e3 * prediction->value, csv, 4);
    put_interval(table, 1e3 * prediction->lo, 1e3 * prediction->hi, csv);
    put_number(table, 1e3 * last->time, csv, 4);
    put_interval(table, 1e3 * last->point->lo, 1e3 * last->point->hi, csv);
    attn_table_cell(table, "%+.1f", 100 * (prediction->value / last->time - 1));
}

static void put_refusal(attn_table *table, const attn_model_fit *fit, bool csv)
{
    for (int column = 0; column < (csv ? 13 : 10); column++)
        attn_table_cell(table, "%s", csv ? "" : "-");
    attn_table_cell(table, "not fitted: %s", fit->reason);
    attn_table_end_row(table);
}

static void put_model(attn_table *table, size_t number, const attn_models *models, const attn_model_fit *fit, bool csv)
{
    for (size_t p = 0; p < ATTN_MODEL_PARAMETERS; p++) {
        const attn_estimate *parameter = &fit->parameters[p];
        const char *name = attn_model_parameter(fit->model, p);

        if (*name == '\0')
            continue;
        if (csv)
            attn_table_cell(table, "%zu", number);
        attn_table_cell(table, "%s", csv || p == 0 ? attn_model_name(fit->model) : "");
        if (fit->reason[0] != '\0') {
            put_refusal(table, fit, csv);
            return;
        }
        attn_table_cell(table, "%s", name);
        put_number(table, parameter->value, csv, 3);
        put_interval(table, parameter->lo, parameter->hi, csv);
        if (csv || p == 0)
            put_fit(table, fit, &models->observations[models->count - 1], csv);
        attn_table_end_row(table);
    }
}

static const char text_columns[] = "<model|<parameter|value|<[lo, hi]|worst %|P held out|predicted ms|<[lo, hi]|"
                                   "measured ms|<[lo, hi]|off %|<remark";
static const char csv_columns[] =
    "series|model|parameter|value|lo|hi|worst_percent|held_out_p|predicted_ms|predicted_lo_ms|predicted_hi_ms|"
    "measured_ms|measured_lo_ms|measured_hi_ms|off_percent|remark";

/* "fitted to 1, 2, 4 ranks; left out: 8 ranks (oversubscribed)". */
static void print_points(const attn_series *series, const attn_models *models, FILE *stream)
{
    bool first = true;

    fputs("points: P = ", stream);
    for (size_t i = 0; i < models->count; i++)
        fprintf(stream, "%s%.0f", i > 0 ? ", " : "", models->observations[i].p);
    fprintf(stream, "%s%s", models->count == 0 ? "none" : "", series->per_core ? " cores" : " ranks");
    for (size_t p = 0; p < series->count; p++) {
        const attn_point *point = &series->points[p];

        if (point->valid && !point->oversubscribed)
            continue;
        fprintf(stream, "%s%lld rank%s (%s)", first ? "; left out: " : ", ", (long long)point->ranks,
                point->ranks > 1 ? "s" : "",
                point->valid ? "oversubscribed" : attn_case_status_name(point->result->status));
        first = false;
    }
    fputs("\n\n", stream);
}

static attn_status print_heading(size_t number, const attn_series *series, FILE *stream, attn_error *error)
{
    attn_description *problem = NULL, *ways = NULL;
    attn_status status = attn_series_describe(&series, 1, &problem, error);

    if (status == ATTN_OK)
        status = attn_series_describe_sharing(series, &ways, error);
    if (status == ATTN_OK) {
        fprintf(stream, "series %zu: ", number);
        attn_description_common(problem, stream);
        fputs("; ", stream);
        if (attn_description_varies(ways))
            fputs("exchange and layout by rank count", stream);
        else
            attn_description_common(ways, stream);
        fprintf(stream, "%s%s\n", series->family[0] != '\0' ? ", " : "", series->family);
    }
    attn_description_destroy(problem);
    attn_description_destroy(ways);
    return status;
}

/* Adds the models of one series to the table of the CSV, or prints them as a table of their own. */
static attn_status put_series(const attn_results *results, size_t number, const attn_series *series,
                              attn_table_format format, attn_table *all, FILE *stream, attn_error *error)
{
    const bool csv = format == ATTN_TABLE_CSV;
    attn_models models;
    attn_table *own = NULL;
    attn_status status = attn_models_fit(results, series, level, &models, error);

    if (status == ATTN_OK && !csv)
        status = attn_table_create(text_columns, &own, error);
    for (size_t m = 0; status == ATTN_OK && m < models.fit_count; m++)
        put_model(csv ? all : own, number, &models, &models.fits[m], csv);
    if (status == ATTN_OK && !csv)
        status = print_heading(number, series, stream, error);
    if (status == ATTN_OK && !csv) {
        print_points(series, &models, stream);
        status = attn_table_put(own, format, stream, error);
        fputc('\n', stream);
    }
    attn_table_destroy(own);
    attn_models_release(&models);
    return status;
}

static void print_notes(size_t left_out, FILE *stream)
{
    fprintf(stream,
            "least squares of relative errors, parameters not negative; worst: largest error of a fitted time. P held "
            "out: the\nlargest, predicted by a fit to the others. [lo, hi] of parameters and predictions: %g %% of "
            "bootstrap samples of the\ntimes; they know the noise of measuring, not whether the model is right.\n",
            100 * level);
    if (left_out > 0)
        fprintf(stream, "%zu case%s run at one rank count only: no model\n", left_out, left_out > 1 ? "s" : "");
}

attn_status attn_study_print_models(const attn_results *results, attn_table_format format, FILE *stream,
                                    attn_error *error)
{
    const bool csv = format == ATTN_TABLE_CSV;
    attn_scaling *scaling;
    attn_table *all = NULL;
    size_t number = 0, left_out = 0;
    attn_status status = attn_scaling_find(results, &scaling, error);

    if (status != ATTN_OK)
        return status;
    if (csv)
        status = attn_table_create(csv_columns, &all, error);
    for (size_t s = 0; s < scaling->count && status == ATTN_OK; s++) {
        if (scaling->series[s].count > 1 && scaling->series[s].baseline != NULL)
            status = put_series(results, ++number, &scaling->series[s], format, all, stream, error);
        else
            left_out++;
    }
    if (status == ATTN_OK && csv)
        status = attn_table_put(all, format, stream, error);
    else if (status == ATTN_OK)
        print_notes(left_out, stream);
    attn_table_destroy(all);
    attn_scaling_destroy(scaling);
    return status;
}
