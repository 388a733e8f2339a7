/* Results with known answers, made without measuring. */
#ifndef ATTN_TEST_SYNTHETIC_H
#define ATTN_TEST_SYNTHETIC_H

#include "harness.h"

#include <attn/phase.h>
#include <attn/random.h>
#include <attn/result.h>
#include <attn/study.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A case; what is 0 or NULL has the default of `synthetic_add`. */
typedef struct synthetic {
    int64_t ranks, threads, grid_seq, grid_head;
    const char *exchange, *layout, *scaling, *input, *launch, *reason;
    int64_t seq, batch;
    double seconds; /* median; the nine samples are seconds * (1 + i / 64), i = -4 .. 4; 0: no samples */
    double flops;   /* 0: 1e9; negative: unknown */
    attn_case_status status;
    int64_t cores; /* cores available; 0: as many as threads */
    int unsettled;
    double noise;                      /* not 0: drawn samples instead, seconds * exp(noise * normal) */
    uint64_t draw;                     /* which */
    int64_t reps;                      /* how many; 0: 30 */
    double carried;                    /* first-order autocorrelation of the normals */
    double bytes, messages, imbalance; /* predicted; 0: none, none, 1 */
} synthetic;

/* The interval of the median of nine samples covers 96 % from the second to the eighth. */
#define SYNTHETIC_LO (1 - 3.0 / 64)
#define SYNTHETIC_HI (1 + 3.0 / 64)

