/* Some rows of a rank's keys or values, copied one after the other. */
#ifndef DIST_PACK_H
#define DIST_PACK_H

#include "dist/exchange.h"

/* Copies rows of all batches and heads by all threads.
 *   rows   in, local rows of the rank's part
 *   from   in, [B,kv_head_count,kv_rows,width], the problem's dtype
 *   to     out, [B,kv_head_count,rows,width] */
void attn_pack_rows(const attn_group *group, const attn_segments *rows, const void *from, int64_t width, void *to);

#endif
