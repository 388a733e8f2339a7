/* Element types: every 16-bit pattern, rounding at and beside every tie, and all pairs of conversions. */
#include "harness.h"

#include <attn/dtype.h>

#include "core/half.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A 16-bit type by its definition. */
typedef struct format {
    attn_dtype dtype;
    int exponent_bits, fraction_bits;
} format;

static const format formats[] = {{ATTN_FLOAT16, 5, 10}, {ATTN_BFLOAT16, 8, 7}};

static double decode(format f, unsigned pattern)
{
    const int bias = (1 << (f.exponent_bits - 1)) - 1, all = (1 << f.exponent_bits) - 1;
    const int exponent = (int)(pattern >> f.fraction_bits) & all;
    const int fraction = (int)pattern & ((1 << f.fraction_bits) - 1);
    double magnitude;

    if (exponent == all)
        magnitude = fraction != 0 ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        magnitude = ldexp(fraction, 1 - bias - f.fraction_bits);
    else
        magnitude = ldexp(fraction + (1 << f.fraction_bits), exponent - bias - f.fraction_bits);
    return pattern & 0x8000u ? -magnitude : magnitude;
}

static unsigned encode(format f, double value)
{
    uint16_t pattern;

    attn_store(f.dtype, &pattern, 0, value);
    return pattern;
}

static unsigned encode_float(format f, float value)
{
    uint16_t pattern;

    attn_convert(f.dtype, &pattern, ATTN_FLOAT32, &value, 1);
    return pattern;
}

static void test_names(void)
{
    const char *const names[] = {"float64", "float32", "float16", "bfloat16"};
    attn_error error = ATTN_ERROR_INIT;
    attn_dtype found = ATTN_FLOAT16;

    for (int t = 0; t < ATTN_DTYPE_COUNT; t++) {
        CU_ASSERT_STRING_EQUAL(attn_dtype_name((attn_dtype)t), names[t]);
        TEST_OK(attn_dtype_parse(names[t], &found, &attn_test_error));
        CU_ASSERT_EQUAL(found, (attn_dtype)t);
    }
    found = ATTN_FLOAT16;
    CU_ASSERT_EQUAL(attn_dtype_parse("float", &found, &error), ATTN_ARGUMENT);
    CU_ASSERT_EQUAL(found, ATTN_FLOAT16);
    CU_ASSERT_STRING_EQUAL(error.message, "dtype 'float': must be float64, float32, float16 or bfloat16");
}

static void test_properties(void)
{
    const size_t sizes[] = {8, 4, 2, 2};

    for (int t = 0; t < ATTN_DTYPE_COUNT; t++) {
        const attn_dtype dtype = (attn_dtype)t;
        const double eps = attn_dtype_epsilon(dtype);
        double array[1];

        CU_ASSERT_EQUAL(attn_dtype_size(dtype), sizes[t]);
        CU_ASSERT_EQUAL(attn_dtype_accumulator(dtype), dtype == ATTN_FLOAT64 ? ATTN_FLOAT64 : ATTN_FLOAT32);
        attn_store(dtype, array, 0, 1 + eps);
        CU_ASSERT_EQUAL(attn_load(dtype, array, 0), 1 + eps);
        attn_store(dtype, array, 0, 1 + eps / 2);
        CU_ASSERT_EQUAL(attn_load(dtype, array, 0), 1);
    }
}

