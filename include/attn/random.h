/* Counter-based random numbers: the value of an element depends on (seed, stream, global index) alone.
 *
 * So any rank can make its part, a checker can make any element, and the data do not depend on the number of ranks.
 * Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11) from Random123.
 */
#ifndef ATTN_RANDOM_H
#define ATTN_RANDOM_H

#include <attn/dtype.h>

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
    ATTN_STREAM_BOOTSTRAP
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

#ifdef __cplusplus
}
#endif
#endif
