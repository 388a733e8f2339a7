#include "dist/pack.h"

#include <string.h>

void attn_pack_rows(const attn_group *group, const attn_segments *rows, const void *from, int64_t width, void *to)
{
    const size_t bytes = (size_t)width * attn_dtype_size(group->plan->problem.dtype);
    const int64_t units = group->plan->problem.shape.batch * group->part->kv_head_count;

#pragma omp parallel for collapse(2) schedule(static) num_threads(group->plan->threads)
    for (int64_t unit = 0; unit < units; unit++)
        for (int64_t n = 0; n < rows->count; n++)
            memcpy((char *)to + (size_t)(unit * rows->rows + rows->list[n].offset) * bytes,
                   (const char *)from + (size_t)(unit * group->part->kv_rows->rows + rows->list[n].begin) * bytes,
                   (size_t)rows->list[n].length * bytes);
}
