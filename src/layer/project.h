/* One projection of a layer on one rank: forward by blocks of lines, so that what a block gives is copied on while it
 * is in the cache; backward all lines at once. */
#ifndef LAYER_PROJECT_H
#define LAYER_PROJECT_H

#include "layer/linear.h"

typedef struct attn_project_setup {
    int64_t lines;
    int64_t block;   /* lines of a forward call, >= 1 */
    int64_t in, out; /* of this rank; 0: nothing to do */
    int64_t back;    /* rows of the weight, the last ones, that have a backward pass; <= out */
    attn_dtype dtype, y_dtype;
    bool bias, backward;
    int threads;
} attn_project_setup;

typedef struct attn_project attn_project;

/* Destroy takes NULL. ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_project_create(const attn_project_setup *setup, attn_project **out, attn_error *error);
void attn_project_destroy(attn_project *project);

/* y = x w^T + b of lines [begin, end), a block or what is left of the last one: begin is a multiple of the block.
 *   x  in, [lines,in]
 *   w  in, [out,in]; b [out], not read without bias
 *   y  out, [end - begin,out] */
void attn_project_forward(attn_project *project, int64_t begin, const void *x, const void *w, const void *b, void *y);

/* The line at which the block that begins at `begin` ends. */
int64_t attn_project_end(const attn_project *project, int64_t begin);

/* Of the last `back` rows of w: dw = dy^T x [back,in], db = column sums of dy [back] with a bias, accumulator type.
 *   dy  in, [lines,back]
 *   dw  out, of the whole weight and bias: the rows before are left as they are */
void attn_project_weights(attn_project *project, const void *dy, const void *x, void *dw, void *db);

/* dx = dy w, or dx += dy w when add, of the last `back` rows; w is the whole weight. */
void attn_project_data(attn_project *project, const void *dy, const void *w, attn_dtype dx_dtype, bool add, void *dx);

#endif
