/* What the kernels in vector types need of the compiler: loops unrolled in full, and two vectors interleaved (the low
 * halves, and the high halves). The includer defines VECTOR_BYTES. */
#ifndef KERNEL_SHUFFLE_H
#define KERNEL_SHUFFLE_H

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define ZIP_2_LOW 0, 2
#define ZIP_2_HIGH 1, 3
#define ZIP_4_LOW 0, 4, 1, 5
#define ZIP_4_HIGH 2, 6, 3, 7
#define ZIP_8_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_8_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define ZIP_16_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_16_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
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
