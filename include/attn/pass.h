/* The passes of attention that can be planned and timed. */
#ifndef ATTN_PASS_H
#define ATTN_PASS_H

#include <attn/status.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, text, meaning) */
#define ATTN_PASS_LIST(X)                                                                                              \
    X(FORWARD, "forward", "o and lse from q, k and v")                                                                 \
    X(BACKWARD, "backward", "dq, dk and dv from q, k, v, o, lse and do")                                               \
    X(DECODE, "decode", "the forward pass of few query rows against many keys")

typedef enum attn_pass {
#define ATTN_PASS_ENUM(name, text, meaning) ATTN_PASS_##name,
    ATTN_PASS_LIST(ATTN_PASS_ENUM)
#undef ATTN_PASS_ENUM
        ATTN_PASS_COUNT
} attn_pass;

/* Names a pass as --pass does, and tells what it computes; both "unknown" for any other number. */
ATTN_API const char *attn_pass_name(attn_pass pass);
ATTN_API const char *attn_pass_meaning(attn_pass pass);

/* Finds a pass by name.
 *   pass  out, unchanged when there is none of that name
 * Returns whether there is one. */
ATTN_API bool attn_pass_find(const char *name, attn_pass *pass);

#ifdef __cplusplus
}
#endif
#endif
