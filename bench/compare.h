/* Comparing what was computed with what a file expects, and writing what was computed. */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include "tensors.h"

/* What was computed as this rank has it: a block [batch,head_count,rows,width] of a larger array. */
typedef struct computed_block {
    const void *data;
    attn_dtype dtype;
    int64_t batch, head_begin, head_count;
    const attn_segments *rows;
    int64_t column_begin, width;
} computed_block;

/* The largest difference of an array; known on rank 0. */
typedef struct difference {
    double error;       /* largest attn_check_error */
    int64_t b, h, i, d; /* where it stands; d is 0 for lse */
    double got, want;   /* there */
} difference;

/* Collective over comm. Compares this rank's block with the numbers that are wanted there, dense, of the block's
 * extents. ATTN_MEMORY, ATTN_MPI. */
attn_status compare_block(MPI_Comm comm, const computed_block *got, const double *want, difference *out,
                          attn_error *error);

/* Collective over dist. Compares all of this rank's o, lse, dq, dk or dv (array ATTN_INPUT_EXPECTED_..) with the
 * file's. */
attn_status compare_array(attn_dist *dist, const tensors *arrays, attn_input *input, attn_input_array array,
                          difference *out, attn_error *error);

/* Collective over dist. Writes an input file: the inputs and settings of `input` as they are stored, and o and lse as
 * computed, in the computing type and its accumulator type. ATTN_ARGUMENT when it cannot be created. */
attn_status write_computed(attn_dist *dist, const tensors *arrays, attn_input *input, const char *path,
                           attn_error *error);

#endif
