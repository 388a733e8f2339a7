#include "documents.h"
#include "parse.h"
#include "shown.h"

#include <attn/partition.h>
#include <attn/random.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEM_SIZE 64

static attn_status refuse(const char *option, const char *text, attn_error *error)
{
    return attn_error_set(error, ATTN_ARGUMENT,
                          "%s %s: a number of documents, fixed:N, uniform:LO:HI (LO <= HI) or "
                          "lognormal:MEDIAN:SIGMA is accepted",
                          option, shown_value(text).text);
}

/* Cuts "a:b" in two; false without a colon. */
static bool cut(char *text, char **second)
{
    char *colon = strchr(text, ':');

    if (colon == NULL)
        return false;
    *colon = '\0';
    *second = colon + 1;
    return true;
}

static bool read_law(char *item, document_law *law)
{
    char *first, *second;
    int64_t median;

    memset(law, 0, sizeof *law);
    snprintf(law->text, sizeof law->text, "%s", item);
    if (parse_integer("", item, NUMBER_COUNT, &law->count, NULL) == ATTN_OK) {
        law->kind = law->count > 0 ? DOCUMENTS_COUNT : DOCUMENTS_OFF;
        return true;
    }
    if (!cut(item, &first))
        return false;
    if (strcmp(item, "fixed") == 0) {
        law->kind = DOCUMENTS_UNIFORM;
        if (parse_integer("", first, NUMBER_POSITIVE, &law->lo, NULL) != ATTN_OK)
            return false;
        law->hi = law->lo;
        return true;
    }
    if (!cut(first, &second))
        return false;
    if (strcmp(item, "uniform") == 0) {
        law->kind = DOCUMENTS_UNIFORM;
        return parse_integer("", first, NUMBER_POSITIVE, &law->lo, NULL) == ATTN_OK &&
               parse_integer("", second, NUMBER_POSITIVE, &law->hi, NULL) == ATTN_OK && law->lo <= law->hi;
    }
    if (strcmp(item, "lognormal") != 0 || parse_integer("", first, NUMBER_POSITIVE, &median, NULL) != ATTN_OK)
        return false;
    law->kind = DOCUMENTS_LOGNORMAL;
    law->median = (double)median;
    return parse_real("", second, REAL_NOT_NEGATIVE, &law->sigma, NULL) == ATTN_OK;
}

attn_status documents_parse(const char *option, const char *text, document_laws *out, attn_error *error)
{
    const char *rest = text;

    while (rest != NULL) {
        char item[ITEM_SIZE];
        document_law law, *laws;

        if (parse_item(&rest, item, sizeof item) >= sizeof item || !read_law(item, &law))
            return refuse(option, text, error);
        laws = realloc(out->laws, ((size_t)out->count + 1) * sizeof *laws);
        if (laws == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for the values of %s", option);
        out->laws = laws;
        out->laws[out->count++] = law;
    }
    return ATTN_OK;
}

/* Length of document `index`, 1 <= length <= seq. */
static int64_t drawn_length(const document_law *law, int64_t seq, uint64_t seed, uint64_t index)
{
    double length;

    if (law->kind == DOCUMENTS_UNIFORM) {
        const int64_t drawn = law->lo + attn_random_below(seed, ATTN_STREAM_DOCUMENTS, index, law->hi - law->lo + 1);

        return drawn < seq ? drawn : seq;
    }
    length = round(law->median * exp(law->sigma * attn_random_normal(seed, ATTN_STREAM_DOCUMENTS, index)));
    if (length < 1)
        return 1;
    return length < (double)seq ? (int64_t)length : seq;
}

int64_t documents_count(const document_law *law, int64_t seq, uint64_t seed)
{
    int64_t count = 0;

    if (law->kind == DOCUMENTS_OFF || law->kind == DOCUMENTS_COUNT)
        return law->count;
    if (law->kind == DOCUMENTS_UNIFORM && law->lo == law->hi)
        return (seq - 1) / law->hi + 1;
    for (int64_t begin = 0; begin < seq && count <= ATTN_DOCUMENTS_MAX; count++)
        begin += drawn_length(law, seq - begin, seed, (uint64_t)count);
    return count;
}

attn_status documents_check(int64_t documents, int64_t seq, attn_error *error)
{
    if (documents > seq)
        return attn_error_set(error, ATTN_ARGUMENT, "documents %lld: at most %lld, one a row, are accepted",
                              (long long)documents, (long long)seq);
    if (documents > ATTN_DOCUMENTS_MAX)
        return attn_error_set(error, ATTN_ARGUMENT, "documents %lld: at most %d are accepted", (long long)documents,
                              ATTN_DOCUMENTS_MAX);
    return ATTN_OK;
}

attn_status documents_starts(const document_law *law, int64_t seq, uint64_t seed, int64_t documents, int64_t **starts,
                             attn_error *error)
{
    int64_t *values;

    *starts = NULL;
    if (documents == 0)
        return ATTN_OK;
    values = malloc(((size_t)documents + 1) * sizeof *values);
    if (values == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld documents", (long long)documents);
    values[0] = 0;
    for (int64_t i = 0; i < documents; i++)
        values[i + 1] = law->kind == DOCUMENTS_COUNT
                            ? attn_share_begin(seq, (int)documents, (int)(i + 1))
                            : values[i] + drawn_length(law, seq - values[i], seed, (uint64_t)i);
    *starts = values;
    return ATTN_OK;
}
