/* The counter of a block is (index low, index high, stream, use), the key is the seed. Different streams and different
 * uses therefore never share a block, for any seed. Dropout, whose index is longer, has a use of its own.
 *
 * The logarithm, sine and cosine of the Box-Muller transform are computed here from additions, multiplications,
 * divisions and square roots alone, which IEEE 754 rounds in one way only. The C library's own may differ in the last
 * bit between two kinds of nodes of one run, and then ranks would disagree about the data. */
#include <attn/random.h>

#include <Random123/philox.h>

#include <assert.h>
#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

enum { USE_BITS, USE_NORMAL, USE_BELOW };

#define NORMALS 4       /* a block of four words makes two pairs */
#define CHUNK_BLOCKS 64 /* blocks that attn_random_fill makes at a time */
#define HALF_PI 0x1.921fb54442d18p+0
#define SQRT_HALF_FRACTION UINT64_C(0x6a09e667f3bcd)
#define LN_2 0x1.62e42fefa39efp-1

static philox4x32_ctr_t block_of(uint64_t seed, attn_stream stream, uint64_t index, uint32_t use)
{
    const philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, use}};
    const philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};

    return philox4x32(counter, key);
}

uint64_t attn_random_bits(uint64_t seed, attn_stream stream, uint64_t index)
{
    const philox4x32_ctr_t block = block_of(seed, stream, index, USE_BITS);

    return (uint64_t)block.v[1] << 32 | block.v[0];
}

uint32_t attn_dropout_threshold(double dropout)
{
    const double units = floor(dropout * 65536 + 0.5);

    assert(dropout >= 0 && dropout < 1);
    return units < 65535 ? (uint32_t)units : 65535;
}

bool attn_dropout_keeps(uint32_t threshold, uint64_t seed, int64_t head, int64_t i, int64_t j)
{
    const philox4x32_ctr_t counter = {
        {(uint32_t)(j / ATTN_DROPOUT_KEYS), (uint32_t)i, (uint32_t)head, ATTN_DROPOUT_USE}};
    const philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    const int place = (int)(j % ATTN_DROPOUT_KEYS);

    return (philox4x32(counter, key).v[place / 2] >> (place % 2 * 16) & 0xffff) >= threshold;
}

int64_t attn_random_below(uint64_t seed, attn_stream stream, uint64_t index, int64_t bound)
{
    const uint64_t n = (uint64_t)bound, excess = (0 - n) % n; /* 2^64 mod n */

    assert(bound > 0);
    for (uint32_t use = USE_BELOW;; use++) {
        const philox4x32_ctr_t block = block_of(seed, stream, index, use);
        const uint64_t x = (uint64_t)block.v[1] << 32 | block.v[0];

        /* Values from the last multiple of n on would favour small results; they are drawn again. */
        if (x <= UINT64_MAX - excess)
            return (int64_t)(x % n);
    }
}

/* -ln((w + 1/2) / 2^32), with x = m 2^e, sqrt(1/2) <= m < sqrt(2), ln(m) = 2 atanh((m - 1) / (m + 1)). */
static inline double minus_log(uint32_t w)
{
    const double x = (double)w + 0.5;
    uint64_t bits, fraction;
    int64_t exponent;
    double m, s, z, series;

    memcpy(&bits, &x, sizeof bits);
    fraction = bits & UINT64_C(0xfffffffffffff);
    exponent = (int64_t)(bits >> 52) - 1023 + (fraction > SQRT_HALF_FRACTION);
    bits = fraction | (fraction > SQRT_HALF_FRACTION ? UINT64_C(1022) : UINT64_C(1023)) << 52;
    memcpy(&m, &bits, sizeof m);
    s = (m - 1) / (m + 1);
    z = s * s;
    series = 1.0 / 23;
    series = series * z + 1.0 / 21;
    series = series * z + 1.0 / 19;
    series = series * z + 1.0 / 17;
    series = series * z + 1.0 / 15;
    series = series * z + 1.0 / 13;
    series = series * z + 1.0 / 11;
    series = series * z + 1.0 / 9;
    series = series * z + 1.0 / 7;
    series = series * z + 1.0 / 5;
    series = series * z + 1.0 / 3;
    series = series * z + 1;
    return (double)(32 - exponent) * LN_2 - 2 * s * series;
}

