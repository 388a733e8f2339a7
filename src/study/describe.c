#include "study/describe.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PHRASE_MAX = 384 };

struct item;

/* Writes the phrase of a factor into out[PHRASE_MAX]; empty when it is the default and not asked to be said. */
typedef void phrase_writer(const struct item *item, const char *name, const attn_attributes *factors, bool say,
                           char *out);

struct item {
    const char *name;
    phrase_writer *write;
    const char *word;  /* stands before the value */
    const char *other; /* what the writer needs besides */
};

static void say_value(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const attn_attribute *factor = attn_attributes_find(factors, name);
    const char *word = item != NULL ? item->word : name;
    char value[PHRASE_MAX - 64];

    (void)say;
    out[0] = '\0';
    if (factor == NULL)
        return;
    attn_attribute_format(factor, value, sizeof value);
    snprintf(out, PHRASE_MAX, "%.48s%s%s", word, *word != '\0' ? " " : "", value);
}

/* other: the value that need not be said. */
static void say_unless(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const attn_attribute *factor = attn_attributes_find(factors, name);
    char value[PHRASE_MAX];

    out[0] = '\0';
    if (factor == NULL)
        return;
    attn_attribute_format(factor, value, sizeof value);
    if (strcmp(value, item->other) != 0)
        say_value(item, name, factors, say, out);
    else if (say)
        snprintf(out, PHRASE_MAX, "no %s", item->word);
}

/* other: the factor that this one usually equals. */
static void say_unless_equal(const struct item *item, const char *name, const attn_attributes *factors, bool say,
                             char *out)
{
    out[0] = '\0';
    if (say || attn_attributes_integer(factors, name, -1) != attn_attributes_integer(factors, item->other, -1))
        say_value(item, name, factors, say, out);
}

static void say_flag(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const bool set = attn_attributes_integer(factors, name, 0) != 0;

    snprintf(out, PHRASE_MAX, "%s%s", set || !say ? "" : "no ", set || say ? item->word : "");
}

static void say_causal(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const bool window = attn_attributes_integer(factors, "window_left", -1) >= 0 ||
                        attn_attributes_integer(factors, "window_right", -1) >= 0;

    (void)item;
    if (attn_attributes_integer(factors, name, 0) != 0)
        snprintf(out, PHRASE_MAX, "causal");
    else if (window)
        snprintf(out, PHRASE_MAX, "%s", say ? "not causal" : "");
    else
        snprintf(out, PHRASE_MAX, "full");
}

static void say_window(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const long long left = attn_attributes_integer(factors, name, -1);
    const long long right = attn_attributes_integer(factors, item->other, -1);

    if (left >= 0 && right >= 0)
        snprintf(out, PHRASE_MAX, "window %lld,%lld", left, right);
    else if (left >= 0)
        snprintf(out, PHRASE_MAX, "window %lld left", left);
    else if (right >= 0)
        snprintf(out, PHRASE_MAX, "window %lld right", right);
    else
        snprintf(out, PHRASE_MAX, "%s", say ? "no window" : "");
}

/* The usual scale, 1 / sqrt(D), follows from D. */
static void say_scale(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const double scale = attn_attributes_real(factors, name, 0);
    const double usual = 1 / sqrt(attn_attributes_real(factors, "head_dim", 1));

    out[0] = '\0';
    if (say || (scale != 0 && fabs(scale - usual) > 1e-6 * usual))
        say_value(item, name, factors, say, out);
}

static void say_scaling(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const char *scaling = attn_attributes_text(factors, name, "");

    (void)item, (void)say;
    snprintf(out, PHRASE_MAX, "%s%s", scaling, *scaling != '\0' ? " scaling" : "");
}

static void say_exchange(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    (void)item, (void)say;
    snprintf(out, PHRASE_MAX, "%s", attn_attributes_text(factors, name, ""));
    if (strcmp(out, "none") == 0)
        snprintf(out, PHRASE_MAX, "no exchange");
}

static void say_grid(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    (void)say;
    out[0] = '\0';
    if (attn_attributes_find(factors, name) != NULL)
        snprintf(out, PHRASE_MAX, "%lldx%lld", (long long)attn_attributes_integer(factors, name, 1),
                 (long long)attn_attributes_integer(factors, item->other, 1));
}

/* Head outputs are combined only where a head group has several ranks. other: the usual way. */
static void say_combine(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    const bool usual = strcmp(attn_attributes_text(factors, name, item->other), item->other) == 0;

    out[0] = '\0';
    if (attn_attributes_integer(factors, "grid_head", 1) > 1 && (say || !usual))
        say_value(item, name, factors, say, out);
}

