/* A forward pass with all that lies between x and y, for people who follow it number by number and for tests: one rank,
 * float64, straight loops (src/layer/explain.c is written to be read). Small problems; no pass needs it. */
#ifndef ATTN_EXPLAIN_H
#define ATTN_EXPLAIN_H

#include <attn/layer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a layer computes, step by step, in the order of layer.h and problem.h. Dense float64 arrays. Self-attention:
 * Skv = Sq. Of attention alone (attn_explanation_make_attention) x, context, projected arrays and y are NULL. */
typedef struct attn_explanation {
    attn_layer_problem problem; /* copied; its arrays are borrowed */

    double *x;                                 /* [B,Sq,E] */
    double *context;                           /* [B,Skv,Ec]; NULL in self-attention */
    double *projection[ATTN_PROJECTION_COUNT]; /* weights [out,in]; NULL: not there */
    double *bias[ATTN_PROJECTION_COUNT];       /* [out]; NULL: not there */
    double *q_projected;                       /* [B,Hq,Sq,D] before the rotary embedding */
    double *k_projected;                       /* [B,Hkv,Skv,D]; both NULL without rotary embedding */
    double *q, *k, *v;                         /* [B,Hq,Sq,D], [B,Hkv,Skv,D], [B,Hkv,Skv,Dv]: what attention gets */

    double *products; /* [B,Hq,Sq,Skv] q_i . k_j, also of pairs that are masked */
    double *scores;   /* [B,Hq,Sq,Skv] s(i,j); -INFINITY where masked */
    double *weights;  /* [B,Hq,Sq,Skv] p(i,j), the softmax of a row of scores; 0 where masked */
    double *dropped;  /* [B,Hq,Sq,Skv] m(i,j) p(i,j) / (1 - dropout); NULL without dropout */
    double *lse;      /* [B,Hq,Sq] */
    double *o;        /* [B,Hq,Sq,Dv] the context vectors of each head */

    double *concat; /* [B,Sq,Hq Dv] the heads side by side */
    double *y;      /* [B,Sq,out_dim]; concat itself where there is no output projection */
} attn_explanation;

/* Not collective. Checks that the weights p have at most ATTN_WEIGHTS_MAX elements. ATTN_ARGUMENT. */
ATTN_API attn_status attn_explanation_check(const attn_problem *problem, attn_error *error);

/* Not collective. Computes a layer's forward pass.
 *   problem  in, valid (attn_layer_problem_check)
 *   weights  in, whole weights and biases in the problem's dtype; not read where `projected` is false
 *   x        in, [B,Sq,E], dense, in the problem's dtype
 *   context  in, [B,Skv,Ec]; NULL in self-attention
 *   out      out, destroyed by the caller; NULL on failure; destroy takes NULL
 * ATTN_ARGUMENT as attn_explanation_check, ATTN_MEMORY. */
ATTN_API attn_status attn_explanation_make(const attn_layer_problem *problem, const attn_layer_arrays *weights,
                                           const void *x, const void *context, attn_explanation **out,
                                           attn_error *error);

/* Not collective. The same for attention alone.
 *   problem  in, valid
 *   q, k, v  in, dense, in the problem's dtype */
ATTN_API attn_status attn_explanation_make_attention(const attn_problem *problem, const void *q, const void *k,
                                                     const void *v, attn_explanation **out, attn_error *error);

/* Not collective. */
ATTN_API void attn_explanation_destroy(attn_explanation *explanation);

/* A softmax and its output in progress, over some of the keys of one row: what an online softmax carries from block to
 * block, and what a rank that has some of the keys hands to others. weighted / sum is the output of these keys, and
 * max + log(sum) its lse. */
typedef struct attn_running_row {
    double max;       /* largest score so far; -INFINITY before the first visible key */
    double sum;       /* sum of exp(s - max) */
    double *weighted; /* [Dv] sum of exp(s - max) v, with dropout; the caller's */
} attn_running_row;

/* Not collective. Begins a row: no keys yet.
 *   row  out; row->weighted is set by the caller before, and must have Dv elements */
ATTN_API void attn_running_row_begin(const attn_explanation *explanation, attn_running_row *row);

/* Not collective. Takes one block of keys into a row: rescales what was summed before by exp(old max - new max), and
 * adds (Milakov and Gimelshein 2018, algorithm 3). Sinks are left out.
 *   b, h, i     batch, query head, row
 *   begin, end  in, the keys [begin, end), not taken before
 *   row         in out */
ATTN_API void attn_running_row_take(const attn_explanation *explanation, int64_t b, int64_t h, int64_t i, int64_t begin,
                                    int64_t end, attn_running_row *row);

#ifdef __cplusplus
}
#endif
#endif
