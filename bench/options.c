#include "options.h"
#include "names.h"
#include "shown.h"
#include "suggest.h"

#include <attn/sampler.h>

#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTION_GROUP_LIST(X)                                                                                           \
    X(PROBLEM, "Problem")                                                                                              \
    X(WHAT, "What to run")                                                                                             \
    X(DISTRIBUTE, "How to distribute")                                                                                 \
    X(TIME, "How long to measure")                                                                                     \
    X(SHOW, "What to show")                                                                                            \
    X(OUT, "Output")

typedef enum option_group {
#define GROUP_ENUM(group, words) GROUP_##group,
    OPTION_GROUP_LIST(GROUP_ENUM)
#undef GROUP_ENUM
} option_group;

static const char *const group_words[] = {
#define GROUP_WORDS(group, words) words,
    OPTION_GROUP_LIST(GROUP_WORDS)
#undef GROUP_WORDS
};

typedef struct option_spec {
    option_group group;
    const char *label; /* with the leading "--" */
    const char *value; /* NULL: a switch */
    const char *fallback;
    const char *help;
} option_spec;

static const option_spec specs[OPTION_COUNT] = {
#define OPTION_SPEC(key, group, name, value, fallback, help) {GROUP_##group, "--" name, value, fallback, help},
    OPTION_LIST(OPTION_SPEC)
#undef OPTION_SPEC
};

static const name_table *const option_names[OPTION_COUNT] = {
    [OPTION_DTYPE] = &names_dtype,       [OPTION_PASS] = &names_pass,       [OPTION_KERNEL] = &names_kernel,
    [OPTION_EXCHANGE] = &names_exchange, [OPTION_LAYOUT] = &names_layout,   [OPTION_TRANSFER] = &names_transfer,
    [OPTION_INNER] = &names_inner,       [OPTION_COMBINE] = &names_combine, [OPTION_PROBE] = &names_probe,
    [OPTION_METRIC] = &names_metric,     [OPTION_PLAN] = &names_plan,
};

static const char *const absent_passes[] = {"layer", "train"};

#define DEFAULT_SIZE 24
#define TABLE_SIZE (OPTION_COUNT + 1)

struct options {
    const char **arguments;
    poptContext context;
    struct poptOption table[TABLE_SIZE];
    bool given[OPTION_COUNT];
    char *text[OPTION_COUNT]; /* NULL: not given, or a switch */
    const char *fallback[OPTION_COUNT];
    char room[OPTION_COUNT][DEFAULT_SIZE]; /* of fallback */
    const char *const *files;
    size_t file_count;
};

/* The default of an option as text, for which there is room where the sampler gives it; NULL when there is none. */
static const char *default_text(const option_set *set, option_key key, char room[DEFAULT_SIZE])
{
    const attn_sampler_options sampler = attn_sampler_defaults();
    const struct {
        option_key key;
        double value;
    } rows[] = {
        {OPTION_MIN_REPS, (double)sampler.min_reps}, {OPTION_MAX_REPS, (double)sampler.max_reps},
        {OPTION_MAX_TIME, sampler.max_time},         {OPTION_CI, sampler.ci},
        {OPTION_REL_ERR, sampler.rel_err},           {OPTION_WARMUP, (double)sampler.warmup},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].key == key) {
            snprintf(room, DEFAULT_SIZE, "%.10g", rows[i].value);
            return room;
        }
    for (size_t i = 0; i < set->default_count; i++)
        if (set->defaults[i].key == key)
            return set->defaults[i].text;
    return specs[key].fallback;
}

/* popt returns a value above zero for each option it meets: 1 + key. */
static void fill_table(const option_set *set, struct poptOption *table)
{
    static const struct poptOption end = POPT_TABLEEND;
    size_t n = 0;

    for (size_t i = 0; i <= set->count; i++) {
        const option_key key = i < set->count ? set->keys[i] : OPTION_HELP;
        const option_spec *spec = &specs[key];

        table[n++] = (struct poptOption){.longName = spec->label + 2,
                                         .shortName = key == OPTION_HELP ? 'h' : '\0',
                                         .argInfo = spec->value != NULL ? POPT_ARG_STRING : POPT_ARG_NONE,
                                         .val = 1 + (int)key};
    }
    table[n] = end;
}

