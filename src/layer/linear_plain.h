/* Linear projections in loops of our own: what linear_plain.c shares out, and linear_plain_level.h computes. */
#ifndef LAYER_LINEAR_PLAIN_H
#define LAYER_LINEAR_PLAIN_H

#include "layer/linear_backend.h"

/* A matrix as it stands in memory. One of its strides is 1. Strides in elements. */
typedef struct plain_matrix {
    attn_dtype dtype;
    const void *data;
    int64_t row_stride, column_stride;
} plain_matrix;

/* c [rows,columns] = a [rows,depth] b [depth,columns] + bias [columns], or c += a b. Every element of c is one sum, in
 * rising order of depth, so that its bits do not depend on how c is cut into tiles. */
typedef struct plain_product {
    int64_t rows, columns, depth;
    plain_matrix a, b;
    const void *bias; /* of a's dtype; NULL: none */
    void *c;
    attn_dtype c_dtype; /* that of a or its accumulator type */
    int64_t c_stride;
    bool add;                        /* then c is of the accumulator type */
    int64_t tile_rows, tile_columns; /* what a task computes, and of it */
    int64_t unit_rows, unit_columns; /* the multiples that fill registers */
    int64_t tiles_across;            /* tasks beside each other */
} plain_product;

/* One instruction-set level. */
typedef struct plain_level {
    int64_t (*unit_rows)(attn_dtype accumulator), (*unit_columns)(attn_dtype accumulator);
    /* Computes a tile.
     *   scratch  room for its sums, for PLAIN_DEPTH of its rows and of its columns, and for PLAIN_DEPTH of one unit
     *            of them, all in whole units and in the accumulator type */
    void (*task)(const plain_product *product, int64_t tile, void *scratch);
} plain_level;

/* PLAIN_DEPTH: what of the depth is packed at a time. PLAIN_TILE: at most the rows, and the columns, of a tile; more is
 * less packing for each product, and a task's sums and packed operands still fit in a second-level cache. */
enum { PLAIN_DEPTH = 256, PLAIN_TILE = 480 };

/* What the rows of the table do (linear_backend.h), with products by a level. */
attn_status attn_linear_plain_create(const plain_level *level, attn_linear *linear, attn_error *error);
void attn_linear_plain_destroy(void *memory);
void attn_linear_plain_forward(attn_linear *linear, const void *x, const void *w, const void *b, void *y);
void attn_linear_plain_data(attn_linear *linear, const void *dy, const void *w, attn_dtype dx_dtype, bool add,
                            void *dx);
void attn_linear_plain_weights(attn_linear *linear, const void *dy, const void *x, void *dw, void *db);

#endif
