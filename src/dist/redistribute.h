/* From rows to heads and back: an all-to-all in a group of n ranks that each own some rows of all heads, after which
 * each has all rows of the group for its share of the heads (Jacobs et al. 2023, "DeepSpeed Ulysses").
 *
 * Query heads are dealt evenly to within one; a rank receives the key-value heads that its query heads use, so that
 * with more ranks than key-value heads, or shares that cut a group, several receive the same one. Queries are put in
 * global order; keys and values stay as they came, one array for each rank that they came from. Rows of keys that
 * nobody sees do not move. Nothing is packed at home, where a share's heads stand side by side in each batch, so that
 * there is a message a batch.
 *
 * With hq/n query heads and h'/n key-value heads in each share and X = B rows D e bytes a head, a rank hands over
 * 2 (hq + h') (1 - 1/n) X of q, o, k and v, and hq (1 - 1/n) B rows accumulators of lse. Backward it is q, o, do and
 * dq, k and v, lse, and dk and dv in the type of their sums: [4 hq + 2 h' (1 + a)] (1 - 1/n) X beside lse, a = bytes of
 * a sum over e. Sums are accumulators where a key-value head comes from several ranks, which are added in rank order,
 * and of the type of the result otherwise. (o could stay at home if the kernel took rowsum(do o): 3 hq for 4 hq.) */
#ifndef DIST_REDISTRIBUTE_H
#define DIST_REDISTRIBUTE_H

#include "dist/steps.h"

typedef struct attn_redistribute attn_redistribute;

/* What moves. Plan and rows outlive it. */
typedef struct attn_redistribute_setup {
    const attn_plan *plan; /* problem, pass, transfer (blocking or nonblocking), threads */
    int members, mine;     /* >= 2 */
    const attn_part *part; /* heads at home, alike for all members */
    const attn_segments *const *q_rows, *const *kv_rows; /* [members] rows of each */
    const bool *kv_seen;                                 /* [members] whether anybody sees a key of a member */
    const attn_segments *all_q_rows;                     /* those of all members */
    int64_t kv_room;                                     /* rows that k and v have room for, at least those of all */
    attn_dtype dkv_dtype;                                /* of dk and dv at home */
    int64_t message_bytes;
    MPI_Comm comm; /* the members; predictions do not look at it */
} attn_redistribute_setup;

/* A share of the heads, global numbers. */
typedef struct attn_head_share {
    int64_t head_begin, head_count, kv_head_begin, kv_head_count;
} attn_head_share;

attn_head_share attn_redistribute_share(const attn_problem *problem, const attn_part *part, int members, int member);

/* The type in which sums of dk and dv are handed back. */
attn_dtype attn_redistribute_sum_dtype(const attn_redistribute_setup *setup);

/* What a rank has between coming and going; the arrays stay where they are from pass to pass. */
typedef struct attn_redistributed {
    attn_array q, o, lse, d_o, dq; /* [B,heads of the share,rows of all,D or Dv], o and lse: out of the forward pass */
    void *k, *v;                   /* for each member in turn [B,kv heads of the share,its rows,D or Dv] */
    void *dk, *dv;                 /* the same shapes, attn_redistribute_sum_dtype: sums over all that see them */
} attn_redistributed;

/* Not collective. For the plan's pass; of the backward pass for both. Destroy takes NULL.
 *   out  out, NULL on failure
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_redistribute_create(const attn_redistribute_setup *setup, attn_redistribute **out, attn_error *error);
void attn_redistribute_destroy(attn_redistribute *redistribute);

const attn_redistributed *attn_redistribute_arrays(const attn_redistribute *redistribute);

/* Collective over the members. Brings q, k and v here, and o and lse back. ATTN_MPI. */
attn_status attn_redistribute_forward_in(attn_redistribute *redistribute, const attn_exchange_call *call,
                                         attn_laps *laps, attn_error *error);
attn_status attn_redistribute_forward_out(attn_redistribute *redistribute, const attn_exchange_call *call,
                                          attn_laps *laps, attn_error *error);

/* Collective over the members. Brings q, k, v, o, lse and d_o here, and dq, dk and dv back. ATTN_MPI. */
attn_status attn_redistribute_backward_in(attn_redistribute *redistribute, const attn_exchange_call *call,
                                          attn_laps *laps, attn_error *error);
attn_status attn_redistribute_backward_out(attn_redistribute *redistribute, const attn_exchange_call *call,
                                           attn_laps *laps, attn_error *error);

/* Adds what a member sends and allocates in the plan's pass to *out. */
void attn_redistribute_predict(const attn_redistribute_setup *setup, attn_prediction *out);

#endif
