#include "layer/recall.h"

#include "core/checked.h"

#include <attn/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Random numbers of one sequence of a step: one for the value of each key and the key of each query, which have numbers
 * facts <= row < seq, and one for the key of the first fact. */
static int64_t draw(const attn_recall *r, int64_t step, int64_t batch, int64_t number, int64_t bound)
{
    const uint64_t sequence = (uint64_t)step * (uint64_t)r->batch + (uint64_t)batch;

    return attn_random_below(r->seed, ATTN_STREAM_TASK, sequence * (uint64_t)(r->seq + 1) + (uint64_t)number, bound);
}

int64_t attn_recall_key(const attn_recall *r, int64_t step, int64_t batch, int64_t row)
{
    if (row >= r->facts)
        return draw(r, step, batch, row, r->facts);
    return (row + draw(r, step, batch, r->seq, r->facts)) % r->facts;
}

int64_t attn_recall_value(const attn_recall *r, int64_t step, int64_t batch, int64_t key)
{
    return draw(r, step, batch, key, r->values);
}

int64_t attn_recall_queries(const attn_recall *r)
{
    return r->batch * (r->seq - r->facts);
}

/* An array of rows x columns elements, or NULL. */
static void *allocate(int64_t rows, int64_t columns, size_t size)
{
    int64_t bytes;

    return attn_int64_multiply(rows, columns, &bytes) && attn_int64_multiply(bytes, (int64_t)size, &bytes)
               ? attn_aligned_alloc((size_t)bytes)
               : NULL;
}

attn_status attn_recall_create(const attn_training *training, const attn_segments *rows, attn_recall *out,
                               attn_error *error)
{
    const attn_shape *const shape = &training->layer.attention.shape;
    const attn_dtype dtype = training->layer.attention.dtype;
    const int64_t embed = training->layer.embed_dim, facts = shape->seq / 2, values = training->layer.out_dim;
    const int64_t key_width = embed / 2, value_width = embed - key_width;

    *out = (attn_recall){.seed = training->seed,
                         .dtype = dtype,
                         .batch = shape->batch,
                         .seq = shape->seq,
                         .facts = facts,
                         .key_width = key_width,
                         .value_width = value_width,
                         .values = values,
                         .row_count = rows->rows,
                         .rows = allocate(rows->rows, 1, sizeof(int64_t)),
                         .keys = allocate(facts, key_width, attn_dtype_size(dtype)),
                         .answers = allocate(values + 1, value_width, attn_dtype_size(dtype)),
                         .losses = allocate(shape->batch, rows->rows, sizeof(double)),
                         .hits = allocate(shape->batch, rows->rows, sizeof(bool))};
    if (out->rows == NULL || out->keys == NULL || out->answers == NULL || out->losses == NULL || out->hits == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the task of %lld rows", (long long)rows->rows);
    for (int64_t n = 0; n < rows->rows; n++)
        out->rows[n] = attn_segments_global(rows, n);
    attn_random_fill(training->seed, ATTN_STREAM_EMBEDDING, 0, (size_t)(facts * key_width), dtype, out->keys);
    attn_random_fill(training->seed, ATTN_STREAM_EMBEDDING, (uint64_t)(facts * key_width),
                     (size_t)((values + 1) * value_width), dtype, out->answers);
    return ATTN_OK;
}

void attn_recall_release(attn_recall *r)
{
    free(r->rows);
    free(r->keys);
    free(r->answers);
    free(r->losses);
    free(r->hits);
    *r = (attn_recall){.rows = NULL};
}

void attn_recall_rows(const attn_recall *r, int64_t step, int threads, void *x)
{
    const size_t size = attn_dtype_size(r->dtype);
    const size_t key_bytes = (size_t)r->key_width * size, value_bytes = (size_t)r->value_width * size;

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < r->batch * r->row_count; line++) {
        const int64_t batch = line / r->row_count, row = r->rows[line % r->row_count];
        const int64_t key = attn_recall_key(r, step, batch, row);
        const int64_t answer = row < r->facts ? attn_recall_value(r, step, batch, key) : r->values;
        char *const to = (char *)x + (size_t)line * (key_bytes + value_bytes);

        memcpy(to, r->keys + (size_t)key * key_bytes, key_bytes);
        memcpy(to + key_bytes, r->answers + (size_t)answer * value_bytes, value_bytes);
    }
}

/* One query: -log softmax(y)[right], and the gradient times scale. */
static double query_loss(const attn_recall *r, int64_t right, double scale, const char *y, char *dy, bool *hit)
{
    double most = -INFINITY, sum = 0;
    const double target = attn_load(r->dtype, y, (size_t)right);

    *hit = true;
    for (int64_t c = 0; c < r->values; c++) {
        const double score = attn_load(r->dtype, y, (size_t)c);

        most = fmax(most, score);
        *hit = *hit && (c == right || score < target); /* false for NaN */
    }
    for (int64_t c = 0; c < r->values; c++)
        sum += exp(attn_load(r->dtype, y, (size_t)c) - most);
    for (int64_t c = 0; c < r->values; c++) {
        const double share = exp(attn_load(r->dtype, y, (size_t)c) - most) / sum;

        attn_store(r->dtype, dy, (size_t)c, scale * (share - (c == right ? 1 : 0)));
    }
    return log(sum) + most - target;
}

attn_recall_sums attn_recall_loss(const attn_recall *r, int64_t step, int threads, const void *y, void *dy)
{
    const size_t line_bytes = (size_t)r->values * attn_dtype_size(r->dtype);
    const double scale = 1 / (double)attn_recall_queries(r);
    const int64_t lines = r->batch * r->row_count;
    attn_recall_sums sums = {0, 0};

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < lines; line++) {
        const int64_t batch = line / r->row_count, row = r->rows[line % r->row_count];
        char *const out = (char *)dy + (size_t)line * line_bytes;

        if (row < r->facts) {
            memset(out, 0, line_bytes);
            r->losses[line] = 0;
            r->hits[line] = false;
        } else {
            const int64_t key = attn_recall_key(r, step, batch, row);

            r->losses[line] = query_loss(r, attn_recall_value(r, step, batch, key), scale,
                                         (const char *)y + (size_t)line * line_bytes, out, &r->hits[line]);
        }
    }
    for (int64_t line = 0; line < lines; line++) {
        sums.loss += r->losses[line];
        sums.right += r->hits[line];
    }
    return sums;
}
