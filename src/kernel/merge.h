/* Partial results: the softmax of a row over some of its keys, (o, lse), both in the accumulator type. Two that saw
 * different keys merge into that of all of them (FlashDecoding, Dao et al. 2023; Milakov and Gimelshein 2018, eq. 4):
 *
 *   lse = log(exp(lse_a) + exp(lse_b)),   o = exp(lse_a - lse) o_a + exp(lse_b - lse) o_b
 *
 * A partial result without a key is o = 0, lse = -inf; it leaves the other as it is, bit for bit, and two of them make
 * another. Merging is commutative and, but for rounding, associative: whoever merges keeps to a fixed order.
 */
#ifndef KERNEL_MERGE_H
#define KERNEL_MERGE_H

#include <attn/dtype.h>

#include <stdint.h>

/* Merges `rows` rows of another partial result into one.
 *   dtype        in, ATTN_FLOAT32 or ATTN_FLOAT64, of all arrays
 *   o            inout, [rows] rows of `width` elements, o_stride elements apart
 *   lse          inout, [rows]
 *   lse_low      inout, [rows], what lse has lost to rounding, 0 at first: carried along, the error of lse does not
 *                grow with the number of merges; NULL: it is dropped
 *   other_o      in, [rows] rows of `width` elements, other_stride elements apart, not overlapping o
 *   other_lse    in, [rows] */
void attn_merge(attn_dtype dtype, int64_t rows, int64_t width, void *o, int64_t o_stride, void *lse, void *lse_low,
                const void *other_o, int64_t other_stride, const void *other_lse);

/* Adds the sink of a row, exp(sink) in the denominator, after all its keys were merged.
 *   o     inout, [width]
 *   lse   inout, [1]
 *   sink  in, finite */
void attn_merge_sink(attn_dtype dtype, int64_t width, void *o, void *lse, double sink);

#endif
