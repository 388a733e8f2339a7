/* AdamW. Weights are updated a block at a time, which is rounded to the computing type while it is in the cache. */
#include <attn/optimiser.h>

#include <assert.h>
#include <math.h>
#include <stdbool.h>

/* BLOCK: elements of a block. PIECES: of a sum of squares, whatever the number of threads. */
enum { BLOCK = 2048, PIECES = 256 };

/* The formula with all that is the same for every element computed once. */
typedef struct factors {
    double scale, beta1, new1, beta2, new2; /* new: 1 - beta */
    double rate;                            /* schedule learning_rate / (1 - beta1^t) */
    double root;                            /* 1 / sqrt(1 - beta2^t) */
    double epsilon;
    double decay; /* schedule weight_decay: not taken from 1, where float32 would lose it */
} factors;

attn_status attn_adamw_check(const attn_adamw *settings, attn_error *error)
{
    const struct {
        const char *name, *accepted;
        double value;
        bool good;
    } checks[] = {
        {"learning_rate", "at least 0", settings->learning_rate, settings->learning_rate >= 0},
        {"beta1", "at least 0 and below 1", settings->beta1, settings->beta1 >= 0 && settings->beta1 < 1},
        {"beta2", "at least 0 and below 1", settings->beta2, settings->beta2 >= 0 && settings->beta2 < 1},
        {"epsilon", "above 0", settings->epsilon, settings->epsilon > 0},
        {"weight_decay", "at least 0", settings->weight_decay, settings->weight_decay >= 0},
        {"schedule", "at least 0", settings->schedule, settings->schedule >= 0},
    };

    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (!checks[i].good || !isfinite(checks[i].value))
            return attn_error_set(error, ATTN_ARGUMENT, "%s %g: must be %s", checks[i].name, checks[i].value,
                                  checks[i].accepted);
    return ATTN_OK;
}

static factors factors_of(const attn_adamw *s, int64_t t, double scale)
{
    return (factors){.scale = scale,
                     .beta1 = s->beta1,
                     .new1 = 1 - s->beta1,
                     .beta2 = s->beta2,
                     .new2 = 1 - s->beta2,
                     .rate = s->schedule * s->learning_rate / (1 - pow(s->beta1, (double)t)),
                     .root = 1 / sqrt(1 - pow(s->beta2, (double)t)),
                     .epsilon = s->epsilon,
                     .decay = s->schedule * s->weight_decay};
}

/* UPDATE(name, type, its square root): count elements from one on. */
#define UPDATE(name, real, square_root)                                                                                \
    static void name(const factors *f, const attn_adamw_arrays *arrays, int64_t first, int64_t count)                  \
    {                                                                                                                  \
        const real scale = (real)f->scale, beta1 = (real)f->beta1, new1 = (real)f->new1, beta2 = (real)f->beta2,       \
                   new2 = (real)f->new2, rate = (real)f->rate, root = (real)f->root, epsilon = (real)f->epsilon,       \
                   decay = (real)f->decay;                                                                             \
        const real *restrict const gradient = (const real *)arrays->gradient + first;                                  \
        real *restrict const w = (real *)arrays->weights + first;                                                      \
        real *restrict const m = (real *)arrays->m + first, *restrict const v = (real *)arrays->v + first;             \
                                                                                                                       \
        for (int64_t n = 0; n < count; n++) {                                                                          \
            const real g = scale * gradient[n];                                                                        \
            const real mean = beta1 * m[n] + new1 * g, square = beta2 * v[n] + new2 * (g * g);                         \
                                                                                                                       \
            m[n] = mean;                                                                                               \
            v[n] = square;                                                                                             \
            w[n] -= decay * w[n] + rate * mean / (root * square_root(square) + epsilon);                               \
        }                                                                                                              \
    }

UPDATE(update_float32, float, sqrtf)
UPDATE(update_float64, double, sqrt)

void attn_adamw_step(const attn_adamw *settings, int64_t t, double scale, const attn_adamw_arrays *arrays, int threads)
{
    const factors f = factors_of(settings, t, scale);
    const size_t size = attn_dtype_size(arrays->dtype);

    assert(t >= 1 && threads >= 1 && arrays->count >= 0);
    assert(arrays->dtype == attn_dtype_accumulator(arrays->dtype));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < arrays->count; first += BLOCK) {
        const int64_t count = arrays->count - first < BLOCK ? arrays->count - first : BLOCK;

        if (arrays->dtype == ATTN_FLOAT64)
            update_float64(&f, arrays, first, count);
        else
            update_float32(&f, arrays, first, count);
        if (arrays->copy != NULL)
            attn_convert(arrays->copy_dtype, (char *)arrays->copy + (size_t)first * attn_dtype_size(arrays->copy_dtype),
                         arrays->dtype, (const char *)arrays->weights + (size_t)first * size, (size_t)count);
    }
}

/* SQUARES(name, type): some sums beside each other, which vectorise and err less. */
#define SQUARES(name, real)                                                                                            \
    static double name(const void *array, int64_t begin, int64_t end)                                                  \
    {                                                                                                                  \
        const real *const x = array;                                                                                   \
        double sums[8] = {0}, all = 0;                                                                                 \
        int64_t n = begin;                                                                                             \
                                                                                                                       \
        for (; n + 8 <= end; n += 8)                                                                                   \
            for (int lane = 0; lane < 8; lane++)                                                                       \
                sums[lane] += (double)x[n + lane] * (double)x[n + lane];                                               \
        for (; n < end; n++)                                                                                           \
            sums[0] += (double)x[n] * (double)x[n];                                                                    \
        for (int lane = 0; lane < 8; lane++)                                                                           \
            all += sums[lane];                                                                                         \
        return all;                                                                                                    \
    }

SQUARES(squares_float32, float)
SQUARES(squares_float64, double)

double attn_adamw_squares(attn_dtype dtype, const void *array, int64_t count, int threads)
{
    const int64_t piece = count / PIECES + 1;
    double sums[PIECES], all = 0;

    assert(dtype == attn_dtype_accumulator(dtype));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int n = 0; n < PIECES; n++) {
        const int64_t begin = n * piece < count ? n * piece : count;
        const int64_t end = count - begin < piece ? count : begin + piece;

        sums[n] = dtype == ATTN_FLOAT64 ? squares_float64(array, begin, end) : squares_float32(array, begin, end);
    }
    for (int n = 0; n < PIECES; n++)
        all += sums[n];
    return all;
}

double attn_adamw_clip(double squares, double max_norm)
{
    const double norm = sqrt(squares);

    return norm <= max_norm ? 1 : max_norm / norm;
}
