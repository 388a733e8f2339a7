/* A problem with random inputs and its exact result, computed from the definition pair by pair. */
#ifndef ATTN_TEST_FIXTURE_H
#define ATTN_TEST_FIXTURE_H

#include <attn/problem.h>
#include <attn/segments.h>

typedef struct fixture {
    attn_problem problem;
    void *q, *k, *v; /* global arrays in the problem's dtype */
    double *o, *lse; /* exact, from the rounded inputs */
    double max_score;
    void *d_o;            /* NULL before fixture_solve_gradients */
    double *dq, *dk, *dv; /* exact, the same */
} fixture;

#define PROBLEM(B, HQ, HKV, SQ, SKV, DQK, DV, TYPE)                                                                    \
    {                                                                                                                  \
        .shape =                                                                                                       \
            {.batch = B, .heads = HQ, .kv_heads = HKV, .seq = SQ, .kv_seq = SKV, .head_dim = DQK, .v_head_dim = DV},   \
        .dtype = TYPE, .mask = ATTN_MASK_FULL, .score = {                                                              \
            .scale = 0.3                                                                                               \
        }                                                                                                              \
    }

/* Makes the inputs and the exact result; asserts that the problem is valid. */
fixture fixture_make(const attn_problem *problem);

/* Computes the exact result again after the inputs were changed. */
void fixture_solve(fixture *f);

/* Makes a random do, and the exact gradients for it. */
void fixture_solve_gradients(fixture *f);
void fixture_drop(fixture *f);

/* B * heads * rows * width. */
int64_t fixture_elements(const attn_shape *shape, int64_t heads, int64_t rows, int64_t width);

/* The project's tolerance: 8 eps max(1, |s|) for 32 and 64 bits, 2 eps for 16. */
double fixture_tolerance(const fixture *f);

/* What a rank holds of a global [B,H,seq,width] array: some heads and some rows, dense. To be freed with free(). */
void *fixture_cut(const attn_shape *shape, attn_dtype dtype, const void *from, int64_t heads, int64_t seq,
                  int64_t width, int64_t head_begin, int64_t head_count, const attn_segments *rows);

#endif
