/* 16-bit floating point numbers as bit patterns: IEEE binary16 and bfloat16.
 *
 * Every conversion to 16 bits rounds once, to nearest even. No branches and no subnormal operands, so that loops over
 * these functions vectorise and do not depend on flush-to-zero settings.
 *   binary16  1 sign, 5 exponent (bias 15), 10 fraction bits
 *   bfloat16  the upper half of a binary32: 1 sign, 8 exponent (bias 127), 7 fraction bits
 */
#ifndef ATTN_CORE_HALF_H
#define ATTN_CORE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t attn_float_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float attn_float_of_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float attn_float_from_bfloat16(uint16_t h)
{
    return attn_float_of_bits((uint32_t)h << 16);
}

static inline uint16_t attn_bfloat16_from_float(float x)
{
    const uint32_t bits = attn_float_bits(x);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16; /* carries into the exponent, up to inf */
    const uint32_t quiet = (bits >> 16) | 0x40u;                           /* keeps a NaN a NaN */

    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

static inline float attn_float_from_float16(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7fffu) << 13;
    const uint32_t exponent = magnitude & (0x1fu << 23);
    const uint32_t normal = magnitude + (112u << 23);  /* bias 15 to 127 */
    const uint32_t special = magnitude + (224u << 23); /* exponent 31 to 255: infinity and NaN */
    /* A subnormal f 2^-24 is (1 + f 2^-10) 2^-14 - 2^-14. */
    const float subnormal = attn_float_of_bits(magnitude + (113u << 23)) - attn_float_of_bits(113u << 23);
    const uint32_t finite = exponent == 0 ? attn_float_bits(subnormal) : normal;

    return attn_float_of_bits((uint32_t)(h & 0x8000u) << 16 | (exponent == 0x1fu << 23 ? special : finite));
}

static inline uint16_t attn_float16_from_float(float x)
{
    const uint32_t bits = attn_float_bits(x), magnitude = bits & 0x7fffffffu;
    const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    /* Adding 1/2, whose last bit is worth 2^-24, lets the addition itself round to binary16's subnormal spacing. */
    const uint32_t subnormal = attn_float_bits(attn_float_of_bits(magnitude) + 0.5f) - (126u << 23);
    const uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    const uint32_t finite = magnitude < 113u << 23 ? subnormal : normal;
    const uint32_t bounded = magnitude < 143u << 23 ? finite : 0x7c00u;

    return (uint16_t)((bits >> 16 & 0x8000u) | (magnitude > 0x7f800000u ? nan : bounded));
}

/* Rounds a double to float by truncation with the last bit set when inexact ("round to odd", Boldo and Melquiond 2008).
 * Rounding that to a type with at least two bits less gives what rounding the double once would have given. */
static inline float attn_float_to_odd(double x)
{
    const float nearest = (float)x;
    const double back = (double)nearest;
    uint32_t bits = attn_float_bits(nearest);

    bits -= (back < 0 ? -back : back) > (x < 0 ? -x : x) ? 1u : 0u;
    bits |= back != x ? 1u : 0u;
    return attn_float_of_bits(bits);
}

static inline uint16_t attn_float16_from_double(double x)
{
    return attn_float16_from_float(attn_float_to_odd(x));
}

static inline uint16_t attn_bfloat16_from_double(double x)
{
    return attn_bfloat16_from_float(attn_float_to_odd(x));
}

#endif
