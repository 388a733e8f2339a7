/* attnbench report: what result files say. Rank 0 works alone; nothing is run. */
#include "exports.h"
#include "parse.h"
#include "shown.h"

#include <stdlib.h>
#include <string.h>

static const option_key keys[] = {OPTION_CASES, OPTION_FORMAT, OPTION_PLOT, OPTION_JSON, OPTION_CSV};

static const option_set set = {
    .usage = "attnbench report [OPTION...] FILE...",
    .about =
        "Reads result files, folders of them and *.h5.parts folders together, and prints how cases scale with the\n"
        "ranks: time, speed-up and efficiency, each against its stated baseline. Needs no mpirun.\n",
    .examples = "  attnbench report scaling.h5\n"
                "  attnbench report --plot scaling.png --format markdown results/\n"
                "  attnbench report --cases --csv cases.csv monday.h5 tuesday.h5\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
    .takes_files = true,
};

static const char *const format_names[] = {
    [ATTN_TABLE_TEXT] = "text",
    [ATTN_TABLE_MARKDOWN] = "markdown",
    [ATTN_TABLE_CSV] = "csv",
};

static size_t format_count(void)
{
    return sizeof format_names / sizeof format_names[0];
}

static const char *format_name(size_t index)
{
    return format_names[index];
}

typedef struct report {
    exports wanted;
    attn_table_format format;
    const char *plot;
    bool cases;
} report;

static attn_status read_format(const char *text, attn_table_format *out, attn_error *error)
{
    const name_table names = {"format", format_count, format_name, false, false};
    int_list list = {NULL, 0};
    attn_status status = parse_names(text, &names, &list, error);

    if (status == ATTN_OK && list.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "--format %s: one name is accepted", shown_value(text).text);
    if (status == ATTN_OK)
        *out = (attn_table_format)list.values[0];
    free(list.values);
    return status;
}

static attn_status check_plot(const char *path, attn_error *error)
{
    const char *dot = path != NULL ? strrchr(path, '.') : NULL;

    if (path == NULL)
        return ATTN_OK;
    if (dot == NULL || (strcmp(dot, ".png") != 0 && strcmp(dot, ".svg") != 0 && strcmp(dot, ".pdf") != 0))
        return attn_error_set(error, ATTN_ARGUMENT, "--plot %s: a name ending in .png, .svg or .pdf is accepted",
                              shown_path(path).text);
    return ATTN_OK;
}

static attn_status read_settings(const options *given, report *out, attn_error *error)
{
    const char *const *files;
    attn_status status = exports_read(given, &out->wanted, error);

    if (status == ATTN_OK)
        status = read_format(option_text(given, OPTION_FORMAT), &out->format, error);
    out->plot = option_text(given, OPTION_PLOT);
    out->cases = option_given(given, OPTION_CASES);
    if (status == ATTN_OK)
        status = check_plot(out->plot, error);
    if (status == ATTN_OK && options_files(given, &files) == 0)
        status = attn_error_set(error, ATTN_ARGUMENT, "report: a result file is needed; see attnbench report --help");
    return status;
}

/* Rank 0. */
static attn_status print_report(const options *given, const report *wanted, attn_error *error)
{
    FILE *stream = exports_table_stream(&wanted->wanted);
    const char *const *files;
    const size_t count = options_files(given, &files);
    attn_results *results = NULL;
    attn_status status = exports_check(&wanted->wanted, "", error);

    if (status == ATTN_OK)
        status = exports_check_path(OPTION_PLOT, wanted->plot, error);
    if (status == ATTN_OK)
        status = attn_results_read(files, count, &results, error);
    if (status == ATTN_OK)
        results_order(results);
    if (status == ATTN_OK && wanted->plot != NULL)
        status = attn_study_plot_scaling(results, wanted->plot, error);
    if (status == ATTN_OK)
        status = wanted->cases ? attn_study_print_cases(results, NULL, 0, wanted->format, stream, error)
                               : attn_study_print_scaling(results, wanted->format, stream, error);
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
            status = print_report(given, &wanted, error);
    }
    options_destroy(given);
    return status;
}
