/* Extents of an attention problem: q [B,Hq,Sq,D], k [B,Hkv,Skv,D], v [B,Hkv,Skv,Dv], o [B,Hq,Sq,Dv], lse [B,Hq,Sq]. */
#ifndef ATTN_SHAPE_H
#define ATTN_SHAPE_H

#include <attn/status.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_shape {
    int64_t batch;      /* B */
    int64_t heads;      /* Hq, a multiple of kv_heads */
    int64_t kv_heads;   /* Hkv; query head h uses key-value head h / (Hq / Hkv) */
    int64_t seq;        /* Sq, query rows */
    int64_t kv_seq;     /* Skv, key and value rows as stored (padding included) */
    int64_t head_dim;   /* D, of q and k */
    int64_t v_head_dim; /* Dv, of v and o */
} attn_shape;

/* Checks that every extent is positive, that heads is a multiple of kv_heads, and that the number of bytes of each
 * array (8 bytes an element) fits in int64_t. ATTN_ARGUMENT with the name and value at fault. */
ATTN_API attn_status attn_shape_check(const attn_shape *shape, attn_error *error);

/* Tells how many query heads share one key-value head: g = Hq / Hkv. */
ATTN_API int64_t attn_shape_group(const attn_shape *shape);

#ifdef __cplusplus
}
#endif
#endif
