/* What attnbench explain prints: tables of all steps, or one row worked out. */
#ifndef BENCH_EXPLAIN_H
#define BENCH_EXPLAIN_H

#include <attn/explain.h>
#include <attn/study.h>

#include <stdio.h>

/* Most rows and keys of a view; wider vectors than EXPLAIN_WIDTH show their first and last elements. */
enum {
    EXPLAIN_ROWS = 64,
    EXPLAIN_KEYS = 64,
    EXPLAIN_HEADS = 16,
    EXPLAIN_WIDTH = 16,
    EXPLAIN_FIRST = 8,
    EXPLAIN_LAST = 4
};

/* What of an explanation is shown, and how; everything is borrowed. */
typedef struct explain_view {
    const attn_explanation *x;
    const attn_explanation *unmasked; /* the same without mask; NULL: not shown */
    int64_t batch;
    int64_t head_begin, head_end;
    int64_t row_begin, row_end; /* query rows */
    int64_t key_begin, key_end;
    int digits;                /* behind the point */
    int64_t block;             /* keys of a block of the online softmax; 0: not shown */
    int64_t parts;             /* ranks that share the keys; 0: not shown */
    const char *const *tokens; /* [token_count] names of rows and, in self-attention, of keys; NULL: none */
    int64_t token_count;
} explain_view;

typedef struct explain_text {
    char text[64];
} explain_text;

/* A number with the digits of the view, and the name of a row or a key, for use within one expression. */
explain_text explain_number(const explain_view *view, double value);
explain_text explain_row_name(const explain_view *view, int64_t row);
explain_text explain_key_name(const explain_view *view, int64_t key);

/* The first element of row i of head h in an array [B,H,S,width]. */
const double *explain_at(const explain_view *view, const double *array, int64_t heads, int64_t rows, int64_t width,
                         int64_t h, int64_t i);

/* Writes what a score is: "0.7071 * q . k", with softcap and ALiBi where they are on. */
void explain_score_words(const explain_view *view, int64_t h, FILE *stream);

/* Prints all arrays of the view, step by step. ATTN_MEMORY, ATTN_FILE. */
attn_status explain_print_tables(const explain_view *view, FILE *stream, attn_error *error);

/* Prints row view->row_begin of head view->head_begin with every product and sum. ATTN_MEMORY. */
attn_status explain_print_row(const explain_view *view, FILE *stream, attn_error *error);

#endif