static inline const char *synthetic_text(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static inline int64_t synthetic_integer(int64_t value, int64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static inline void synthetic_factors(const synthetic *s, attn_attributes *f)
{
    const int64_t ranks = synthetic_integer(s->ranks, 1), seq = synthetic_integer(s->seq, 1024);
    const int64_t head = synthetic_integer(s->grid_head, 1);

    attn_attributes_set_integer(f, "batch", synthetic_integer(s->batch, 1));
    attn_attributes_set_integer(f, "heads", 8);
    attn_attributes_set_integer(f, "kv_heads", 2);
    attn_attributes_set_integer(f, "seq", seq);
    attn_attributes_set_integer(f, "kv_seq", seq);
    attn_attributes_set_integer(f, "head_dim", 64);
    attn_attributes_set_integer(f, "v_head_dim", 64);
    attn_attributes_set_text(f, "dtype", "float32");
    attn_attributes_set_integer(f, "causal", 1);
    attn_attributes_set_integer(f, "window_left", -1);
    attn_attributes_set_integer(f, "window_right", -1);
    attn_attributes_set_real(f, "softcap", 0);
    attn_attributes_set_real(f, "scale", 0.125);
    attn_attributes_set_integer(f, "alibi", 0);
    attn_attributes_set_integer(f, "sinks", 0);
    attn_attributes_set_integer(f, "documents", 0);
    attn_attributes_set_text(f, "input", synthetic_text(s->input, ""));
    attn_attributes_set_text(f, "pass", "forward");
    attn_attributes_set_text(f, "kernel", "portable-avx512");
    attn_attributes_set_text(f, "exchange", synthetic_text(s->exchange, ranks / head > 1 ? "allgather" : "none"));
    attn_attributes_set_integer(f, "grid_seq", synthetic_integer(s->grid_seq, ranks / head));
    attn_attributes_set_integer(f, "grid_head", head);
    attn_attributes_set_text(f, "layout", synthetic_text(s->layout, ranks / head > 1 ? "zigzag" : "contiguous"));
    attn_attributes_set_text(f, "combine", "allgather");
    attn_attributes_set_integer(f, "ranks", ranks);
    attn_attributes_set_integer(f, "threads", synthetic_integer(s->threads, 1));
    attn_attributes_set_integer(f, "seed", 0);
    attn_attributes_set_text(f, "scaling", synthetic_text(s->scaling, "strong"));
}

static inline void synthetic_outcomes(const synthetic *s, attn_attributes *o)
{
    const int64_t threads = synthetic_integer(s->ranks, 1) * synthetic_integer(s->threads, 1);
    const int64_t cores = synthetic_integer(s->cores, threads);

    if (s->reason != NULL)
        attn_attributes_set_text(o, "reason", s->reason);
    if (s->flops >= 0)
        attn_attributes_set_real(o, "flops", s->flops > 0 ? s->flops : 1e9);
    attn_attributes_set_real(o, "bytes_predicted", s->bytes);
    attn_attributes_set_real(o, "messages_predicted", s->messages);
    attn_attributes_set_real(o, "imbalance_predicted", s->imbalance > 0 ? s->imbalance : 1);
    if (s->seconds > 0) {
        attn_attributes_set_real(o, "max_error", s->status == ATTN_CASE_INVALID ? 0.25 : 1.25e-7);
        attn_attributes_set_real(o, "tolerance", 1e-5);
        attn_attributes_set_integer(o, "converged", !s->unsettled);
        attn_attributes_set_real(o, "fma_peak", 16e9);
        attn_attributes_set_real(o, "compute_peak", 16e9);
        attn_attributes_set_text(o, "compute_level", "fma-float32-avx512");
        attn_attributes_set_real(o, "memory_bytes", 1e6);
        attn_attributes_set_real(o, "read_bandwidth", 8e9);
        attn_attributes_set_real(o, "bound_seconds", 1.0 / 16);
        attn_attributes_set_text(o, "bound", "compute");
    }
    attn_attributes_set_real(o, "ci", 0.95);
    attn_attributes_set_integer(o, "cores_available", cores);
    attn_attributes_set_integer(o, "oversubscribed", threads > cores);
}

/* The factor of a drawn sample. Skewed to the right and with stragglers, as times are: one in 20 takes three times the
 * noise more. */
static inline double synthetic_noise(const synthetic *s, int64_t rep, double *state)
{
    const uint64_t at = 4 * (uint64_t)rep;
    const double straggler = attn_random_below(s->draw, ATTN_STREAM_TEST, at, 20) == 0 ? 3 : 0;

    if (rep == 0)
        *state = attn_random_normal(s->draw, ATTN_STREAM_TEST, 4 * at + 1);
    else
        *state = s->carried * *state +
                 sqrt(1 - s->carried * s->carried) * attn_random_normal(s->draw, ATTN_STREAM_TEST, 4 * at + 2);
    return exp(s->noise * (*state + straggler));
}

/* Fills [reps][ranks][phases]: the slowest rank differs from repetition to repetition, the others take half as long. */
static inline void synthetic_samples(const synthetic *s, attn_result *r)
{
    double state = 0;

    r->reps = s->noise > 0 ? synthetic_integer(s->reps, 30) : 9;
    r->ranks = synthetic_integer(s->ranks, 1);
    r->phases = ATTN_PHASE_COUNT;
    r->samples = calloc((size_t)(r->reps * r->ranks * r->phases), sizeof *r->samples);
    for (int64_t rep = 0; rep < r->reps; rep++) {
        const double factor = s->noise > 0 ? synthetic_noise(s, rep, &state) : 1 + (double)((rep * 2) % 9 - 4) / 64;
        const double slowest = s->seconds * factor;

        for (int64_t rank = 0; rank < r->ranks; rank++)
            r->samples[(rep * r->ranks + rank) * r->phases] = rank == rep % r->ranks ? slowest : slowest / 2;
    }
}

static inline attn_results *synthetic_make(const synthetic *cases, size_t count)
{
    attn_results *results = calloc(1, sizeof *results);

    results->cases = calloc(count + 1, sizeof *results->cases);
    for (size_t c = 0; c < count; c++) {
        attn_result *r = NULL;

        TEST_OK(attn_result_create(&r, &attn_test_error));
        synthetic_factors(&cases[c], r->factors);
        synthetic_outcomes(&cases[c], r->outcomes);
        attn_attributes_id(r->factors, r->id);
        snprintf(r->launch_id, sizeof r->launch_id, "%s", synthetic_text(cases[c].launch, "launch-1"));
        r->status = cases[c].status;
        if (cases[c].seconds > 0)
            synthetic_samples(&cases[c], r);
        results->cases[results->count++] = r;
    }
    return results;
}

static inline void synthetic_release(attn_results *results)
{
    for (size_t c = 0; c < results->count; c++)
        attn_result_destroy(results->cases[c]);
    free(results->cases);
    free(results);
}

/* Everything that one of the printing functions prints; freed by the caller. */
typedef attn_status synthetic_printer(const attn_results *, attn_table_format, FILE *, attn_error *);

static inline char *synthetic_print(synthetic_printer *printer, const attn_results *results, attn_table_format format)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    TEST_OK(printer(results, format, stream, &attn_test_error));
    fclose(stream);
    return text;
}

static inline void synthetic_contains(const char *text, const char *part, int wanted, unsigned line)
{
    const int found = strstr(text, part) != NULL;

    if (found != wanted)
        printf("line %u: \"%s\" should %sbe in:\n%s\n", line, part, wanted ? "" : "not ", text);
    CU_ASSERT_EQUAL(found, wanted);
}

/* The table of cases with the usual metrics. */
static inline attn_status synthetic_cases(const attn_results *results, attn_table_format format, FILE *stream,
                                          attn_error *error)
{
    return attn_study_print_cases(results, NULL, 0, format, stream, error);
}

#define TEST_HAS(text, part) synthetic_contains((text), (part), 1, __LINE__)
#define TEST_HAS_NOT(text, part) synthetic_contains((text), (part), 0, __LINE__)

#endif
