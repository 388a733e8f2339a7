/* Memory that all threads read. */
#ifndef DIST_TOUCH_H
#define DIST_TOUCH_H

#include <stddef.h>

/* Deals the pages to the memories of all threads, by touching them first. */
void attn_touch_pages(void *memory, size_t bytes, int threads);

#endif
