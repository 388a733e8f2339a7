#include "kernel/scratch.h"

#include <attn/memory.h>

#include "core/checked.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct attn_scratch {
    char *data; /* [threads][bytes] */
    size_t bytes;
    int threads;
};

attn_status attn_scratch_create(attn_scratch **out, attn_error *error)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for a pass");
}

void attn_scratch_destroy(attn_scratch *scratch)
{
    if (scratch == NULL)
        return;
    free(scratch->data);
    free(scratch);
}

size_t attn_scratch_bytes(const attn_scratch *scratch)
{
    return scratch == NULL ? 0 : (size_t)scratch->threads * scratch->bytes;
}

/* Each thread touches its own first. Returns how many threads ran. */
static int place(char *data, size_t bytes, int threads)
{
    int ran = 0;

#pragma omp parallel num_threads(threads) reduction(+ : ran)
    {
        ran += 1;
        memset(data + (size_t)omp_get_thread_num() * bytes, 0, bytes);
    }
    return ran;
}

attn_status attn_scratch_reserve(attn_scratch *scratch, int threads, size_t bytes, attn_error *error)
{
    size_t all;
    int ran;

    bytes = (bytes + ATTN_ALIGNMENT - 1) / ATTN_ALIGNMENT * ATTN_ALIGNMENT;
    if (threads <= scratch->threads && bytes <= scratch->bytes)
        return ATTN_OK;
    threads = threads > scratch->threads ? threads : scratch->threads;
    bytes = bytes > scratch->bytes ? bytes : scratch->bytes;
    if (!attn_size_multiply(bytes, (size_t)threads, &all))
        return attn_error_set(error, ATTN_MEMORY, "the scratch of %d threads does not fit in memory", threads);
    free(scratch->data);
    scratch->bytes = 0;
    scratch->threads = 0;
    scratch->data = attn_aligned_alloc(all + ATTN_ALIGNMENT);
    if (scratch->data == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu bytes of scratch", all);
    ran = place(scratch->data, bytes, threads);
    if (ran < threads)
        return attn_error_set(error, ATTN_UNSUPPORTED, "threads %d: OpenMP grants %d here", threads, ran);
    scratch->bytes = bytes;
    scratch->threads = threads;
    return ATTN_OK;
}

char *attn_scratch_at(const attn_scratch *scratch, int thread)
{
    return scratch->data + (size_t)thread * scratch->bytes;
}

attn_status attn_scratch_take(attn_scratch *shared, int threads, size_t bytes, attn_scratch **out, attn_scratch **own,
                              attn_error *error)
{
    attn_status status = ATTN_OK;

    *own = NULL;
    if (shared == NULL) {
        status = attn_scratch_create(own, error);
        shared = *own;
    }
    *out = shared;
    return status == ATTN_OK ? attn_scratch_reserve(shared, threads, bytes, error) : status;
}