/* Box and Muller: r = sqrt(-2 ln u1), (r cos(2 pi u2), r sin(2 pi u2)), u = (w + 1/2) / 2^32. */
static inline void normal_pair(uint32_t w1, uint32_t w2, double *out)
{
    const double r = sqrt(2 * minus_log(w1));
    /* The angle is quadrant * pi/2 + t with |t| <= pi/4; the reduction is exact in integers. */
    const uint32_t shifted = w2 + (UINT32_C(1) << 29);
    const uint32_t quadrant = shifted >> 30;
    const int32_t part = (int32_t)(shifted & 0x3fffffffu) - (INT32_C(1) << 29);
    const double t = ((double)part + 0.5) * (HALF_PI * 0x1p-30), z = t * t;
    double sine = 1.0 / 355687428096000;
    double cosine = 1.0 / 20922789888000;
    double x, y;

    sine = sine * z - 1.0 / 1307674368000;
    sine = sine * z + 1.0 / 6227020800;
    sine = sine * z - 1.0 / 39916800;
    sine = sine * z + 1.0 / 362880;
    sine = sine * z - 1.0 / 5040;
    sine = sine * z + 1.0 / 120;
    sine = sine * z - 1.0 / 6;
    sine = sine * z * t + t;
    cosine = cosine * z - 1.0 / 87178291200;
    cosine = cosine * z + 1.0 / 479001600;
    cosine = cosine * z - 1.0 / 3628800;
    cosine = cosine * z + 1.0 / 40320;
    cosine = cosine * z - 1.0 / 720;
    cosine = cosine * z + 1.0 / 24;
    cosine = cosine * z - 0.5;
    cosine = cosine * z + 1;
    x = quadrant & 1 ? sine : cosine;
    y = quadrant & 1 ? cosine : sine;
    out[0] = r * ((quadrant + 1) & 2 ? -x : x);
    out[1] = r * (quadrant & 2 ? -y : y);
}

/* The normals of blocks first .. first + count - 1, [count][NORMALS]. Two loops, so that the second one vectorises. */
static void normal_blocks(uint64_t seed, attn_stream stream, uint64_t first, size_t count, double *out)
{
    uint32_t words[CHUNK_BLOCKS * NORMALS];

    assert(count <= CHUNK_BLOCKS);
    for (size_t i = 0; i < count; i++) {
        const philox4x32_ctr_t block = block_of(seed, stream, first + i, USE_NORMAL);

        memcpy(&words[NORMALS * i], block.v, sizeof block.v);
    }
    for (size_t i = 0; i < count * NORMALS; i += 2)
        normal_pair(words[i], words[i + 1], &out[i]);
}

double attn_random_normal(uint64_t seed, attn_stream stream, uint64_t index)
{
    double normals[NORMALS];

    normal_blocks(seed, stream, index / NORMALS, 1, normals);
    return normals[index % NORMALS];
}

void attn_random_fill(uint64_t seed, attn_stream stream, uint64_t begin, size_t count, attn_dtype dtype, void *array)
{
    const size_t size = attn_dtype_size(dtype);
    double normals[CHUNK_BLOCKS * NORMALS];
    char *to = array;

    while (count > 0) {
        const size_t skip = (size_t)(begin % NORMALS);
        const size_t room = CHUNK_BLOCKS * NORMALS - skip, n = count < room ? count : room;

        normal_blocks(seed, stream, begin / NORMALS, (skip + n + NORMALS - 1) / NORMALS, normals);
        attn_convert(dtype, to, ATTN_FLOAT64, normals + skip, n);
        to += n * size;
        begin += n;
        count -= n;
    }
}
