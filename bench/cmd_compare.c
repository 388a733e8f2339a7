/* attnbench compare: whether cases became slower. Rank 0 works alone; nothing is run. */
#include "exports.h"
#include "message.h"
#include "tables.h"

#include <stdlib.h>

static const option_key keys[] = {OPTION_THRESHOLD, OPTION_LEVEL, OPTION_FORMAT, OPTION_QUIET};

static const option_set set = {
    .usage = "attnbench compare [OPTION...] BASE NEW",
    .about = "Compares two sets of results, each a result file, a folder of them or a *.h5.parts folder, case by case: "
             "medians with intervals, their difference, and whether it is significant (Mann-Whitney U, corrected over "
             "all cases by Holm). Where there are several launches of a case their medians are compared, otherwise "
             "its repetitions. Exits with 1 when a case is slower, significantly and by more than --threshold. Needs "
             "no mpirun.\n",
    .examples = "  attnbench compare monday.h5 tuesday.h5\n"
                "  attnbench compare --threshold 5 base/ new/\n"
                "  attnbench compare --format csv base.h5 new.h5 > comparison.csv\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
    .takes_files = true,
};

typedef struct compare_settings {
    attn_table_format format;
    double threshold, level;
    const char *const *files; /* [2] */
    bool quiet;
} compare_settings;

static attn_status read_settings(const options *given, compare_settings *out, attn_error *error)
{
    attn_status status = tables_format(given, &out->format, error);
    size_t count;

    if (status == ATTN_OK)
        status = option_real(given, OPTION_THRESHOLD, REAL_NOT_NEGATIVE, &out->threshold, error);
    if (status == ATTN_OK)
        status = option_real(given, OPTION_LEVEL, REAL_FRACTION, &out->level, error);
    out->threshold /= 100;
    out->quiet = option_given(given, OPTION_QUIET);
    count = options_files(given, &out->files);
    if (status == ATTN_OK && count != 2)
        status = attn_error_set(error, ATTN_ARGUMENT,
                                "compare: %zu path%s; two are needed, BASE and NEW; see attnbench compare --help",
                                count, count == 1 ? "" : "s");
    return status;
}

static void warn(const bench *launch, const attn_results *base, const attn_results *changed,
                 const attn_comparison *comparison)
{
    exports_warn(launch, base);
    exports_warn(launch, changed);
    for (size_t i = 0; i < attn_comparison_warnings(comparison); i++)
        message_warning(launch, "%s", attn_comparison_warning(comparison, i));
}

/* Rank 0. */
static attn_status compare_files(const bench *launch, const compare_settings *wanted, bool *slower, attn_error *error)
{
    attn_results *base = NULL, *changed = NULL;
    attn_comparison *comparison = NULL;
    attn_status status = attn_results_read(&wanted->files[0], 1, &base, error);

    if (status == ATTN_OK)
        status = attn_results_read(&wanted->files[1], 1, &changed, error);
    if (status == ATTN_OK) {
        results_order(base);
        results_order(changed);
        status = attn_study_compare(base, changed, wanted->level, wanted->threshold, &comparison, error);
    }
    if (status == ATTN_OK) {
        if (!wanted->quiet)
            warn(launch, base, changed, comparison);
        status = attn_comparison_print(comparison, wanted->format, stdout, error);
    }
    if (status == ATTN_OK)
        *slower = attn_comparison_slower(comparison) > 0;
    attn_comparison_destroy(comparison);
    attn_results_destroy(changed);
    attn_results_destroy(base);
    return status;
}

attn_status cmd_compare(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    compare_settings wanted = {.quiet = false};
    bool slower = false;
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    if (status != ATTN_OK)
        return status;
    if (option_given(given, OPTION_HELP)) {
        if (launch->rank == 0)
            options_help(&set);
    } else {
        status = read_settings(given, &wanted, error);
        if (status == ATTN_OK && launch->rank == 0)
            status = compare_files(launch, &wanted, &slower, error);
    }
    if (slower)
        *wrong = true;
    options_destroy(given);
    return status;
}
