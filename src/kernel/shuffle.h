/* What the kernels in vector types need of the compiler: loops unrolled in full, two vectors interleaved (the low
 * halves, and the high halves), and every other 16 bytes of two vectors (LANES), or every other element within 16 bytes
 * (PAIRS): the even ones, and the odd ones. The includer defines VECTOR_BYTES. */
#ifndef KERNEL_SHUFFLE_H
#define KERNEL_SHUFFLE_H

#include "core/unroll.h"

#define ZIP_2_LOW 0, 2
#define ZIP_2_HIGH 1, 3
#define ZIP_4_LOW 0, 4, 1, 5
#define ZIP_4_HIGH 2, 6, 3, 7
#define ZIP_8_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_8_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define ZIP_16_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_16_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LANES_FLOAT(place) LANES_FLOAT_##place
#define LANES_DOUBLE(place) LANES_DOUBLE_##place
#define PAIRS_FLOAT(place) PAIRS_FLOAT_##place
#define PAIRS_DOUBLE(place) PAIRS_DOUBLE_##place
#if VECTOR_BYTES == 16
#define LANES_FLOAT_EVEN 0, 1, 2, 3
#define LANES_FLOAT_ODD 4, 5, 6, 7
#define LANES_DOUBLE_EVEN 0, 1
#define LANES_DOUBLE_ODD 2, 3
#define PAIRS_FLOAT_EVEN 0, 2, 4, 6
#define PAIRS_FLOAT_ODD 1, 3, 5, 7
#define PAIRS_DOUBLE_EVEN 0, 2
#define PAIRS_DOUBLE_ODD 1, 3
#elif VECTOR_BYTES == 32
#define LANES_FLOAT_EVEN 0, 1, 2, 3, 8, 9, 10, 11
#define LANES_FLOAT_ODD 4, 5, 6, 7, 12, 13, 14, 15
#define LANES_DOUBLE_EVEN 0, 1, 4, 5
#define LANES_DOUBLE_ODD 2, 3, 6, 7
#define PAIRS_FLOAT_EVEN 0, 2, 8, 10, 4, 6, 12, 14
#define PAIRS_FLOAT_ODD 1, 3, 9, 11, 5, 7, 13, 15
#define PAIRS_DOUBLE_EVEN 0, 4, 2, 6
#define PAIRS_DOUBLE_ODD 1, 5, 3, 7
#else
#define LANES_FLOAT_EVEN 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define LANES_FLOAT_ODD 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#define LANES_DOUBLE_EVEN 0, 1, 4, 5, 8, 9, 12, 13
#define LANES_DOUBLE_ODD 2, 3, 6, 7, 10, 11, 14, 15
#define PAIRS_FLOAT_EVEN 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define PAIRS_FLOAT_ODD 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#define PAIRS_DOUBLE_EVEN 0, 8, 2, 10, 4, 12, 6, 14
#define PAIRS_DOUBLE_ODD 1, 9, 3, 11, 5, 13, 7, 15
#endif
#if VECTOR_BYTES == 16
#define ZIP_FLOAT(half) ZIP_4_##half
#define ZIP_DOUBLE(half) ZIP_2_##half
#elif VECTOR_BYTES == 32
#define ZIP_FLOAT(half) ZIP_8_##half
#define ZIP_DOUBLE(half) ZIP_4_##half
#else
#define ZIP_FLOAT(half) ZIP_16_##half
#define ZIP_DOUBLE(half) ZIP_8_##half
#endif

#endif
