#include "dist/touch.h"

#include <stdint.h>

void attn_touch_pages(void *memory, size_t bytes, int threads)
{
    enum { PAGE = 4096 };

#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int64_t page = 0; page < (int64_t)((bytes + PAGE - 1) / PAGE); page++)
        ((char *)memory)[(size_t)page * PAGE] = 0;
}
