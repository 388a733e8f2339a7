/* attnbench report: what result files say. Rank 0 works alone; nothing is run. */
#include "exports.h"
#include "shown.h"
#include "tables.h"

#include <stdlib.h>
#include <string.h>

static const option_key keys[] = {OPTION_CASES, OPTION_PHASES,   OPTION_MODELS, OPTION_METRIC, OPTION_FORMAT,
                                  OPTION_PLOT,  OPTION_ROOFLINE, OPTION_JSON,   OPTION_CSV,    OPTION_EXTRAP};

static const option_set set = {
    .usage = "attnbench report [OPTION...] FILE...",
    .about =
        "Reads result files, folders of them and *.h5.parts folders together, and prints how cases scale with the\n"
        "ranks: time, speed-up and efficiency, each against its stated baseline; with --cases or --metric each case "
        "by itself, with --phases where its time went, with --models "
        "models of scaling that are fitted to it, with --roofline how near it is to what bounds it. Needs no "
        "mpirun.\n",
    .examples = "  attnbench report scaling.h5\n"
                "  attnbench report --plot scaling.png --format markdown results/\n"
                "  attnbench report --cases --csv cases.csv monday.h5 tuesday.h5\n"
                "  attnbench report --metric gflops,tokens scaling.h5\n"
                "  attnbench report --models --extrap scaling.jsonl scaling.h5\n"
                "  attnbench report --roofline roofline.png kernels.h5\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
    .takes_files = true,
};

typedef struct report {
    exports wanted;
    attn_table_format format;
    const char *plot, *roofline;
    metric_columns metrics;
    bool cases, phases, models;
} report;

static attn_status check_picture(option_key key, const char *path, attn_error *error)
{
    const char *dot = path != NULL ? strrchr(path, '.') : NULL;

    if (path == NULL)
        return ATTN_OK;
    if (dot == NULL || (strcmp(dot, ".png") != 0 && strcmp(dot, ".svg") != 0 && strcmp(dot, ".pdf") != 0))
        return attn_error_set(error, ATTN_ARGUMENT, "%s %s: a name ending in .png, .svg or .pdf is accepted",
                              option_label(key), shown_path(path).text);
    return ATTN_OK;
}

static attn_status read_settings(const options *given, report *out, attn_error *error)
{
    const char *const *files;
    attn_status status = exports_read(given, &out->wanted, error);

    if (status == ATTN_OK)
        status = tables_format(given, &out->format, error);
    if (status == ATTN_OK)
        status = metric_columns_read(given, &out->metrics, error);
    out->plot = option_text(given, OPTION_PLOT);
    out->roofline = option_text(given, OPTION_ROOFLINE);
    out->cases = option_given(given, OPTION_CASES) || option_given(given, OPTION_METRIC);
    out->phases = option_given(given, OPTION_PHASES);
    out->models = option_given(given, OPTION_MODELS);
    if (status == ATTN_OK && out->cases + out->phases + out->models > 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: not accepted with %s, which is another table",
                                out->phases ? "--phases" : "--models",
                                out->phases && out->models          ? "--models"
                                : option_given(given, OPTION_CASES) ? "--cases"
                                                                    : "--metric");
    if (status == ATTN_OK)
        status = check_picture(OPTION_PLOT, out->plot, error);
    if (status == ATTN_OK)
        status = check_picture(OPTION_ROOFLINE, out->roofline, error);
    if (status == ATTN_OK && out->plot != NULL && out->roofline != NULL && strcmp(out->plot, out->roofline) == 0)
        status = attn_error_set(error, ATTN_ARGUMENT, "--plot and --roofline both write %s; two names are accepted",
                                shown_path(out->plot).text);
    if (status == ATTN_OK && options_files(given, &files) == 0)
        status = attn_error_set(error, ATTN_ARGUMENT, "report: a result file is needed; see attnbench report --help");
    return status;
}

static attn_status print_table(const report *wanted, const attn_results *results, FILE *stream, attn_error *error)
{
    const metric_columns *metrics = &wanted->metrics;

    if (wanted->phases)
        return attn_study_print_phases(results, wanted->format, stream, error);
    if (wanted->models)
        return attn_study_print_models(results, wanted->format, stream, error);
    if (wanted->cases)
        return attn_study_print_cases(results, metrics->list, metrics->count, wanted->format, stream, error);
    return attn_study_print_scaling(results, wanted->format, stream, error);
}

/* Rank 0. */
static attn_status print_report(const bench *launch, const options *given, const report *wanted, attn_error *error)
{
    FILE *stream = exports_table_stream(&wanted->wanted);
    const char *const *files;
    const size_t count = options_files(given, &files);
    attn_results *results = NULL;
    attn_status status = exports_check(&wanted->wanted, "", error);

    if (status == ATTN_OK)
        status = exports_check_path(OPTION_PLOT, wanted->plot, error);
    if (status == ATTN_OK)
        status = exports_check_path(OPTION_ROOFLINE, wanted->roofline, error);
    if (status == ATTN_OK)
        status = attn_results_read(files, count, &results, error);
    if (status == ATTN_OK) {
        results_order(results);
        exports_warn(launch, results);
    }
    if (status == ATTN_OK && wanted->plot != NULL)
        status = attn_study_plot_scaling(results, wanted->plot, error);
    if (status == ATTN_OK && wanted->roofline != NULL)
        status = attn_study_plot_roofline(results, wanted->roofline, error);
    if (status == ATTN_OK)
        status = print_table(wanted, results, stream, error);
    if (status == ATTN_OK)
        status = exports_write(&wanted->wanted, results, error);
    attn_results_destroy(results);
    return status;
}

attn_status cmd_report(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    report wanted = {.plot = NULL};
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    (void)wrong;
    if (status != ATTN_OK)
        return status;
    if (option_given(given, OPTION_HELP)) {
        if (launch->rank == 0)
            options_help(&set);
    } else {
        status = read_settings(given, &wanted, error);
        if (status == ATTN_OK && launch->rank == 0)
            status = print_report(launch, given, &wanted, error);
    }
    metric_columns_release(&wanted.metrics);
    options_destroy(given);
    return status;
}
