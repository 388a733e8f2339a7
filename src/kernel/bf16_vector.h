/* Vectors of 16 lanes for the bfloat16 kernels: float32 in the softmax, pairs of bfloat16 in the products. */
#ifndef KERNEL_BF16_VECTOR_H
#define KERNEL_BF16_VECTOR_H

#define VECTOR_BYTES 64
#include "core/log2.h"
#include "kernel/shuffle.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

enum { WIDTH = 16 };

#define EXPONENT16 0x7f80 /* of a bfloat16: all set in infinities and NaN */

/* 2^x, relative error 2.9e-6, as 2^floor(x) (1 + ...): exactly 1 for 0, 0 for -inf, NaN for NaN. A weight is rounded to
 * 8 bits afterwards, and 3e-6 in the sum is 3e-6 in lse. The polynomial is the minimax one on [0, 1] with p(0) = 1
 * exactly (found with Lawson's algorithm). Wants flush to zero: subnormal results would be slow. */
static inline __m512 exp2_lanes(__m512 x)
{
    const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* x - floor(x), 0 for -inf */
    __m512 p = _mm512_set1_ps(0x1.b7f734p-7f);

    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.abf868p-5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.ee2452p-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.62d6c6p-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    return _mm512_scalef_ps(p, x); /* takes the floor of x */
}

/* tanh(y), odd: (1 - e) / (1 + e) with e = exp(-2 |y|), and y - y^3 / 3 + 2 y^5 / 15 where 1 - e would cancel. */
static inline __m512 tanh_lanes(__m512 y)
{
    const __m512 magnitude = _mm512_abs_ps(y), square = _mm512_mul_ps(y, y), one = _mm512_set1_ps(1);
    const __m512 e = exp2_lanes(_mm512_mul_ps(magnitude, _mm512_set1_ps((float)(-2 * LOG2_E))));
    const __m512 far = _mm512_div_ps(_mm512_sub_ps(one, e), _mm512_add_ps(one, e));
    __m512 near = _mm512_set1_ps(2.0f / 15);
    __m512 t;

    near = _mm512_fmadd_ps(near, square, _mm512_set1_ps(-1.0f / 3));
    near = _mm512_fmadd_ps(_mm512_mul_ps(near, square), magnitude, magnitude);
    t = _mm512_mask_mov_ps(far, _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(0.125f), _CMP_LT_OQ), near);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(t), _mm512_castps_si512(y),
                                                         _mm512_set1_epi32(INT32_MIN), 0xd8)); /* sign of y */
}

/* Two vectors rounded to bfloat16, as pairs: first in the low halves. Half a unit is added and the rest cut off; that
 * rounds ties away from 0, not to even, and takes fewer instructions than converting and interleaving. */
static inline __m512i pair_lanes(__m512 first, __m512 second)
{
    const __m512i half = _mm512_set1_epi32(0x8000);
    const __m512i low = _mm512_add_epi32(_mm512_castps_si512(first), half);
    const __m512i high = _mm512_add_epi32(_mm512_castps_si512(second), half);

    return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(low, 16), high);
}

static inline __m512 zip_low(__m512 a, __m512 b)
{
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}

static inline __m512 zip_high(__m512 a, __m512 b)
{
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
                                  b);
}

/* 16 x 16 elements of 32 bits: each round interleaves the first half of the vectors with the second. */
static inline __attribute__((always_inline)) void transpose_lanes(__m512 m[WIDTH])
{
    UNROLL
    for (int round = 1; round < WIDTH; round *= 2) {
        __m512 zipped[WIDTH];

        UNROLL
        for (int n = 0; n < WIDTH / 2; n++) {
            zipped[2 * n] = zip_low(m[n], m[n + WIDTH / 2]);
            zipped[2 * n + 1] = zip_high(m[n], m[n + WIDTH / 2]);
        }
        UNROLL
        for (int n = 0; n < WIDTH; n++)
            m[n] = zipped[n];
    }
}

/* The first `count` of 32 (16) elements; none for count <= 0. */
static inline __mmask32 first_of_32(int64_t count)
{
    return count >= 32 ? 0xffffffffu : count <= 0 ? 0 : (1u << count) - 1;
}

static inline __mmask16 first_of_16(int64_t count)
{
    return (__mmask16)(first_of_32(count) & 0xffffu);
}

/* Which bfloat16 numbers are infinities or NaN. */
static inline __mmask32 find_specials(__m512i x)
{
    const __m512i exponent = _mm512_set1_epi16(EXPONENT16);

    return _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent);
}

/* Pairs of bfloat16 numbers times a power of two or 0, which rounds nothing. */
static inline __m512i multiply_pairs(__m512i pairs, __m512 factor)
{
    const __m512 first = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    const __m512 second = _mm512_castsi512_ps(_mm512_andnot_si512(_mm512_set1_epi32(0xffff), pairs));

    return pair_lanes(_mm512_mul_ps(first, factor), _mm512_mul_ps(second, factor));
}

#endif
