/* The library as flat functions, for callers that know no C structs: bench/peers calls them from Python. One rank, no
 * MPI, dense arrays [B,H,S,D]. */
#ifndef PEERS_PEER_H
#define PEERS_PEER_H

#include <attn/status.h>

#include <stddef.h>
#include <stdint.h>

/* A planned pass with the problem that it was planned for. */
typedef struct peer_plan peer_plan;

/* Plans a pass.
 *   pass     in, "forward", "backward" or "decode"
 *   kernel   in, a name of the table of kernels, or "auto": the fastest of this CPU
 *   dtype    in, "float32", "bfloat16", ...
 *   extents  in, [7]: B, Hq, Hkv, Sq, Skv, D, Dv
 *   causal   in, 0 or 1
 *   windows  in, [2]: visible keys before and after the diagonal, -1: no limit
 *   threads  in, OpenMP threads, >= 1
 *   message  out, [size] bytes, why there is no plan
 * Returns NULL on failure; owned by the caller (peer_destroy takes NULL). */
ATTN_API peer_plan *peer_create(const char *pass, const char *kernel, const char *dtype, const int64_t *extents,
                                int causal, const int64_t *windows, int threads, char *message, size_t size);
ATTN_API void peer_destroy(peer_plan *plan);

/* Tells the library's version; static storage. */
ATTN_API const char *peer_version(void);

/* Tells the kernel's name; static storage. */
ATTN_API const char *peer_kernel(const peer_plan *plan);

/* Computes o and lse, of a plan for "forward" or "decode". No allocation, cannot fail.
 *   q, k, v  in, [B,Hq,Sq,D], [B,Hkv,Skv,D], [B,Hkv,Skv,Dv] in the plan's dtype
 *   o        out, [B,Hq,Sq,Dv] in the plan's dtype
 *   lse      out, [B,Hq,Sq] in float32 (float64 for float64) */
ATTN_API void peer_forward(peer_plan *plan, const void *q, const void *k, const void *v, void *o, void *lse);

/* Computes dq, dk and dv, of a plan for "backward". No allocation, cannot fail.
 *   q, k, v, o, lse  in, as peer_forward has them
 *   d_o              in, as o
 *   dq, dk, dv       out, as q, k and v */
ATTN_API void peer_backward(peer_plan *plan, const void *q, const void *k, const void *v, const void *o,
                            const void *lse, const void *d_o, void *dq, void *dk, void *dv);

#endif