/* popt's error for the option it names. */
static attn_status refuse_option(const option_set *set, const char *command, const char *bad, int code,
                                 attn_error *error)
{
    char typed[64], meant[96] = "";
    suggestion best = {typed, NULL, 0};

    if ((size_t)snprintf(typed, sizeof typed, "%.*s", (int)strcspn(bad, "="), bad) >= sizeof typed)
        memcpy(typed + sizeof typed - 4, "...", 4);
    if (code == POPT_ERROR_NOARG)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: a value is needed; see attnbench %s --help", typed, command);
    if (code == POPT_ERROR_UNWANTEDARG)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: a switch, it takes no value", shown_value(bad).text);
    if (code != POPT_ERROR_BADOPT)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: %s", shown_value(bad).text, poptStrerror(code));
    for (size_t i = 0; i < set->count; i++)
        suggest_offer(&best, specs[set->keys[i]].label);
    if (best.nearest != NULL)
        snprintf(meant, sizeof meant, " did you mean \"%s\"?", best.nearest);
    return attn_error_set(error, ATTN_ARGUMENT, "unknown option \"%s\";%s see attnbench %s --help", typed, meant,
                          command);
}

static attn_status read_options(const option_set *set, const char *command, options *given, attn_error *error)
{
    int code;

    while ((code = poptGetNextOpt(given->context)) > 0) {
        char *text = poptGetOptArg(given->context);
        const int key = code - 1;

        free(given->text[key]);
        given->text[key] = text;
        given->given[key] = true;
    }
    if (code < -1)
        return refuse_option(set, command, poptBadOption(given->context, POPT_BADOPTION_NOALIAS), code, error);
    return ATTN_OK;
}

