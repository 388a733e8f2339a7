/* What linear projections reach beside the peak of multiply-adds: GFLOP/s of each row of the table, of the best of some
 * calls. Not a test, as no test asserts a time.
 *
 *   time_linear [ROWS [IN [OUT [THREADS]]]]      default 8192 768 2304 2 */
#include "harness.h"

#include <attn/memory.h>
#include <attn/probe.h>

#include "layer/linear.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FORWARD, DATA, WEIGHTS, PASSES, CALLS = 20 };

static const double ENOUGH = 0.4; /* s */

typedef struct arrays {
    void *x, *w, *b, *y, *dw, *db;
} arrays;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *filled(attn_dtype dtype, int64_t count)
{
    void *array = attn_aligned_alloc((size_t)count * attn_dtype_size(dtype));

    if (array == NULL)
        exit(4);
    for (int64_t i = 0; i < count; i++)
        attn_store(dtype, array, (size_t)i, (double)(i * 7 % 31 - 15) / 16);
    return array;
}

static double best_time(attn_linear *linear, const attn_linear_setup *s, const arrays *a, int pass)
{
    const double start = now();
    double best = 1e30;

    for (int call = 0; call < 2 || (call < CALLS && now() - start < ENOUGH); call++) {
        const double begin = now();
        double seconds;

        if (pass == FORWARD)
            attn_linear_forward(linear, a->x, a->w, a->b, a->y);
        else if (pass == DATA)
            attn_linear_backward_data(linear, a->y, a->w, s->dtype, false, a->x);
        else
            attn_linear_backward_weights(linear, a->y, a->x, a->dw, a->db);
        seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void time_type(const attn_linear_setup *s)
{
    const attn_dtype sums = attn_dtype_accumulator(s->dtype);
    const attn_probe_setup probe = {s->threads, 0.3, 1, 64e6};
    const double flop = 2.0 * (double)s->rows * (double)s->in * (double)s->out;
    attn_probe_result peak = {.best = 0};
    arrays a = {filled(s->dtype, s->rows * s->in),  filled(s->dtype, s->out * s->in), filled(s->dtype, s->out),
                filled(s->dtype, s->rows * s->out), filled(sums, s->out * s->in),     filled(sums, s->out)};

    for (size_t i = 0; i < attn_linear_backend_count(); i++) {
        const attn_linear_backend *const backend = attn_linear_backend_at(i);
        attn_linear *linear;

        if (!attn_linear_backend_computes(backend, s->dtype) ||
            attn_linear_create(backend, s, &linear, NULL) != ATTN_OK ||
            attn_probe_run(attn_probe_peak(s->dtype), &probe, &peak, NULL) != ATTN_OK)
            continue;
        printf("%-9s %-13s", attn_dtype_name(s->dtype), attn_linear_backend_name(backend));
        for (int pass = 0; pass < PASSES; pass++) {
            const double rate = flop / best_time(linear, s, &a, pass);

            printf("  %7.1f (%5.1f %%)", rate * 1e-9, 100 * rate / peak.best);
        }
        printf("\n");
        fflush(stdout);
        attn_linear_destroy(linear);
    }
    free(a.x);
    free(a.w);
    free(a.b);
    free(a.y);
    free(a.dw);
    free(a.db);
}

static int64_t argument(int argc, char **argv, int index, int64_t absent)
{
    return argc > index ? strtoll(argv[index], NULL, 10) : absent;
}

int main(int argc, char **argv)
{
    attn_linear_setup s = {.rows = argument(argc, argv, 1, 8192),
                           .in = argument(argc, argv, 2, 768),
                           .out = argument(argc, argv, 3, 2304),
                           .bias = true,
                           .backward = true,
                           .threads = (int)argument(argc, argv, 4, 2)};

    if (s.rows < 1 || s.in < 1 || s.out < 1 || s.threads < 1) {
        fprintf(stderr, "time_linear: [ROWS [IN [OUT [THREADS]]]], numbers of at least 1\n");
        return 2;
    }
    s.x_stride = s.w_stride = s.in;
    s.y_stride = s.out;
    printf("%lld x %lld to %lld, %d threads: GFLOP/s (%% of the peak of multiply-adds in the accumulator type)\n",
           (long long)s.rows, (long long)s.in, (long long)s.out, s.threads);
    printf("%-9s %-13s  %17s  %17s  %17s\n", "dtype", "by", "forward", "dx", "dw, db");
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        s.dtype = s.y_dtype = (attn_dtype)dtype;
        time_type(&s);
    }
    return 0;
}
