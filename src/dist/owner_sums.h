/* Gradients of keys and values of which several ranks have shares: the owner of the rows adds the shares up.
 *
 * A share is dk, then dv, of some rows of a rank's part: [B,kv heads,rows,D] and [B,kv heads,rows,Dv], in the
 * accumulator type. The owner begins with its own share, of its whole part, and adds those of the ranks after it in the
 * order of the ring from it on, whatever arrives when. Where the problem's dtype is its accumulator they are added up
 * in dk and dv themselves. */
#ifndef DIST_OWNER_SUMS_H
#define DIST_OWNER_SUMS_H

#include "dist/exchange.h"

/* Bytes of a share of some rows of a part of the group. */
int64_t attn_dkv_share_bytes(const attn_plan *plan, const attn_part *part, int64_t rows);

/* The two arrays of a share of some rows. */
void attn_dkv_share_arrays(const attn_group *group, void *share, int64_t rows, attn_array *dk, attn_array *dv);

/* Local rows [0, rows) of a part, all of it: where the share of a whole part belongs. ATTN_MEMORY. */
attn_status attn_dkv_share_whole(int64_t rows, attn_segments **out, attn_error *error);

/* ---- The owner's side ---- */

/* The sums of a rank's own rows. */
typedef struct attn_own_sums {
    const attn_group *group;
    void *memory; /* NULL: dk and dv have the type of the sums */
} attn_own_sums;

/* Bytes of the memory. */
int64_t attn_own_sums_bytes(const attn_plan *plan, const attn_part *part);

/* Not collective; the group outlives it. Release is for a failed create and for zeros too. ATTN_MEMORY. */
attn_status attn_own_sums_create(const attn_group *group, attn_own_sums *out, attn_error *error);
void attn_own_sums_release(attn_own_sums *sums);

/* Where the own share goes; the arrays of the whole part. */
void attn_own_sums_place(const attn_own_sums *sums, const attn_exchange_call *call, attn_array *dk, attn_array *dv);

/* Adds a share.
 *   places  in, the local rows of the part that it is of */
void attn_own_sums_add(const attn_own_sums *sums, const attn_exchange_call *call, const attn_segments *places,
                       const void *share);

/* The sums become dk and dv. */
void attn_own_sums_store(const attn_own_sums *sums, const attn_exchange_call *call);

/* ---- With messages ---- */

typedef struct attn_owner_sums attn_owner_sums;

/* Who has shares of what, in the sequence group of a rank; the segments outlive the sums, the arrays are copied. */
typedef struct attn_owner_setup {
    const int64_t *computed;              /* [ranks] rows of each other rank's part that this rank has shares of */
    const attn_segments *const *returned; /* [ranks] local rows of this rank's part that each other rank has shares of;
                                             NULL: none */
} attn_owner_setup;

/* Adds the bytes, messages and memory of one rank to *out: it sends all its shares of others' rows, a message each, and
 * has memory for these and for those that it receives at once. */
void attn_owner_sums_predict(const attn_plan *plan, const attn_part *part, const attn_owner_setup *setup,
                             attn_prediction *out);

/* Not collective; the group outlives them. Destroy takes NULL. ATTN_MEMORY, ATTN_UNSUPPORTED. */
attn_status attn_owner_sums_create(const attn_group *group, const attn_owner_setup *setup, attn_owner_sums **out,
                                   attn_error *error);
void attn_owner_sums_destroy(attn_owner_sums *sums);

/* Where the share of rank j's part goes; of the own part, its whole. */
void attn_owner_sums_place(const attn_owner_sums *sums, const attn_exchange_call *call, int j, attn_array *dk,
                           attn_array *dv);

/* Starts to receive; before the shares are computed, so that what arrives early has its place. */
void attn_owner_sums_expect(attn_owner_sums *sums);

/* Collective over the sequence group. Sends all shares home, adds up those of this rank's rows and stores them.
 * ATTN_MPI. */
attn_status attn_owner_sums_return(attn_owner_sums *sums, const attn_exchange_call *call, attn_laps *laps,
                                   attn_error *error);

#endif
