#include "parse.h"
#include "shown.h"
#include "suggest.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEM_SIZE 64

static const char *const number_words[] = {
    [NUMBER_POSITIVE] = "a positive integer such as 4096 or 4k",
    [NUMBER_COUNT] = "0 or a positive integer such as 4096 or 4k",
    [NUMBER_LIMIT] = "-1 (no limit), 0 or a positive integer such as 4096 or 4k",
};

static const char *const real_words[] = {
    [REAL_ANY] = "a finite number such as 0.125",
    [REAL_NOT_NEGATIVE] = "0 or a positive number such as 0.5",
    [REAL_POSITIVE] = "a positive number such as 0.5",
    [REAL_FRACTION] = "a number between 0 and 1 such as 0.95",
};

size_t parse_item(const char **text, char *item, size_t size)
{
    const size_t length = strcspn(*text, ",");

    snprintf(item, size, "%.*s", (int)(length < size ? length : size - 1), *text);
    *text = (*text)[length] == ',' ? *text + length + 1 : NULL;
    return length;
}

attn_status int_list_append(int_list *list, int64_t value, attn_error *error)
{
    if (list->count >= PARSE_LIST_MAX)
        return attn_error_set(error, ATTN_ARGUMENT, "a list of more than %d values; shorter lists are accepted",
                              PARSE_LIST_MAX);
    if ((list->count & (list->count - 1)) == 0) { /* the room doubles whenever a power of two is full */
        const size_t room = list->count == 0 ? 1 : 2 * (size_t)list->count;
        int64_t *values = realloc(list->values, room * sizeof *values);

        if (values == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for a list of %zu values", room);
        list->values = values;
    }
    list->values[list->count++] = value;
    return ATTN_OK;
}

/* Reads digits and a suffix; false when there is anything else or the value does not fit. */
static bool read_digits(const char *text, int64_t *out)
{
    int64_t value = 0, factor = 1;
    size_t i = 0;

    for (; text[i] >= '0' && text[i] <= '9'; i++) {
        const int digit = text[i] - '0';

        if (value > (INT64_MAX - digit) / 10)
            return false;
        value = 10 * value + digit;
    }
    if (i == 0)
        return false;
    if (text[i] == 'k')
        factor = 1024;
    else if (text[i] == 'M')
        factor = 1024 * 1024;
    if (factor > 1)
        i++;
    if (text[i] != '\0' || value > INT64_MAX / factor)
        return false;
    *out = value * factor;
    return true;
}

static bool read_integer(const char *text, number_kind kind, int64_t *out)
{
    if (kind == NUMBER_LIMIT && strcmp(text, "-1") == 0) {
        *out = -1;
        return true;
    }
    return read_digits(text, out) && (kind != NUMBER_POSITIVE || *out > 0);
}

attn_status parse_integer(const char *option, const char *text, number_kind kind, int64_t *out, attn_error *error)
{
    if (!read_integer(text, kind, out))
        return attn_error_set(error, ATTN_ARGUMENT, "%s %s: %s is accepted", option, shown_value(text).text,
                              number_words[kind]);
    return ATTN_OK;
}

/* Appends begin, then times or plus step up to end. */
static attn_status append_range(int64_t begin, int64_t end, bool times, int64_t step, int_list *out, attn_error *error)
{
    for (int64_t value = begin;;) {
        const attn_status status = int_list_append(out, value, error);

        if (status != ATTN_OK)
            return status;
        if (times ? value > end / step : value > end - step)
            return ATTN_OK;
        value = times ? value * step : value + step;
    }
}

/* One item of a list: a number or a range. *wrong tells what it is that is neither: "" for something else. */
static attn_status read_range(char *item, number_kind kind, int_list *out, const char **wrong, attn_error *error)
{
    char *const end_text = strchr(item, ':');
    char *const step_text = end_text != NULL ? strchr(end_text + 1, ':') : NULL;
    int64_t begin, end, step;
    bool times;

    *wrong = "";
    if (end_text == NULL) {
        if (!read_integer(item, kind, &begin))
            return ATTN_OK;
        *wrong = NULL;
        return int_list_append(out, begin, error);
    }
    if (step_text == NULL || (step_text[1] != 'x' && step_text[1] != '+'))
        return ATTN_OK;
    *end_text = *step_text = '\0';
    times = step_text[1] == 'x';
    if (!read_digits(item, &begin) || !read_digits(end_text + 1, &end) || !read_digits(step_text + 2, &step))
        return ATTN_OK;
    if (begin < (times || kind == NUMBER_POSITIVE ? 1 : 0))
        return ATTN_OK;
    *wrong = begin > end          ? "a range that rises, such as 1k:64k:x2,"
             : times && step < 2  ? "a range with a factor of x2 or more"
             : !times && step < 1 ? "a range with a step of +1 or more"
                                  : NULL;
    if (*wrong != NULL)
        return ATTN_OK;
    return append_range(begin, end, times, step, out, error);
}

attn_status parse_integers(const char *option, const char *text, number_kind kind, int_list *out, attn_error *error)
{
    const char *rest = text;

    while (rest != NULL) {
        char item[ITEM_SIZE];
        const char *wrong = "";

        if (parse_item(&rest, item, sizeof item) < sizeof item) {
            const attn_status status = read_range(item, kind, out, &wrong, error);

            if (status == ATTN_ARGUMENT)
                return attn_error_set(error, status, "%s %s: at most %d values are accepted", option,
                                      shown_value(text).text, PARSE_LIST_MAX);
            if (status != ATTN_OK)
                return status;
        }
        if (wrong != NULL && *wrong != '\0')
            return attn_error_set(error, ATTN_ARGUMENT, "%s %s: %s is accepted", option, shown_value(text).text, wrong);
        if (wrong != NULL)
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "%s %s: %s, a list 1024,2048 or a range 1k:64k:x2 or 1k:8k:+1k is accepted", option,
                                  shown_value(text).text, number_words[kind]);
    }
    return ATTN_OK;
}