/* popt keeps the argument list: a copy of the pointers in its type. */
static attn_status open_context(const option_set *set, int argc, char **argv, options *given, attn_error *error)
{
    given->arguments = calloc((size_t)argc + 1, sizeof *given->arguments);
    if (given->arguments == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the options");
    for (int i = 0; i < argc; i++)
        given->arguments[i] = argv[i];
    for (int key = 0; key < OPTION_COUNT; key++)
        given->fallback[key] = default_text(set, (option_key)key, given->room[key]);
    fill_table(set, given->table);
    given->context = poptGetContext(argv[0], argc, given->arguments, given->table, 0);
    return given->context != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for the options");
}

attn_status options_parse(const option_set *set, int argc, char **argv, options **out, attn_error *error)
{
    options *given = calloc(1, sizeof *given);
    const char **files;
    attn_status status;

    *out = NULL;
    if (given == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the options");
    status = open_context(set, argc, argv, given, error);
    if (status == ATTN_OK)
        status = read_options(set, argv[0], given, error);
    if (status == ATTN_OK && (files = poptGetArgs(given->context)) != NULL) {
        given->files = (const char *const *)files;
        while (files[given->file_count] != NULL)
            given->file_count++;
        if (!set->takes_files && !given->given[OPTION_HELP])
            status = attn_error_set(error, ATTN_ARGUMENT, "%s: %s takes options only; see attnbench %s --help",
                                    shown_value(files[0]).text, argv[0], argv[0]);
    }
    if (status == ATTN_OK)
        *out = given;
    else
        options_destroy(given);
    return status;
}

void options_destroy(options *given)
{
    if (given == NULL)
        return;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        free(given->text[i]);
    if (given->context != NULL)
        poptFreeContext(given->context);
    free(given->arguments);
    free(given);
}

bool option_given(const options *given, option_key key)
{
    return given->given[key];
}

const char *option_text(const options *given, option_key key)
{
    const char *fallback = given->fallback[key];

    if (given->given[key])
        return given->text[key];
    return fallback != NULL && fallback[0] != '[' ? fallback : NULL;
}

const char *option_label(option_key key)
{
    return specs[key].label;
}

attn_status option_integer(const options *given, option_key key, number_kind kind, int64_t *out, attn_error *error)
{
    return parse_integer(option_label(key), option_text(given, key), kind, out, error);
}

attn_status option_real(const options *given, option_key key, real_kind kind, double *out, attn_error *error)
{
    return parse_real(option_label(key), option_text(given, key), kind, out, error);
}

size_t options_files(const options *given, const char *const **files)
{
    *files = given->files;
    return given->file_count;
}

attn_status options_pass(const options *given, attn_pass *out, attn_error *error)
{
    const char *pass = option_text(given, OPTION_PASS);
    int_list list = {NULL, 0};
    attn_status status;

    *out = ATTN_PASS_FORWARD;
    if (pass == NULL)
        return ATTN_OK;
    for (size_t i = 0; i < sizeof absent_passes / sizeof absent_passes[0]; i++)
        if (strcmp(pass, absent_passes[i]) == 0)
            return attn_error_set(error, ATTN_ARGUMENT, "--pass %s: this version has forward, backward and decode",
                                  pass);
    status = parse_names(pass, &names_pass, &list, error);
    if (status == ATTN_OK && list.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "--pass %s: one name is accepted", shown_value(pass).text);
    if (status == ATTN_OK)
        *out = (attn_pass)list.values[0];
    free(list.values);
    return status;
}

#define HELP_WIDTH 98
#define HELP_COLUMN 24

/* Prints words from a column on, broken at HELP_WIDTH. */
static void print_wrapped(const char *text, int left)
{
    int column = left;

    while (*text != '\0') {
        const int length = (int)strcspn(text, " \n");

        if (column > left && column + 1 + length > HELP_WIDTH) {
            printf("\n%*s", left, "");
            column = left;
        }
        if (column > left)
            column += printf(" ");
        column += printf("%.*s", length, text);
        text += length;
        text += strspn(text, " \n");
    }
    printf("\n");
}

static void print_option(const option_set *set, const option_spec *spec)
{
    const option_key key = (option_key)(spec - specs);
    char left[HELP_COLUMN + 32], right[1024], names[512] = "", room[DEFAULT_SIZE];
    const char *fallback = default_text(set, key, room);
    size_t used;

    snprintf(left, sizeof left, "  %s%s%s", spec->label, spec->value != NULL ? " " : "",
             spec->value != NULL ? spec->value : "");
    printf("%-*s", HELP_COLUMN, left);
    if (option_names[key] != NULL)
        parse_accepted(option_names[key], names, sizeof names);
    snprintf(right, sizeof right, "%s%s%s", spec->help, *names != '\0' ? ": " : "", names);
    used = strlen(right);
    if (fallback != NULL && fallback[0] == '[')
        snprintf(right + used, sizeof right - used, " (default: %.*s)", (int)strlen(fallback) - 2, fallback + 1);
    else if (fallback != NULL)
        snprintf(right + used, sizeof right - used, " (default: %s)", fallback);
    print_wrapped(right, HELP_COLUMN);
}

static bool takes(const option_set *set, option_key key)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->keys[i] == key)
            return true;
    return key == OPTION_HELP;
}

void options_help(const option_set *set)
{
    bool lists = false;
    int group = -1;

    printf("usage: %s\n\n", set->usage);
    print_wrapped(set->about, 0);
    for (int key = 0; key < OPTION_COUNT; key++) { /* the list stands in the order of its groups */
        const option_spec *spec = &specs[key];

        if (!takes(set, (option_key)key))
            continue;
        if ((int)spec->group != group)
            printf("\n%s\n", group_words[spec->group]);
        group = (int)spec->group;
        print_option(set, spec);
        lists = lists || (spec->value != NULL && strcmp(spec->value, "LIST") == 0);
    }
    if (lists) {
        printf("\n");
        print_wrapped(
            "Integers are plain digits with an optional suffix k (1024) or M (1024^2). A LIST is values 1,2,4 "
            "or ranges a:b:xF (times F) and a:b:+N (plus N). Of an option given twice the last counts.",
            0);
    }
    printf("\nExamples\n%s", set->examples);
}
