/* One rank's linear projection y = x w^T + b and its gradients, set up once and executed many times. */
#ifndef LAYER_LINEAR_H
#define LAYER_LINEAR_H

#include <attn/dtype.h>
#include <attn/status.h>

#include <stdbool.h>

/* Row-major matrices. What may differ from dense is the distance of rows, in elements. */
typedef struct attn_linear_setup {
    int64_t rows;       /* of x and y; 0 is legal */
    int64_t in, out;    /* columns of x; columns of y */
    int64_t x_stride;   /* from row to row of x and dx, >= in */
    int64_t y_stride;   /* from row to row of y and dy, >= out */
    int64_t w_stride;   /* from row to row of w [out,in], >= in; gradients of w are dense [out,in] */
    attn_dtype dtype;   /* of x, w, b, y, dy and dx; sums are in attn_dtype_accumulator(dtype) */
    attn_dtype y_dtype; /* of y: dtype, or its accumulator type for a partial sum */
    bool bias;
    bool backward; /* backward passes will be called */
    int threads;   /* OpenMP threads, >= 1 */
} attn_linear_setup;

typedef struct attn_linear attn_linear;

/* A way to compute it; a row of a constant table, slowest first: `plain` loops for every type, also for wider
 * instruction sets, and `onednn` where the library was found. */
typedef struct attn_linear_backend attn_linear_backend;

size_t attn_linear_backend_count(void);
const attn_linear_backend *attn_linear_backend_at(size_t index);
const char *attn_linear_backend_name(const attn_linear_backend *backend);
bool attn_linear_backend_computes(const attn_linear_backend *backend, attn_dtype dtype);

/* Sets up a projection and allocates what its passes need.
 *   backend  in, NULL: the fastest that computes the type
 *   out      out, NULL on failure; destroy takes NULL
 * ATTN_UNSUPPORTED, ATTN_MEMORY. */
attn_status attn_linear_create(const attn_linear_backend *backend, const attn_linear_setup *setup, attn_linear **out,
                               attn_error *error);
void attn_linear_destroy(attn_linear *linear);

/* y = x w^T + b. b is not read without bias. Arrays do not overlap. */
void attn_linear_forward(attn_linear *linear, const void *x, const void *w, const void *b, void *y);

/* dx = dy w, or dx += dy w when add; dx is of dx_dtype: dtype, or its accumulator type (always when add). */
void attn_linear_backward_data(attn_linear *linear, const void *dy, const void *w, attn_dtype dx_dtype, bool add,
                               void *dx);

/* dw = dy^T x [out,in] and db = column sums of dy [out], in the accumulator type. db may be NULL. */
void attn_linear_backward_weights(attn_linear *linear, const void *dy, const void *x, void *dw, void *db);

#endif
