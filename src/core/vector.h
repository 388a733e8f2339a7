/* Vectors of one arithmetic type at one instruction-set level, with 2^x and tanh for them: what the kernels'
 * softmax takes, and what the probe of exponentials measures. Included for each type by files that are compiled with
 * the flags of a level
 * and define
 *   REAL, WORD, SWORD  float, uint32_t, int32_t   or   double, uint64_t, int64_t
 *   MANTISSA           bits of the fraction of REAL: 23 or 52
 *   FN(name)           the name with a suffix of its own
 *   VECTOR_BYTES       of a vector
 *   VECTOR_MAX(x, y)   optional: x > y ? x : y in one instruction
 */
#include "core/log2.h"

typedef REAL FN(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef WORD FN(bits) __attribute__((vector_size(VECTOR_BYTES)));
typedef SWORD FN(ints) __attribute__((vector_size(VECTOR_BYTES)));

#define VEC FN(vec)
#define BITS FN(bits)
#define INTS FN(ints)

static inline VEC FN(splat)(REAL x)
{
    return x - (VEC){0};
}

static inline VEC FN(load)(const REAL *from)
{
    VEC v;

    memcpy(&v, from, sizeof v);
    return v;
}

static inline void FN(store)(REAL *to, VEC v)
{
    memcpy(to, &v, sizeof v);
}

static inline VEC FN(select)(INTS where, VEC yes, VEC no)
{
    return (VEC)(((BITS)where & (BITS)yes) | (~(BITS)where & (BITS)no));
}

/* x > y ? x : y, so that of a NaN and a number y is the result. */
static inline VEC FN(max)(VEC x, VEC y)
{
#ifdef VECTOR_MAX
    return VECTOR_MAX(x, y);
#else
    return FN(select)(x > y, x, y);
#endif
}

/* The largest relative error of the polynomial is 2.6e-9 (float) and 1.8e-17 (double). */
#if MANTISSA == 23
#define EXP2_MIN -127.0f
#define EXP2_SHIFT (0x1.8p23f + 127)
#define EXP2_COEFFICIENTS                                                                                              \
    {                                                                                                                  \
        0x1.62e432p-1f, 0x1.ebfbe2p-3f, 0x1.c6ae72p-5f, 0x1.3b270ep-7f, 0x1.5f7276p-10f, 0x1.470b4ap-13f               \
    }
#else
#define EXP2_MIN -1023.0
#define EXP2_SHIFT (0x1.8p52 + 1023)
#define EXP2_COEFFICIENTS                                                                                              \
    {                                                                                                                  \
        6.93147180559945730e-01, 2.40226506959100972e-01, 5.55041086647903928e-02, 9.61812910760700274e-03,            \
            1.33335581534399657e-03, 1.54035304415721294e-04, 1.52527273851938683e-05, 1.32154426753298228e-06,        \
            1.01806476592341388e-07, 7.07257041281442338e-09, 4.07807192958833690e-10                                  \
    }
#endif

/* 2^x in two factors, 2^x = (1 + *fraction) * *power with |fraction| < 0.42. x is rounded up to EXP2_MIN first, where
 * *power is 0. The polynomial is the minimax one on [-1/2, 1/2] with p(0) = 1 exactly (found with the Remez algorithm).
 * Added to EXP2_SHIFT, the integer part of x stands in the low bits, with the bias of an exponent. */
static inline void FN(exp2_parts)(VEC x, VEC *fraction, VEC *power)
{
    static const REAL c[] = EXP2_COEFFICIENTS;
    const VEC bounded = FN(max)(FN(splat)(EXP2_MIN), x); /* a NaN stays one */
    const VEC shifted = bounded + EXP2_SHIFT;
    const VEC r = bounded - (shifted - EXP2_SHIFT);
    VEC p = FN(splat)(c[sizeof c / sizeof c[0] - 1]);

    for (int n = (int)(sizeof c / sizeof c[0]) - 2; n >= 0; n--)
        p = p * r + c[n];
    *fraction = p * r;
    *power = (VEC)((BITS)shifted << MANTISSA);
}

/* 2^x for x <= 0 (a little more is harmless); 0 for x <= EXP2_MIN and -inf, NaN for NaN. */
static inline VEC FN(exp2)(VEC x)
{
    VEC fraction, power;

    FN(exp2_parts)(x, &fraction, &power);
    return fraction * power + power;
}

/* tanh(y) = (1 - e) / (1 + e), e = exp(-2 |y|), with 1 - e formed without cancellation. */
static inline VEC FN(tanh)(VEC y)
{
    const INTS negative = y < 0;
    const VEC magnitude = FN(select)(negative, -y, y);
    VEC fraction, power, one_less, e, t;

    FN(exp2_parts)(magnitude * (REAL)(-2 * LOG2_E), &fraction, &power);
    e = fraction * power + power;
    one_less = (1 - power) - fraction * power;
    t = one_less / (1 + e);
    return FN(select)(negative, -t, t);
}

#undef EXP2_MIN
#undef EXP2_SHIFT
#undef EXP2_COEFFICIENTS