/* What tells cases apart and is of no interest otherwise. */
static void say_when_varying(const struct item *item, const char *name, const attn_attributes *factors, bool say,
                             char *out)
{
    out[0] = '\0';
    if (say)
        say_value(item, name, factors, say, out);
}

/* The phrase of another factor covers this one. */
static void say_nothing(const struct item *item, const char *name, const attn_attributes *factors, bool say, char *out)
{
    (void)item, (void)name, (void)factors, (void)say;
    out[0] = '\0';
}

static const struct item items[] = {
    {"pass", say_value, "", ""},
    {"dtype", say_value, "", ""},
    {"batch", say_value, "B", ""},
    {"heads", say_value, "Hq", ""},
    {"kv_heads", say_value, "Hkv", ""},
    {"seq", say_value, "S", ""},
    {"kv_seq", say_unless_equal, "Skv", "seq"},
    {"head_dim", say_value, "D", ""},
    {"v_head_dim", say_unless_equal, "Dv", "head_dim"},
    {"causal", say_causal, "", ""},
    {"window_left", say_window, "window", "window_right"},
    {"window_right", say_nothing, "", ""},
    {"softcap", say_unless, "softcap", "0"},
    {"scale", say_scale, "scale", ""},
    {"alibi", say_flag, "ALiBi", ""},
    {"sinks", say_flag, "sinks", ""},
    {"documents", say_unless, "documents", "0"},
    {"dropout", say_unless, "dropout", "0"},
    {"dropout_seed", say_when_varying, "dropout seed", ""},
    {"input", say_unless, "input", ""},
    {"input_digest", say_when_varying, "digest", ""},
    {"kernel", say_value, "kernel", ""},
    {"seed", say_value, "seed", ""},
    {"scaling", say_scaling, "", ""},
    {NULL, say_value, "", ""}, /* here stand the factors that this list does not know */
    {"deterministic", say_flag, "deterministic", ""},
    {"exchange", say_exchange, "", ""},
    {"transfer", say_when_varying, "", ""},
    {"hybrid", say_value, "", ""},
    {"inner", say_when_varying, "inner", ""},
    {"layout", say_value, "", ""},
    {"grid_seq", say_grid, "", "grid_head"},
    {"grid_head", say_nothing, "", ""},
    {"combine", say_combine, "combine", "allgather"},
    {"ranks", say_value, "ranks", ""},
    {"threads", say_value, "threads", ""},
};

enum { ITEM_COUNT = sizeof items / sizeof items[0] };

struct part {
    const struct item *item; /* NULL for a factor outside the list */
    const char *name;        /* borrowed from the list or from a case */
    bool omitted, varies;
};

struct attn_description {
    struct part *parts;
    size_t count;
    const attn_attributes *factors; /* of the first case */
};

static bool known(const char *name)
{
    for (size_t i = 0; i < ITEM_COUNT; i++)
        if (items[i].name != NULL && strcmp(items[i].name, name) == 0)
            return true;
    return false;
}

/* Whether a list leaves a factor out. */
static bool left_out(const char *list, const char *name)
{
    const bool only = *list == '=';
    const size_t length = strlen(name);

    for (const char *at = list + only; *at != '\0';) {
        const size_t word = strcspn(at, "|");

        if (word == length && strncmp(at, name, length) == 0)
            return !only;
        at += word + (at[word] == '|');
    }
    return only;
}

static void phrase(const struct part *part, const attn_attributes *factors, bool say, char *out)
{
    if (part->item != NULL)
        part->item->write(part->item, part->name, factors, say, out);
    else
        say_value(NULL, part->name, factors, say, out);
}

static void add_part(attn_description *d, const struct item *item, const char *name, const char *omit)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->parts[i].name, name) == 0)
            return;
    d->parts[d->count++] = (struct part){item, name, left_out(omit, name), false};
}

static void add_unknown(attn_description *d, const attn_result *result, const char *omit)
{
    for (size_t i = 0; i < attn_attributes_count(result->factors); i++) {
        const char *name = attn_attributes_at(result->factors, i)->name;

        if (!known(name))
            add_part(d, NULL, name, omit);
    }
}

