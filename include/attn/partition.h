/* Who owns what: a grid Ps x Ph of ranks, layouts of the sequence, and the part of one rank. No MPI.
 *
 * rank = ps * Ph + ph. The sequence group of a rank is the Ps ranks with the same ph (the same heads), its head group
 * the Ph ranks with the same ps (the same rows).
 */
#ifndef ATTN_PARTITION_H
#define ATTN_PARTITION_H

#include <attn/problem.h>
#include <attn/segments.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_grid {
    int seq;  /* Ps */
    int head; /* Ph */
} attn_grid;

/* A row of the layout table: contiguous (one segment a rank), zigzag (two, Zhu 2024, "ring flash attention"), striped
 * (every Ps-th row, Brandon et al. 2023), balanced (blocks dealt by their visible pairs). Constant, static storage. */
typedef struct attn_layout attn_layout;

/* Reads the table: its length, the row at 0 <= index < count, and the row of a name (NULL when there is none). */
ATTN_API size_t attn_layout_count(void);
ATTN_API const attn_layout *attn_layout_at(size_t index);
ATTN_API const attn_layout *attn_layout_find(const char *name);

/* Reads a row: its name as given to --layout, and one line of what it is. */
ATTN_API const char *attn_layout_name(const attn_layout *layout);
ATTN_API const char *attn_layout_summary(const attn_layout *layout);

/* Lists the rows of part `part` of `parts` of a sequence of `seq` rows. Over all parts they cover each row once, for
 * any seq and parts (a part may be empty). The layout balanced deals by a problem's mask (attn_part_create has its
 * rows); without one it is contiguous.
 *   seq, parts, part  in, seq >= 0, 0 <= part < parts
 *   out               out, destroyed by the caller with attn_segments_destroy; NULL on failure
 * ATTN_MEMORY. */
ATTN_API attn_status attn_layout_rows(const attn_layout *layout, int64_t seq, int parts, int part, attn_segments **out,
                                      attn_error *error);

/* Tells the first item of share `index` of `count` items that are split over `shares` to within one: share index is
 * [this, this of index + 1). 0 <= index <= shares; no overflow for any count. */
ATTN_API int64_t attn_share_begin(int64_t count, int shares, int index);

/* What one rank owns. Arrays of that rank are dense: q [B,head_count,q_rows,D], k and v [B,kv_head_count,kv_rows,..].
 * Query heads are split evenly (to within one); a rank holds the key-value heads that its query heads use, so ranks
 * may hold the same key-value head. */
typedef struct attn_part {
    int rank, seq_index, head_index; /* rank = seq_index * Ph + head_index */
    int64_t head_begin, head_count;
    int64_t kv_head_begin, kv_head_count;
    attn_segments *q_rows;
    attn_segments *kv_rows;
} attn_part;

/* Computes the part of any rank, on any rank. Destroy takes NULL.
 *   problem  in, valid
 *   rank     in, 0 <= rank < grid.seq * grid.head
 *   out      out, destroyed by the caller; NULL on failure
 * ATTN_MEMORY. */
ATTN_API attn_status attn_part_create(const attn_problem *problem, attn_grid grid, const attn_layout *layout, int rank,
                                      attn_part **out, attn_error *error);
ATTN_API void attn_part_destroy(attn_part *part);

#ifdef __cplusplus
}
#endif
#endif
