/* attnbench report: what result files say. Rank 0 works alone; nothing is run. */
#include "exports.h"
#include "shown.h"
#include "tables.h"

#include <stdlib.h>
#include <string.h>

static const option_key keys[] = {OPTION_CASES,  OPTION_PHASES, OPTION_MODELS,   OPTION_METRIC,
                                  OPTION_FORMAT, OPTION_PLOT,   OPTION_ROOFLINE, OPTION_TIMELINE,
                                  OPTION_TRACE,  OPTION_JSON,   OPTION_CSV,      OPTION_EXTRAP};

typedef attn_status picture_drawer(const attn_results *results, const char *path, attn_error *error);

static const struct {
    option_key key;
    picture_drawer *draw;
} pictures[] = {
    {OPTION_PLOT, attn_study_plot_scaling},
    {OPTION_ROOFLINE, attn_study_plot_roofline},
    {OPTION_TIMELINE, attn_study_plot_timeline},
};
enum { PICTURE_COUNT = sizeof pictures / sizeof pictures[0] };

static const option_set set = {
    .usage = "attnbench report [OPTION...] FILE...",
    .about =
        "Reads result files, folders of them and *.h5.parts folders together, and prints how cases scale with the\n"
        "ranks: time, speed-up and efficiency, each against its stated baseline; with --cases or --metric each case "
        "by itself, with --phases where its time went, with --models "
        "models of scaling that are fitted to it, with --roofline how near it is to what bounds it, with --timeline "
        "and --trace one repetition of each case from phase to phase. Needs no mpirun.\n",
    .examples = "  attnbench report scaling.h5\n"
                "  attnbench report --plot scaling.png --format markdown results/\n"
                "  attnbench report --cases --csv cases.csv monday.h5 tuesday.h5\n"
                "  attnbench report --metric gflops,tokens scaling.h5\n"
                "  attnbench report --models --extrap scaling.jsonl scaling.h5\n"
                "  attnbench report --roofline roofline.png kernels.h5\n"
                "  attnbench report --timeline timeline.png --trace timeline.json exchanges.h5\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
    .takes_files = true,
};

typedef struct report {
    exports wanted;
    attn_table_format format;
    const char *pictures[PICTURE_COUNT]; /* NULL: not wanted */
    metric_columns metrics;
    bool cases, phases, models;
} report;

/* Reads the names of the pictures. */
static attn_status read_pictures(const options *given, const char **paths, attn_error *error)
{
    for (size_t i = 0; i < PICTURE_COUNT; i++) {
        const char *const path = option_text(given, pictures[i].key);
        const char *const dot = path != NULL ? strrchr(path, '.') : NULL;

        paths[i] = path;
        if (path == NULL)
            continue;
        if (dot == NULL || (strcmp(dot, ".png") != 0 && strcmp(dot, ".svg") != 0 && strcmp(dot, ".pdf") != 0))
            return attn_error_set(error, ATTN_ARGUMENT, "%s %s: a name ending in .png, .svg or .pdf is accepted",
                                  option_label(pictures[i].key), shown_path(path).text);
        for (size_t j = 0; j < i; j++)
            if (paths[j] != NULL && strcmp(paths[j], path) == 0)
                return attn_error_set(error, ATTN_ARGUMENT, "%s and %s both write %s; two names are accepted",
                                      option_label(pictures[j].key), option_label(pictures[i].key),
                                      shown_path(path).text);
    }
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
        status = read_pictures(given, out->pictures, error);
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

    for (size_t i = 0; i < PICTURE_COUNT && status == ATTN_OK; i++)
        status = exports_check_path(pictures[i].key, wanted->pictures[i], error);
    if (status == ATTN_OK)
        status = attn_results_read(files, count, &results, error);
    if (status == ATTN_OK) {
        results_order(results);
        exports_warn(launch, results);
    }
    if (status == ATTN_OK)
        status = exports_check_results(&wanted->wanted, results, error);
    for (size_t i = 0; i < PICTURE_COUNT && status == ATTN_OK; i++)
        if (wanted->pictures[i] != NULL)
            status = pictures[i].draw(results, wanted->pictures[i], error);
    if (status == ATTN_OK)
        status = print_table(wanted, results, stream, error);
    if (status == ATTN_OK)
        status = exports_write(&wanted->wanted, results, error);
    attn_results_destroy(results);
    return status;
}

attn_status cmd_report(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    report wanted = {.cases = false};
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
