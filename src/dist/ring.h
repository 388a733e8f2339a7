/* A ring over which keys and values travel while they are computed on: what exchanges that have one do, over all
 * ranks of a sequence group or some of them.
 *
 * Each of n members owns query rows and a part of the keys. At step s member r computes with the part of member r - s
 * (mod n), while it sends that part on to r + 1 and receives the next one from r - 1. A part stops at the last member
 * on its way that sees it. Two buffers take the parts in turn.
 *
 * Backward, sums of dk and dv travel one step behind the part that they belong to, each member adding its share, and
 * from the last member straight home. So the order of the sum is that of the ring from the owner on, whatever arrives
 * when. */
#ifndef DIST_RING_H
#define DIST_RING_H

#include "dist/steps.h"

typedef struct attn_ring attn_ring;

/* What travels. Plan, needs and parts outlive the ring. */
typedef struct attn_ring_setup {
    const attn_plan *plan;                /* problem, kernel, pass, threads */
    const attn_needs *needs;              /* between the members, in their order in the ring */
    int mine;                             /* this rank's member: its rows are those of the needs */
    int64_t head_begin, head_count;       /* query heads, global numbers; alike for all members */
    int64_t kv_head_begin, kv_head_count; /* their key-value heads, global numbers */
    /* [members] the arrays [B,kv heads,rows,D] (Dv) that make up a member's keys (values), one right after the other;
     * NULL: one array a member */
    const attn_step_parts *parts;
    attn_dtype dkv_dtype; /* of dk and dv at the end */
    /* lent: k_lent and v_lent, with room for the part with most rows, are one of the buffers; they may be where this
     * member's k and v are, which are written over then. */
    bool lent;
    void *k_lent, *v_lent;
    int64_t message_bytes;
    MPI_Comm comm; /* the members; predictions do not look at it */
} attn_ring_setup;

/* The setup of an exchange that is a ring of a whole sequence group. */
static inline attn_ring_setup attn_ring_of_group(const attn_group *group)
{
    return (attn_ring_setup){.plan = group->plan,
                             .needs = group->needs,
                             .mine = group->part->seq_index,
                             .head_begin = group->part->head_begin,
                             .head_count = group->part->head_count,
                             .kv_head_begin = group->part->kv_head_begin,
                             .kv_head_count = group->part->kv_head_count,
                             .dkv_dtype = group->dkv_dtype,
                             .message_bytes = group->message_bytes,
                             .comm = group->comm};
}

/* Not collective. For the plan's pass; of the backward pass for both. Destroy takes NULL.
 *   out  out, NULL on failure
 * ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_ring_create(const attn_ring_setup *setup, attn_ring **out, attn_error *error);
void attn_ring_destroy(attn_ring *ring);

/* Collective over the members, once, after all have created theirs; needed with one-sided transfers. Makes the buffers
 * in a window (one of its own: none may be lent), so that destroy is collective from then on. As attn_rooms_create. */
attn_status attn_ring_open(attn_ring *ring, attn_error *error);

/* Collective over the members. o and lse over the keys of all of them, sinks included.
 *   q    in, [B,head_count,q rows,D]
 *   k, v in, this member's arrays
 *   o    out, [B,head_count,q rows,Dv], the problem's dtype
 *   lse  out, [B,head_count,q rows], accumulator type, dense
 * ATTN_MPI. */
attn_status attn_ring_forward(attn_ring *ring, const attn_array *q, const void *k, const void *v, const attn_array *o,
                              const attn_array *lse, attn_laps *laps, attn_error *error);

/* Collective over the members.
 *   rows    in and out, of this member (steps.h)
 *   k, v    in, this member's arrays
 *   dk, dv  out, arrays as k and v, dkv_dtype: sums over the query heads and the rows of all members
 * ATTN_MPI. */
attn_status attn_ring_backward(attn_ring *ring, const attn_steps_rows *rows, const void *k, const void *v, void *dk,
                               void *dv, attn_laps *laps, attn_error *error);

/* Adds what a member sends and allocates to *out, forward and (the sums alone) backward. */
void attn_ring_predict(const attn_ring_setup *setup, attn_prediction *out);
void attn_ring_predict_sums(const attn_ring_setup *setup, attn_prediction *out);

#endif