static bool read_real(const char *text, real_kind kind, double *out)
{
    char *end;

    if (text[0] == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0')
        return false; /* no blanks, no hexadecimal, no "inf" and "nan" */
    *out = strtod(text, &end);
    if (*end != '\0' || end == text || !isfinite(*out))
        return false;
    switch (kind) {
    case REAL_NOT_NEGATIVE:
        return *out >= 0;
    case REAL_POSITIVE:
        return *out > 0;
    case REAL_FRACTION:
        return *out > 0 && *out < 1;
    case REAL_ANY:
        break;
    }
    return true;
}

attn_status parse_real(const char *option, const char *text, real_kind kind, double *out, attn_error *error)
{
    if (!read_real(text, kind, out))
        return attn_error_set(error, ATTN_ARGUMENT, "%s %s: %s is accepted", option, shown_value(text).text,
                              real_words[kind]);
    return ATTN_OK;
}

attn_status parse_reals(const char *option, const char *text, real_kind kind, real_list *out, attn_error *error)
{
    const char *rest = text;

    while (rest != NULL) {
        char item[ITEM_SIZE];
        const bool fits = parse_item(&rest, item, sizeof item) < sizeof item;
        double value, *values;

        if (!fits || !read_real(item, kind, &value) || out->count >= PARSE_LIST_MAX)
            return attn_error_set(error, ATTN_ARGUMENT, "%s %s: %s or a list of at most %d of them is accepted", option,
                                  shown_value(text).text, real_words[kind], PARSE_LIST_MAX);
        values = realloc(out->values, ((size_t)out->count + 1) * sizeof *values);
        if (values == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for the values of %s", option);
        out->values = values;
        out->values[out->count++] = value;
    }
    return ATTN_OK;
}

/* The i-th name that is accepted, the words behind those of the table; NULL behind the last. */
static const char *accepted_name(const name_table *table, size_t i)
{
    const size_t count = table->count();

    if (i < count)
        return table->name(i);
    if (table->takes_auto && i == count)
        return "auto";
    return table->takes_all && i == count + table->takes_auto ? "all" : NULL;
}

void parse_accepted(const name_table *table, char *text, size_t size)
{
    const char *name;
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; (name = accepted_name(table, i)) != NULL && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", name);
}

/* What other programs call the same: suggested, not accepted, so that one thing has one name in files. */
static const struct {
    const char *word, *name;
} aliases[] = {
    {"double", "float64"},   {"fp64", "float64"},   {"f64", "float64"},
    {"float", "float32"},    {"single", "float32"}, {"fp32", "float32"},
    {"f32", "float32"},      {"half", "float16"},   {"fp16", "float16"},
    {"f16", "float16"},      {"bf16", "bfloat16"},  {"bfloat", "bfloat16"},
    {"ulysses", "alltoall"}, {"usp", "hybrid"},     {"double-ring", "hierarchical"},
    {"pass-q", "ring-q"},
};

/* "unknown exchange "allgater"; did you mean "allgather"? accepted: none, allgather, auto, all" */
static attn_status unknown_name(const char *item, const name_table *table, attn_error *error)
{
    suggestion best = {item, NULL, 0};
    char accepted[ATTN_MESSAGE_MAX], meant[ITEM_SIZE + 32] = "";
    const char *name;

    for (size_t i = 0; (name = accepted_name(table, i)) != NULL; i++)
        suggest_offer(&best, name);
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcmp(item, aliases[i].word) == 0)
            for (size_t n = 0; (name = accepted_name(table, n)) != NULL; n++)
                if (strcmp(name, aliases[i].name) == 0)
                    best.nearest = name;
    parse_accepted(table, accepted, sizeof accepted);
    if (best.nearest != NULL)
        snprintf(meant, sizeof meant, "did you mean \"%s\"? ", best.nearest);
    return attn_error_set(error, ATTN_ARGUMENT, "unknown %s \"%s\"; %saccepted: %s", table->what, item, meant,
                          accepted);
}

static attn_status append_name(const char *item, const name_table *table, int_list *out, attn_error *error)
{
    if (table->takes_auto && strcmp(item, "auto") == 0)
        return int_list_append(out, NAME_AUTO, error);
    if (table->takes_all && strcmp(item, "all") == 0) {
        attn_status status = ATTN_OK;

        for (size_t i = 0; status == ATTN_OK && i < table->count(); i++)
            status = int_list_append(out, (int64_t)i, error);
        return status;
    }
    for (size_t i = 0; i < table->count(); i++)
        if (strcmp(item, table->name(i)) == 0)
            return int_list_append(out, (int64_t)i, error);
    return unknown_name(item, table, error);
}

attn_status parse_names(const char *text, const name_table *table, int_list *out, attn_error *error)
{
    while (text != NULL) {
        char item[ITEM_SIZE];
        attn_status status;

        if (parse_item(&text, item, sizeof item) >= sizeof item)
            memcpy(item + sizeof item - 4, "...", 4); /* longer than any name: only shown */
        status = append_name(item, table, out, error);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}
