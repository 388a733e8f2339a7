/* Sums of columns: the gradient of a bias. */
#ifndef LAYER_LINEAR_SUMS_H
#define LAYER_LINEAR_SUMS_H

#include <attn/dtype.h>

/* sums [columns] = column sums of from [rows,columns], in the accumulator type of from's dtype. Bits do not depend on
 * the number of threads.
 *   stride   from row to row, in elements
 *   threads  OpenMP threads */
void attn_linear_sum_columns(attn_dtype dtype, const void *from, int64_t rows, int64_t columns, int64_t stride,
                             int threads, void *sums);

#endif
