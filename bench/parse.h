/* Strict reading of option values: nothing is guessed, nothing is cut off. Every function returns ATTN_ARGUMENT with a
 * message that names option and value and says what is accepted. */
#ifndef BENCH_PARSE_H
#define BENCH_PARSE_H

#include <attn/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which whole numbers an option takes. */
typedef enum number_kind {
    NUMBER_POSITIVE, /* 1, 2, ... */
    NUMBER_COUNT,    /* 0, 1, ... */
    NUMBER_LIMIT     /* -1 (no limit), 0, 1, ... */
} number_kind;

typedef enum real_kind {
    REAL_ANY,          /* any finite number */
    REAL_NOT_NEGATIVE, /* >= 0 */
    REAL_POSITIVE,     /* > 0 */
    REAL_FRACTION      /* between 0 and 1, both excluded */
} real_kind;

/* Values of an option, released with free(values). */
typedef struct int_list {
    int64_t *values; /* [count] */
    int64_t count;
} int_list;

typedef struct real_list {
    double *values; /* [count] */
    int64_t count;
} real_list;

/* Appends a value. ATTN_MEMORY; ATTN_ARGUMENT beyond PARSE_LIST_MAX values. */
#define PARSE_LIST_MAX 10000
attn_status int_list_append(int_list *list, int64_t value, attn_error *error);

/* Cuts the next comma-separated item off *text (NULL after the last) into item[size]. Returns its length, which may
 * exceed size - 1: then the item is cut. */
size_t parse_item(const char **text, char *item, size_t size);

/* Plain digits with an optional suffix k = 1024 or M = 1024^2.
 *   option  in, how messages name it: "--seq" */
attn_status parse_integer(const char *option, const char *text, number_kind kind, int64_t *out, attn_error *error);

/* A comma-separated list of integers and ranges, a:b:xF (times F) or a:b:+N (plus N). Appends to out. */
attn_status parse_integers(const char *option, const char *text, number_kind kind, int_list *out, attn_error *error);

/* Decimal numbers, "0.5" or "1e-3". */
attn_status parse_real(const char *option, const char *text, real_kind kind, double *out, attn_error *error);
attn_status parse_reals(const char *option, const char *text, real_kind kind, real_list *out, attn_error *error);

/* Names of a table of the library, with the words beside them. */
typedef struct name_table {
    const char *what; /* "exchange" */
    size_t (*count)(void);
    const char *(*name)(size_t index);
    bool takes_auto, takes_all; /* whether "auto" and "all" are accepted too */
} name_table;

#define NAME_AUTO (-1)

/* What is accepted: "none, allgather, auto, all". */
void parse_accepted(const name_table *table, char *text, size_t size);

/* A comma-separated list of names as table indices; "auto" is NAME_AUTO, "all" every row of the table. */
attn_status parse_names(const char *text, const name_table *table, int_list *out, attn_error *error);

#endif
