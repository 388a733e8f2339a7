/* Packed documents of generated problems: how long they are. */
#ifndef BENCH_DOCUMENTS_H
#define BENCH_DOCUMENTS_H

#include <attn/mask.h>

#include <stdint.h>

typedef enum document_kind {
    DOCUMENTS_OFF,
    DOCUMENTS_COUNT,    /* count documents of equal length, to within one */
    DOCUMENTS_UNIFORM,  /* lengths drawn from lo..hi, the last one cut */
    DOCUMENTS_LOGNORMAL /* lengths exp(N(log median, sigma)), at least 1, the last one cut */
} document_kind;

typedef struct document_law {
    document_kind kind;
    int64_t count;
    int64_t lo, hi;
    double median, sigma;
    char text[64]; /* as given: "uniform:3:9" */
} document_law;

typedef struct document_laws {
    document_law *laws; /* [count], released with free(laws) */
    int64_t count;
} document_laws;

/* Reads a comma-separated list of "8", "fixed:N", "uniform:LO:HI", "lognormal:MEDIAN:SIGMA". ATTN_ARGUMENT. */
attn_status documents_parse(const char *option, const char *text, document_laws *out, attn_error *error);

/* How many documents the law makes, without making them; drawn ones are counted up to ATTN_DOCUMENTS_MAX + 1. */
int64_t documents_count(const document_law *law, int64_t seq, uint64_t seed);

/* Whether so many documents can be made of `seq` rows. ATTN_ARGUMENT. */
attn_status documents_check(int64_t documents, int64_t seq, attn_error *error);

/* Makes the starts of the documents of a sequence of `seq` rows, [documents + 1]; NULL when there are none.
 *   documents  in, as documents_count gives it and documents_check accepts it
 *   starts     out, to be freed with free()
 * ATTN_MEMORY. */
attn_status documents_starts(const document_law *law, int64_t seq, uint64_t seed, int64_t documents, int64_t **starts,
                             attn_error *error);

#endif
