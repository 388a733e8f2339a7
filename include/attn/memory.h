/* Memory for arrays that kernels read and write. */
#ifndef ATTN_MEMORY_H
#define ATTN_MEMORY_H

#include <attn/status.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Alignment of attn_aligned_alloc in bytes: a cache line, and the widest vector register. */
#define ATTN_ALIGNMENT 64

/* Allocates memory aligned to ATTN_ALIGNMENT bytes, not zeroed and not touched, so that its pages go to the memory of
 * the threads that touch them first; not NULL for 0 bytes. From ATTN_HUGE_PAGE bytes on it is aligned to that, and the
 * system is asked for huge pages: a head's rows lie on many small ones, whose addresses a processor cannot hold all at
 * once. NULL when memory is short. Released with free. */
#define ATTN_HUGE_PAGE ((size_t)2 << 20)
ATTN_API void *attn_aligned_alloc(size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