static void test_all_patterns(void)
{
    for (size_t n = 0; n < 2; n++) {
        const format f = formats[n];
        unsigned wrong = 0;

        for (unsigned p = 0; p < 65536; p++) {
            const uint16_t pattern = (uint16_t)p;
            const double want = decode(f, p), got = attn_load(f.dtype, &pattern, 0);

            if (isnan(want)) {
                wrong += !isnan(got) || !isnan(decode(f, encode(f, got))) || !isnan(decode(f, encode_float(f, NAN)));
                continue;
            }
            wrong += got != want || signbit(got) != signbit(want);
            wrong += encode(f, want) != p || encode_float(f, (float)want) != p;
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

/* Between two neighbours a < b: the middle goes to the even one, anything beside it to the nearer one. */
static void test_rounding(void)
{
    for (size_t n = 0; n < 2; n++) {
        const format f = formats[n];
        const unsigned infinity = encode(f, (double)INFINITY);
        unsigned wrong = 0;

        for (unsigned p = 0; p < infinity; p++) {
            const double a = decode(f, p);
            const double b = p + 1 < infinity ? decode(f, p + 1) : 2 * a - decode(f, p - 1);
            const double middle = a + (b - a) / 2;
            const unsigned even = p & 1u ? p + 1 : p;

            wrong += encode(f, middle) != even || encode(f, -middle) != (even | 0x8000u);
            wrong += encode(f, nextafter(middle, a)) != p || encode(f, nextafter(middle, b)) != p + 1;
            wrong += encode(f, -nextafter(middle, a)) != (p | 0x8000u);
            wrong += encode(f, -nextafter(middle, b)) != ((p + 1) | 0x8000u);
            wrong += encode_float(f, (float)middle) != even;
            wrong += encode_float(f, nextafterf((float)middle, 0)) != (p == 0 && middle == 0 ? 0 : p);
            wrong += encode_float(f, nextafterf((float)middle, (float)INFINITY)) != p + 1;
        }
        CU_ASSERT_EQUAL(wrong, 0);
        CU_ASSERT_EQUAL(encode(f, 1e300), infinity);
        CU_ASSERT_EQUAL(encode(f, -1e300), infinity | 0x8000u);
        CU_ASSERT_EQUAL(encode(f, 1e-300), 0);
        CU_ASSERT_EQUAL(encode(f, -1e-300), 0x8000u);
        CU_ASSERT_EQUAL(encode(f, -0.0), 0x8000u);
    }
}

/* 1 + 2^-11 is a tie of float16; a little more rounds up, although as a float it is that tie. */
static void test_double_rounds_once(void)
{
    CU_ASSERT_EQUAL(encode(formats[0], 1 + 0x1p-11), 0x3c00u);
    CU_ASSERT_EQUAL(encode(formats[0], 1 + 0x1p-11 + 0x1p-40), 0x3c01u);
    CU_ASSERT_EQUAL(encode(formats[0], 1 + 0x3p-11 - 0x1p-40), 0x3c01u);
    CU_ASSERT_EQUAL(encode(formats[1], 1 + 0x1p-8 + 0x1p-40), 0x3f81u);
    CU_ASSERT_EQUAL(encode(formats[1], -1 - 0x3p-8 + 0x1p-40), 0xbf81u);
    CU_ASSERT_EQUAL(encode(formats[0], 65520 - 0x1p-36), 0x7bffu);
    CU_ASSERT_EQUAL(encode(formats[0], 65520), 0x7c00u);
}

static double odd_value(size_t i)
{
    return ldexp(1 + 0.37 * sin((double)i), (int)(i * 7 % 60) - 30) * (i % 3 == 0 ? -1 : 1);
}

/* A loop over many elements gives what single elements give, for every pair of types and odd counts. */
static void test_convert_pairs(void)
{
    enum { MAX = 67 };
    double values[MAX], from[MAX + 1], to[MAX + 1];

    for (size_t i = 0; i < MAX; i++)
        values[i] = odd_value(i);
    for (int s = 0; s < ATTN_DTYPE_COUNT; s++) {
        for (int t = 0; t < ATTN_DTYPE_COUNT; t++) {
            for (size_t count = 0; count <= MAX; count += 1 + count % 9) {
                const size_t end = count * attn_dtype_size((attn_dtype)t);
                unsigned wrong = 0;

                attn_convert((attn_dtype)s, from, ATTN_FLOAT64, values, count);
                memset(to, 0x5a, sizeof to);
                attn_convert((attn_dtype)t, to, (attn_dtype)s, from, count);
                for (size_t i = 0; i < count; i++) {
                    double one;

                    attn_store((attn_dtype)t, &one, 0, attn_load((attn_dtype)s, from, i));
                    wrong += attn_load((attn_dtype)t, &one, 0) != attn_load((attn_dtype)t, to, i);
                }
                CU_ASSERT_EQUAL(wrong, 0);
                CU_ASSERT_EQUAL(((unsigned char *)to)[end], 0x5a);
            }
        }
    }
    attn_convert(ATTN_FLOAT64, values, ATTN_FLOAT64, values, MAX);
    CU_ASSERT_EQUAL(values[MAX - 1], odd_value(MAX - 1));
}

static void test_float_special(void)
{
    float x;

    attn_store(ATTN_FLOAT32, &x, 0, 1e300);
    CU_ASSERT_TRUE(isinf(x));
    attn_store(ATTN_FLOAT32, &x, 0, (double)NAN);
    CU_ASSERT_TRUE(isnan(x));
    attn_store(ATTN_FLOAT32, &x, 0, 0x1p-149);
    CU_ASSERT_EQUAL(x, 0x1p-149f);
}

static const attn_test tests[] = {
    {"names", test_names},
    {"sizes, epsilons, accumulators", test_properties},
    {"all 65536 patterns of both 16-bit types", test_all_patterns},
    {"ties and their neighbours", test_rounding},
    {"a double is rounded once", test_double_rounds_once},
    {"all pairs of types", test_convert_pairs},
    {"float32 overflow, NaN, subnormal", test_float_special},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/dtype", tests, sizeof tests / sizeof tests[0]);
}
