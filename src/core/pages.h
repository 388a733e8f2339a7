/* Pages of memory that is not from attn_aligned_alloc. */
#ifndef ATTN_CORE_PAGES_H
#define ATTN_CORE_PAGES_H

#include <stddef.h>

/* Asks the system for huge pages, from ATTN_HUGE_PAGE bytes on.
 *   memory  in, begins with a page */
void attn_pages_advise(void *memory, size_t bytes);

#endif
