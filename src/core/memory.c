#if defined(__linux__)
#define _DEFAULT_SOURCE /* madvise */
#endif
#include <attn/memory.h>

#include "core/pages.h"

#include <stdbool.h>
#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

void *attn_aligned_alloc(size_t bytes)
{
    const bool large = bytes >= ATTN_HUGE_PAGE;
    void *memory = NULL;

    if (posix_memalign(&memory, large ? ATTN_HUGE_PAGE : ATTN_ALIGNMENT, bytes > 0 ? bytes : 1) != 0)
        return NULL;
    attn_pages_advise(memory, bytes);
    return memory;
}

void attn_pages_advise(void *memory, size_t bytes)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes >= ATTN_HUGE_PAGE) /* advice: where it cannot be followed, nothing is lost */
        (void)madvise(memory, bytes / ATTN_HUGE_PAGE * ATTN_HUGE_PAGE, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}
