/* Random numbers: Philox as in the paper, independence of how a range is cut, and the normal distribution. */
#include "harness.h"

#include <attn/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Philox4x32-10, Salmon et al. 2011, section 4.3. */
static void philox(uint32_t counter[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = UINT64_C(0xD2511F53) * counter[0], p1 = UINT64_C(0xCD9E8D57) * counter[2];
        const uint32_t c1 = counter[1], c3 = counter[3];

        counter[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        counter[1] = (uint32_t)p1;
        counter[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        counter[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* Random123's known answers, for the Philox of this test and for the library's. */
static void test_known_answers(void)
{
    uint32_t zero[4] = {0}, ones[4] = {~0u, ~0u, ~0u, ~0u};
    uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    const uint32_t want[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};

    philox(zero, 0, 0);
    philox(ones, ~0u, ~0u);
    philox(pi, 0xa4093822, 0x299f31d0);
    CU_ASSERT_EQUAL(memcmp(zero, want[0], sizeof zero), 0);
    CU_ASSERT_EQUAL(memcmp(ones, want[1], sizeof ones), 0);
    CU_ASSERT_EQUAL(memcmp(pi, want[2], sizeof pi), 0);
    CU_ASSERT_EQUAL(attn_random_bits(0, (attn_stream)0, 0), UINT64_C(0xe169c58d6627e8d5));
}

static void test_bits(void)
{
    const uint64_t seeds[] = {0, 1, UINT64_C(0x123456789abcdef0), UINT64_MAX};
    const uint64_t indices[] = {0, 1, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};

    for (size_t s = 0; s < 4; s++)
        for (unsigned stream = 0; stream <= ATTN_STREAM_BOOTSTRAP; stream++)
            for (size_t i = 0; i < 5; i++) {
                uint32_t c[4] = {(uint32_t)indices[i], (uint32_t)(indices[i] >> 32), stream, 0};

                philox(c, (uint32_t)seeds[s], (uint32_t)(seeds[s] >> 32));
                CU_ASSERT_EQUAL(attn_random_bits(seeds[s], (attn_stream)stream, indices[i]),
                                (uint64_t)c[1] << 32 | c[0]);
            }
}

/* The transform against the C library's logarithm, sine and cosine, and the words at the ends of their range. */
static void test_normal_values(void)
{
    const double pi = 3.14159265358979323846;
    double most = 0;

    for (uint64_t pair = 0; pair < 20000; pair++) {
        uint32_t c[4] = {(uint32_t)(pair / 2), 0, ATTN_STREAM_TEST, 1};
        const uint32_t *const w = &c[2 * (pair % 2)];
        double r, angle;

        philox(c, 5, 0);
        r = sqrt(-2 * log((w[0] + 0.5) * 0x1p-32));
        angle = 2 * pi * (w[1] + 0.5) * 0x1p-32;
        most = fmax(most, fabs(attn_random_normal(5, ATTN_STREAM_TEST, 2 * pair) - r * cos(angle)));
        most = fmax(most, fabs(attn_random_normal(5, ATTN_STREAM_TEST, 2 * pair + 1) - r * sin(angle)));
    }
    CU_ASSERT(most < 1e-14);
}

static void test_fill_is_by_index(void)
{
    enum { COUNT = 1111 };
    static double whole[COUNT], part[COUNT], one[1];
    const uint64_t origin = (UINT64_C(1) << 34) - 555;

    for (int t = 0; t < ATTN_DTYPE_COUNT; t++) {
        const attn_dtype dtype = (attn_dtype)t;
        const size_t size = attn_dtype_size(dtype);
        unsigned wrong = 0;

        attn_random_fill(9, ATTN_STREAM_K, origin, COUNT, dtype, whole);
        for (size_t i = 0; i < COUNT; i++) {
            attn_store(dtype, one, 0, attn_random_normal(9, ATTN_STREAM_K, origin + i));
            wrong += memcmp(one, (char *)whole + i * size, size) != 0;
        }
        for (size_t begin = 0; begin < 13; begin++) {
            for (size_t count = 0; count <= COUNT - begin; count += 1 + count / 2 + begin) {
                memset(part, 0x5a, sizeof part);
                attn_random_fill(9, ATTN_STREAM_K, origin + begin, count, dtype, part);
                wrong += memcmp(part, (char *)whole + begin * size, count * size) != 0;
                wrong += count < COUNT && ((unsigned char *)part)[count * size] != 0x5a;
            }
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

static void test_normal_moments(void)
{
    enum { COUNT = 1000000 };
    double *const x = malloc(COUNT * sizeof *x);
    double mean = 0, variance = 0, cubes = 0, fourth = 0, neighbour = 0;
    unsigned beyond = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(x);
    attn_random_fill(1, ATTN_STREAM_Q, 0, COUNT, ATTN_FLOAT64, x);
    for (size_t i = 0; i < COUNT; i++) {
        mean += x[i] / COUNT;
        variance += x[i] * x[i] / COUNT;
        cubes += x[i] * x[i] * x[i] / COUNT;
        fourth += x[i] * x[i] * x[i] * x[i] / COUNT;
        neighbour += i > 0 ? x[i] * x[i - 1] / COUNT : 0;
        beyond += fabs(x[i]) > 1.959963984540054;
    }
    /* Five standard deviations of each estimate. */
    CU_ASSERT(fabs(mean) < 5e-3);
    CU_ASSERT(fabs(variance - 1) < 5 * sqrt(2.0) * 1e-3);
    CU_ASSERT(fabs(cubes) < 5 * sqrt(15.0) * 1e-3);
    CU_ASSERT(fabs(fourth - 3) < 5 * sqrt(96.0) * 1e-3);
    CU_ASSERT(fabs(neighbour) < 5e-3);
    CU_ASSERT(fabs(beyond / (double)COUNT - 0.05) < 5 * sqrt(0.05 * 0.95) * 1e-3);
    free(x);
}

static void test_streams_differ(void)
{
    double a[64], b[64];
    unsigned equal = 0;

    attn_random_fill(3, ATTN_STREAM_Q, 0, 64, ATTN_FLOAT64, a);
    attn_random_fill(3, ATTN_STREAM_K, 0, 64, ATTN_FLOAT64, b);
    for (size_t i = 0; i < 64; i++)
        equal += a[i] == b[i];
    attn_random_fill(4, ATTN_STREAM_Q, 0, 64, ATTN_FLOAT64, b);
    for (size_t i = 0; i < 64; i++)
        equal += a[i] == b[i];
    CU_ASSERT_EQUAL(equal, 0);
}

static void test_below(void)
{
    enum { BOUND = 7, COUNT = 70000 };
    const int64_t large = INT64_C(3) << 61; /* a quarter of the 64-bit words is drawn again */
    int64_t counts[BOUND] = {0}, upper = 0;
    double chi = 0;

    for (uint64_t i = 0; i < COUNT; i++) {
        const int64_t x = attn_random_below(2, ATTN_STREAM_TEST, i, BOUND);
        const int64_t y = attn_random_below(2, ATTN_STREAM_TEST, i, large);

        CU_ASSERT_FATAL(x >= 0 && x < BOUND && y >= 0 && y < large);
        counts[x]++;
        upper += y >= large / 2;
    }
    for (int i = 0; i < BOUND; i++)
        chi += pow((double)counts[i] - COUNT / BOUND, 2) / (COUNT / BOUND);
    CU_ASSERT(chi < 30); /* 6 degrees of freedom: probability 4e-5 */
    CU_ASSERT(fabs((double)upper / COUNT - 0.5) < 5 * 0.5 / sqrt(COUNT));
    CU_ASSERT_EQUAL(attn_random_below(2, ATTN_STREAM_TEST, 0, 1), 0);
}

/* The bits of a weight by the definition: number j mod 8 of 16 bits in the block of (j / 8, i, head). */
static void test_dropout_by_definition(void)
{
    const uint64_t seeds[] = {0, UINT64_C(0xfedcba9876543210)};
    const int64_t heads[] = {0, 3, UINT32_MAX}, rows[] = {0, 1, 12345, UINT32_MAX};

    for (size_t s = 0; s < 2; s++)
        for (size_t h = 0; h < 3; h++)
            for (size_t r = 0; r < 4; r++)
                for (int64_t j = 0; j < 40; j++) {
                    const int64_t key = s == 0 ? j : (INT64_C(1) << 35) - 1 - j;
                    uint32_t c[4] = {(uint32_t)(key / 8), (uint32_t)rows[r], (uint32_t)heads[h], 0x80000000u};
                    uint32_t bits;

                    philox(c, (uint32_t)seeds[s], (uint32_t)(seeds[s] >> 32));
                    bits = c[key % 8 / 2] >> (key % 2 * 16) & 0xffff;
                    CU_ASSERT(attn_dropout_keeps(0, seeds[s], heads[h], rows[r], key));
                    CU_ASSERT(attn_dropout_keeps(bits, seeds[s], heads[h], rows[r], key));
                    CU_ASSERT(!attn_dropout_keeps(bits + 1, seeds[s], heads[h], rows[r], key));
                }
    /* Known values: the weights of the first 24 keys of row 2, head 1, seed 7, at one half. */
    for (int64_t j = 0; j < 24; j++)
        CU_ASSERT_EQUAL(attn_dropout_keeps(32768, 7, 1, 2, j), 0x973e5d >> j & 1);
}

static void test_dropout_threshold(void)
{
    CU_ASSERT_EQUAL(attn_dropout_threshold(0), 0);
    CU_ASSERT_EQUAL(attn_dropout_threshold(0.1), 6554);
    CU_ASSERT_EQUAL(attn_dropout_threshold(0.5), 32768);
    CU_ASSERT_EQUAL(attn_dropout_threshold(0x1p-18), 0);
    CU_ASSERT_EQUAL(attn_dropout_threshold(1 - 0x1p-40), 65535);
}

/* The fraction that is dropped, within 5 standard deviations; and of weights beside each other in every direction how
 * often both are: within and across blocks, rows, heads and seeds. */
static void test_dropout_fraction(void)
{
    enum { HEADS = 4, ROWS = 100, KEYS = 1000, NEIGHBOURS = 6 };
    static const int64_t next[NEIGHBOURS][4] = {{0, 0, 0, 1}, {0, 0, 0, 8}, {0, 0, 1, 0},
                                                {0, 1, 0, 0}, {1, 0, 0, 0}, {0, 0, 1, 8}};
    static const double probabilities[] = {0.01, 0.1, 0.5, 0.9};
    const double count = (double)HEADS * ROWS * KEYS;

    for (size_t n = 0; n < sizeof probabilities / sizeof probabilities[0]; n++) {
        const double p = probabilities[n];
        const uint32_t t = attn_dropout_threshold(p);
        double dropped = 0, both[NEIGHBOURS] = {0};

        for (int64_t h = 0; h < HEADS; h++)
            for (int64_t i = 0; i < ROWS; i++)
                for (int64_t j = 0; j < KEYS; j++) {
                    if (attn_dropout_keeps(t, 11, h, i, j))
                        continue;
                    dropped++;
                    for (int m = 0; m < NEIGHBOURS; m++)
                        both[m] += !attn_dropout_keeps(t, 11 + (uint64_t)next[m][0], h + next[m][1], i + next[m][2],
                                                       j + next[m][3]);
                }
        CU_ASSERT(fabs(dropped / count - p) < 5 * sqrt(p * (1 - p) / count) + 1e-5);
        for (int m = 0; m < NEIGHBOURS; m++)
            CU_ASSERT(fabs(both[m] / dropped - p) < 5 * sqrt(p * (1 - p) / dropped) + 1e-5);
    }
}

static const attn_test tests[] = {
    {"known answers of Philox", test_known_answers},
    {"bits by seed, stream and index", test_bits},
    {"the transform to normals", test_normal_values},
    {"a fill does not depend on where it begins", test_fill_is_by_index},
    {"moments of a million normals", test_normal_moments},
    {"streams and seeds differ", test_streams_differ},
    {"bounded integers", test_below},
    {"dropout by its definition", test_dropout_by_definition},
    {"the resolution of dropout", test_dropout_threshold},
    {"dropout: fraction and independence", test_dropout_fraction},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/random", tests, sizeof tests / sizeof tests[0]);
}
