/* Counter-based random numbers: the value of an element depends on (seed, stream, global index) alone.
 *
 * So any rank can make its part, a checker can make any element, and the data do not depend on the number of ranks.
 * Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11) from Random123.
 */
#ifndef ATTN_RANDOM_H
#define ATTN_RANDOM_H

#include <attn/dtype.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Independent streams of one seed. */
typedef enum attn_stream {
    ATTN_STREAM_Q,
    ATTN_STREAM_K,
    ATTN_STREAM_V,
    ATTN_STREAM_DO,
    ATTN_STREAM_SINKS,
    ATTN_STREAM_DOCUMENTS,
    ATTN_STREAM_SAMPLE_ROWS,
    ATTN_STREAM_CASE_ORDER,
    ATTN_STREAM_TEST,
    ATTN_STREAM_BOOTSTRAP,
    ATTN_STREAM_WEIGHTS,
    ATTN_STREAM_EMBEDDING,
    ATTN_STREAM_TASK
} attn_stream;

/* Draws one number: uniform on [0, 2^64), the generator's own words, from which a caller makes any other distribution
 * with the same independence of who draws. */
ATTN_API uint64_t attn_random_bits(uint64_t seed, attn_stream stream, uint64_t index);

/* Draws one number: uniform on [0, bound), bound > 0. */
ATTN_API int64_t attn_random_below(uint64_t seed, attn_stream stream, uint64_t index, int64_t bound);

/* Draws one number: standard normal (Box and Muller 1958, in double). */
ATTN_API double attn_random_normal(uint64_t seed, attn_stream stream, uint64_t index);

/* Fills array[0..count) with the standard normals of index begin .. begin + count - 1, rounded to dtype.
 *   array  out, [count] elements of dtype */
ATTN_API void attn_random_fill(uint64_t seed, attn_stream stream, uint64_t begin, size_t count, attn_dtype dtype,
                               void *array);

/* Dropout. The weight of batch b, query head h, row i and key j (global numbers) is kept when 16 random bits are at
 * least attn_dropout_threshold. They are those of number j mod 8, from the lowest on, of the 128 of the Philox block
 * with the seed as its key and the counter
 *   (j / 8, i, b Hq + h, ATTN_DROPOUT_USE)
 * which no other number of this library comes from. So one block serves 8 keys of a row. j / 8, i and b Hq + h must be
 * below 2^32. */
enum { ATTN_DROPOUT_KEYS = 8 };
#define ATTN_DROPOUT_USE UINT32_C(0x80000000)

/* Rounds a probability 0 <= dropout < 1 to a multiple of 2^-16, in units of it, and at most 65535: the probability
 * with which weights are dropped differs from what was asked for by at most 2^-17 (2^-16 at the upper end), under 1e-5,
 * while what is kept is multiplied by exactly 1 / (1 - dropout). */
ATTN_API uint32_t attn_dropout_threshold(double dropout);

/* Tells whether dropout keeps a weight; always when the threshold is 0.
 *   threshold  of attn_dropout_threshold
 *   head       b Hq + h */
ATTN_API bool attn_dropout_keeps(uint32_t threshold, uint64_t seed, int64_t head, int64_t i, int64_t j);

#ifdef __cplusplus
}
#endif
#endif
