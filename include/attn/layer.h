/* Attention with trainable weights: projections to queries, keys and values, attention, and the projection of the
 * heads' outputs, distributed like everything else.
 *
 *   q = x Wq^T + bq    k = c Wk^T + bk    v = c Wv^T + bv      c: the context, or x itself (self-attention)
 *   q, k turned by their positions where there is a rotary embedding
 *   o = attention(q, k, v)                                     problem.h, each head for itself
 *   y = concat(o_0 .. o_Hq-1) Wo^T + bo                        without Wo: the concatenation itself
 *
 * Without projections (`projected` false) q = k = v = x, one head: attention as dot product and softmax alone.
 * Weights are [out,in]. Row h D + d of Wq is dimension d of head h; Wk, Wv and the columns of Wo alike.
 *
 * Sources: multi-head attention, Vaswani et al. 2017, section 3.2.2; grouped queries, Ainslie et al. 2023; rotary
 * embedding, Su et al. 2021, eq. 34; weights split by heads, Shoeybi et al. 2019 ("Megatron-LM"), section 3, with rows
 * split between the blocks, Korthikanti et al. 2022, section 4.2.
 *
 * Distribution over a grid Ps x Ph: each rank holds the weights of its heads (with Ph = 1: all weights). The rows of
 * a sequence part belong to the Ph ranks of a head group in shares: x, the context, y and their gradients are split by
 * rows over all ranks, so that a layer takes what the layer before it gave.
 */
#ifndef ATTN_LAYER_H
#define ATTN_LAYER_H

#include <attn/dist.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The linear projections. X(NAME, text) */
#define ATTN_PROJECTION_LIST(X)                                                                                        \
    X(QUERY, "query")                                                                                                  \
    X(KEY, "key")                                                                                                      \
    X(VALUE, "value")                                                                                                  \
    X(OUT, "out_proj")

typedef enum attn_projection {
#define ATTN_PROJECTION_ENUM(name, text) ATTN_PROJECTION_##name,
    ATTN_PROJECTION_LIST(ATTN_PROJECTION_ENUM)
#undef ATTN_PROJECTION_ENUM
        ATTN_PROJECTION_COUNT
} attn_projection;

/* Which elements of a head are turned together. X(NAME, text, meaning) */
#define ATTN_ROTARY_LIST(X)                                                                                            \
    X(NONE, "none", "no rotary embedding")                                                                             \
    X(HALF, "half", "element d with d + dim / 2, as GPT-NeoX and Llama's published weights")                           \
    X(INTERLEAVED, "interleaved", "element 2 d with 2 d + 1, as the paper and GPT-J")

typedef enum attn_rotary_style {
#define ATTN_ROTARY_ENUM(name, text, meaning) ATTN_ROTARY_##name,
    ATTN_ROTARY_LIST(ATTN_ROTARY_ENUM)
#undef ATTN_ROTARY_ENUM
        ATTN_ROTARY_COUNT
} attn_rotary_style;

/* The first dim elements of each head of q and k are turned in pairs: pair d of 0 <= d < dim / 2 at position i by the
 * angle i theta^(-2 d / dim). Query row i stands at i' = i + Skv - Sq, key row j at j. */
typedef struct attn_rotary {
    attn_rotary_style style;
    double theta; /* > 0; 10000 in the paper */
    int64_t dim;  /* even, 2 <= dim <= D */
} attn_rotary;

/* What a layer computes; a plain value. */
typedef struct attn_layer_problem {
    attn_problem attention;           /* B, heads, lengths, D and Dv, type, mask, scale and dropout of its attention */
    int64_t embed_dim;                /* E, width of x */
    int64_t context_dim;              /* Ec, width of the context; 0: self-attention */
    int64_t out_dim;                  /* rows of Wo, width of y; 0: no output projection, y is Hq Dv wide */
    bool projected;                   /* false: no weights; then E = D = Dv, one head, no context and no Wo */
    bool bias[ATTN_PROJECTION_COUNT]; /* which projections have one */
    attn_rotary rotary;
} attn_layer_problem;

/* Not collective. Names a projection ("query"), or a rotary style ("half"). */
ATTN_API const char *attn_projection_name(attn_projection projection);
ATTN_API const char *attn_rotary_style_name(attn_rotary_style style);

/* Not collective. Finds a rotary style by its name.
 *   style  out, unchanged when there is none of that name
 * Returns whether there is one. */
ATTN_API bool attn_rotary_style_find(const char *name, attn_rotary_style *style);

/* Not collective. Checks a layer: its attention, widths, and rotary embedding. ATTN_ARGUMENT with the name and value
 * at fault. */
ATTN_API attn_status attn_layer_problem_check(const attn_layer_problem *problem, attn_error *error);

/* Not collective. Tells the extents of a weight, [out,in]; both 0 for a projection that the layer does not have. */
ATTN_API int64_t attn_layer_weight_out(const attn_layer_problem *problem, attn_projection projection);
ATTN_API int64_t attn_layer_weight_in(const attn_layer_problem *problem, attn_projection projection);

/* Not collective. Tells the width of y: out_dim, or Hq Dv without Wo. */
ATTN_API int64_t attn_layer_out_dim(const attn_layer_problem *problem);

/* Not collective. Counts the FLOP of a forward and of a backward pass: 2 for each weight and row (backward 4), and
 * those of attention (attn_flops_forward, attn_flops_backward). Bias, rotary embedding and exponentials are not
 * counted. */
ATTN_API double attn_layer_flops_forward(const attn_layer_problem *problem);
ATTN_API double attn_layer_flops_backward(const attn_layer_problem *problem);

