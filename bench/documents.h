/* Packed documents of generated problems: how long they are. */
#ifndef BENCH_DOCUMENTS_H
#define BENCH_DOCUMENTS_H

#include <attn/status.h>

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

/* From the law alone, without making them: how many starts documents_starts gives at least, and how many documents it
 * makes, 0 where that depends on what is drawn. */
double documents_least(const document_law *law, int64_t seq);
int64_t documents_known(const document_law *law, int64_t seq);

/* Starts of the documents of a sequence of `seq` rows, [documents + 1]; NULL and 0 when off.
 *   starts  out, to be freed with free() */
attn_status documents_starts(const document_law *law, int64_t seq, uint64_t seed, int64_t **starts, int64_t *documents,
                             attn_error *error);

#endif