static void compare_cases(attn_description *d, const attn_result *const *cases, size_t count)
{
    for (size_t p = 0; p < d->count; p++) {
        const bool say = d->parts[p].item != NULL && d->parts[p].item->write == say_when_varying;
        char first[PHRASE_MAX], other[PHRASE_MAX];

        phrase(&d->parts[p], cases[0]->factors, say, first);
        for (size_t c = 1; c < count && !d->parts[p].varies; c++) {
            phrase(&d->parts[p], cases[c]->factors, say, other);
            d->parts[p].varies = strcmp(first, other) != 0;
        }
    }
}

attn_status attn_description_create(const attn_result *const *cases, size_t count, const char *omit,
                                    attn_description **out, attn_error *error)
{
    size_t capacity = ITEM_COUNT;
    attn_description *d = calloc(1, sizeof *d);

    *out = NULL;
    for (size_t c = 0; c < count; c++)
        capacity += attn_attributes_count(cases[c]->factors);
    if (d != NULL)
        d->parts = calloc(capacity, sizeof *d->parts);
    if (d == NULL || d->parts == NULL) {
        free(d);
        return attn_error_set(error, ATTN_MEMORY, "no memory to describe %zu cases", count);
    }
    for (size_t i = 0; i < ITEM_COUNT; i++) {
        if (items[i].name != NULL)
            add_part(d, &items[i], items[i].name, omit);
        for (size_t c = 0; items[i].name == NULL && c < count; c++)
            add_unknown(d, cases[c], omit);
    }
    compare_cases(d, cases, count);
    d->factors = cases[0]->factors;
    *out = d;
    return ATTN_OK;
}

void attn_description_destroy(attn_description *description)
{
    if (description != NULL)
        free(description->parts);
    free(description);
}

bool attn_description_varies(const attn_description *description)
{
    for (size_t p = 0; p < description->count; p++)
        if (description->parts[p].varies && !description->parts[p].omitted)
            return true;
    return false;
}

static void write_parts(const attn_description *d, const attn_attributes *factors, bool varying, const char *separator,
                        FILE *stream)
{
    bool first = true;

    for (size_t p = 0; p < d->count; p++) {
        char text[PHRASE_MAX];

        if (d->parts[p].omitted || d->parts[p].varies != varying)
            continue;
        phrase(&d->parts[p], factors, varying, text);
        if (text[0] == '\0')
            continue;
        fprintf(stream, "%s%s", first ? "" : separator, text);
        first = false;
    }
}

void attn_description_common(const attn_description *description, FILE *stream)
{
    write_parts(description, description->factors, false, ", ", stream);
}

void attn_description_case(const attn_description *description, const attn_result *result, FILE *stream)
{
    write_parts(description, result->factors, true, "  ", stream);
}

/* "S 4096" becomes "S4096", "seed 0" becomes "seed:0"; what would end a part of a path is replaced. */
static void write_path_part(const struct part *part, const char *text, FILE *stream)
{
    const size_t word = strcspn(text, " ");

    fputc('/', stream);
    for (const char *c = text; *c != '\0'; c++) {
        const bool after_word = c == text + word && (part->item == NULL || part->item->word[0] != '\0');

        if (*c == ' ' && after_word && word <= 3)
            continue;
        if (*c == ' ')
            fputc(after_word ? ':' : '-', stream);
        else
            fputc(*c == '/' ? '_' : *c, stream);
    }
}

static void write_one(const struct part *part, const attn_attributes *factors, bool path, bool *first, FILE *stream)
{
    char text[PHRASE_MAX];

    phrase(part, factors, false, text);
    if (text[0] == '\0')
        return;
    if (path)
        write_path_part(part, text, stream);
    else
        fprintf(stream, "%s%s", *first ? "" : ", ", text);
    *first = false;
}

static void write_all(const attn_attributes *factors, bool path, FILE *stream)
{
    bool first = true;

    for (size_t i = 0; i < ITEM_COUNT; i++) {
        if (items[i].name != NULL) {
            write_one(&(struct part){&items[i], items[i].name, false, false}, factors, path, &first, stream);
            continue;
        }
        for (size_t f = 0; f < attn_attributes_count(factors); f++) {
            const char *name = attn_attributes_at(factors, f)->name;

            if (!known(name))
                write_one(&(struct part){NULL, name, false, false}, factors, path, &first, stream);
        }
    }
}

void attn_describe_path(const attn_result *result, FILE *stream)
{
    fputs("attn", stream);
    write_all(result->factors, true, stream);
}

void attn_describe_case(const attn_result *result, FILE *stream)
{
    write_all(result->factors, false, stream);
}