/* How the heads' outputs become y. X(NAME, text, meaning) */
#define ATTN_LAYER_OUTPUT_LIST(X)                                                                                      \
    X(ALLGATHER, "allgather", "a rank gets all head outputs of its rows, and projects these with the whole weight")    \
    X(REDUCE_SCATTER, "reduce-scatter", "each rank projects its heads, the products are summed and scattered")

typedef enum attn_layer_output {
    /* The one that takes less time on the most loaded rank: by the bytes it sends for head outputs or sums, with a
     * backward pass for their gradients and that of the weight too, over the rate of a link, and by its FLOP over that
     * of its threads, both of attn_machine_default. ALLGATHER when equal. */
    ATTN_LAYER_OUTPUT_AUTO,
#define ATTN_LAYER_OUTPUT_ENUM(name, text, meaning) ATTN_LAYER_OUTPUT_##name,
    ATTN_LAYER_OUTPUT_LIST(ATTN_LAYER_OUTPUT_ENUM)
#undef ATTN_LAYER_OUTPUT_ENUM
        ATTN_LAYER_OUTPUT_COUNT
} attn_layer_output;

/* How several heads are computed; the results are the same but for rounding. X(NAME, text, meaning) */
#define ATTN_LAYER_FORM_LIST(X)                                                                                        \
    X(FUSED, "fused", "one projection for all heads of a rank, one attention over them")                               \
    X(STACKED, "stacked", "each head by itself, as a stack of single-head layers, outputs concatenated")

typedef enum attn_layer_form {
#define ATTN_LAYER_FORM_ENUM(name, text, meaning) ATTN_LAYER_FORM_##name,
    ATTN_LAYER_FORM_LIST(ATTN_LAYER_FORM_ENUM)
#undef ATTN_LAYER_FORM_ENUM
        ATTN_LAYER_FORM_COUNT
} attn_layer_form;

/* What the caller fixes; zero and NULL mean auto. */
typedef struct attn_layer_options {
    attn_plan_options attention; /* its combine is not read; pass: backward where there will be one */
    attn_layer_output output;    /* 0: auto */
    attn_layer_form form;        /* 0: fused */
} attn_layer_options;

/* A rectangle of a weight [out,in] (or of a bias [out]: its rows). */
typedef struct attn_weight_block {
    int64_t row_begin, row_count;
    int64_t column_begin, column_count;
} attn_weight_block;

/* One array for each projection, of the block that a rank holds (attn_layer_block), dense; NULL where there is none. */
typedef struct attn_layer_arrays {
    void *weight[ATTN_PROJECTION_COUNT];
    void *bias[ATTN_PROJECTION_COUNT];
} attn_layer_arrays;

typedef struct attn_layer attn_layer;

/* Collective over comm. Plans the attention, makes the groups and allocates all memory of the passes.
 *   comm     in, a duplicate is used
 *   problem  in, the same on every rank; copied, its arrays are borrowed until destroy
 *   out      out, NULL on failure, on all ranks alike; destroy (collective) takes NULL
 * ATTN_ARGUMENT, ATTN_UNSUPPORTED (as attn_plan_make), ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_layer_create(MPI_Comm comm, const attn_layer_problem *problem,
                                       const attn_layer_options *options, attn_layer **out, attn_error *error);
ATTN_API void attn_layer_destroy(attn_layer *layer);

/* Not collective. The problem, the plan of its attention, and the choices made; borrowed until destroy. */
ATTN_API const attn_layer_problem *attn_layer_problem_of(const attn_layer *layer);
ATTN_API const attn_plan *attn_layer_plan(const attn_layer *layer);
ATTN_API attn_layer_output attn_layer_output_of(const attn_layer *layer);

/* Not collective. The rows of x and y that this rank holds, and those of the context (of self-attention: the rows of
 * x); borrowed until destroy. */
ATTN_API const attn_segments *attn_layer_rows(const attn_layer *layer);
ATTN_API const attn_segments *attn_layer_context_rows(const attn_layer *layer);

/* Not collective. The block of a weight that this rank holds, and of which it gets the gradient; empty for a projection
 * that the layer does not have. Every element is held by at least one rank. */
ATTN_API attn_weight_block attn_layer_block(const attn_layer *layer, attn_projection projection);

/* Collective. Makes a forward pass, and keeps what a backward pass needs where the plan's pass is backward.
 *   weights  in, in the problem's dtype
 *   x        in, [B,rows,E], dense, in the problem's dtype
 *   context  in, [B,context rows,Ec]; NULL in self-attention
 *   y        out, [B,rows,out_dim]
 *   seconds  out, [ATTN_PHASE_COUNT], s, this rank's phases
 * Returns ATTN_OK or ATTN_MPI. */
ATTN_API attn_status attn_layer_forward(attn_layer *layer, const attn_layer_arrays *weights, const void *x,
                                        const void *context, void *y, double seconds[ATTN_PHASE_COUNT],
                                        attn_error *error);

/* Collective. Makes the backward pass that belongs to the last forward pass; its weights, x and context are unchanged.
 *   dy         in, [B,rows,out_dim]
 *   dx         out, [B,rows,E], in the problem's dtype; NULL, on all ranks: not needed
 *   d_context  out, [B,context rows,Ec]; NULL in self-attention, or, on all ranks: not needed
 *   gradients  out, sums over all rows of all ranks, alike on all ranks that hold an element, in the accumulator type
 *   seconds    out, as above
 * Returns ATTN_OK or ATTN_MPI. */
ATTN_API attn_status attn_layer_backward(attn_layer *layer, const attn_layer_arrays *weights, const void *x,
                                         const void *context, const void *dy, void *dx, void *d_context,
                                         const attn_layer_arrays *gradients, double seconds[ATTN_PHASE_COUNT],
                                         attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
