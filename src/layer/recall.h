/* Associative recall as a rank sees it: its rows of the sequences of a step, and the loss of its queries (train.h). */
#ifndef LAYER_RECALL_H
#define LAYER_RECALL_H

#include <attn/random.h>
#include <attn/train.h>

typedef struct attn_recall {
    uint64_t seed;
    attn_dtype dtype;
    int64_t batch, seq, facts; /* facts: the rows from 0 on, as many as there are keys */
    int64_t key_width, value_width, values;
    int64_t *rows; /* [row_count] global numbers of this rank's rows */
    int64_t row_count;
    char *keys, *answers; /* embeddings: [facts,key_width]; [values + 1,value_width], the last one that of "?" */
    double *losses;       /* [batch * row_count] of one step, 0 of a fact */
    bool *hits;           /* [batch * row_count] whether the right value has the highest score */
} attn_recall;

/* What a rank's queries add to the loss, and how many are right. */
typedef struct attn_recall_sums {
    double loss, right;
} attn_recall_sums;

/* Makes the embeddings. Released with attn_recall_release, on failure too. ATTN_MEMORY. */
attn_status attn_recall_create(const attn_training *training, const attn_segments *rows, attn_recall *out,
                               attn_error *error);
void attn_recall_release(attn_recall *recall);

/* Queries of all sequences of a step, on all ranks. */
int64_t attn_recall_queries(const attn_recall *recall);

/* The key that a row shows, a fact or a query, and the value that a key is bound to, in one sequence of a step. */
int64_t attn_recall_key(const attn_recall *recall, int64_t step, int64_t batch, int64_t row);
int64_t attn_recall_value(const attn_recall *recall, int64_t step, int64_t batch, int64_t key);

/* Makes this rank's rows of a step.
 *   x  out, [batch,row_count,key_width + value_width] */
void attn_recall_rows(const attn_recall *recall, int64_t step, int threads, void *x);

/* Computes the loss of this rank's queries and its gradient; bits do not depend on threads.
 *   y   in, [batch,row_count,values]
 *   dy  out, the same, of the mean over all queries; 0 in the rows of facts */
attn_recall_sums attn_recall_loss(const attn_recall *recall, int64_t step, int threads, const void *y, void *dy);

#endif
