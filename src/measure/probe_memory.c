/* Bandwidth of memory: each thread reads or copies buffers of its own that it touched first, so that they lie in that
 * thread's memory. All buffers together are four times all last-level caches of the node where there is memory for it;
 * processes that probe at the same time divide that among themselves. */
#include "core/checked.h"
#include "core/cpu.h"
#include "measure/probe.h"

#include <attn/memory.h>

#include <hwloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1024.0 * 1024 * 1024)

enum { TIMES_CACHES = 4, LEAST_BYTES = 1 << 16, AHEAD = 32 };

typedef uint64_t words __attribute__((vector_size(64)));

typedef struct memory_buffers {
    words **of_thread; /* [threads] of [count] */
    int64_t count;
} memory_buffers;

/* Bytes of all last-level caches of the node; 0 when nothing is told. */
static double cache_bytes(void)
{
    static const hwloc_obj_type_t levels[] = {HWLOC_OBJ_L4CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE};
    hwloc_topology_t node;
    double bytes = 0;

    if (hwloc_topology_init(&node) != 0)
        return 0;
    if (hwloc_topology_load(node) == 0)
        for (size_t i = 0; i < sizeof levels / sizeof levels[0] && bytes <= 0; i++)
            for (hwloc_obj_t cache = NULL; (cache = hwloc_get_next_obj_by_type(node, levels[i], cache)) != NULL;)
                bytes += (double)cache->attr->cache.size;
    hwloc_topology_destroy(node);
    return bytes;
}

/* Four sums, so that none waits for the one before; memory is asked for 2 KiB ahead, as what the hardware asks for by
 * itself ends with each page. */
static void add_up(void *context, int thread, int64_t passes)
{
    const memory_buffers *buffers = context;
    const words *from = buffers->of_thread[thread];
    words sums[4] = {{0}};
    volatile uint64_t keep; /* nothing can be left out */

    for (int64_t n = 0; n < passes; n++)
        for (int64_t i = 0; i < buffers->count; i += 4)
            for (int s = 0; s < 4; s++) {
                __builtin_prefetch(from + i + s + AHEAD);
                sums[s] += from[i + s];
            }
    for (int s = 1; s < 4; s++)
        sums[0] += sums[s];
    keep = sums[0][0] + sums[0][1];
    (void)keep;
}

/* The first half to the second: as the C library copies, with stores around the caches where it finds that better. */
static void copy(void *context, int thread, int64_t passes)
{
    const memory_buffers *buffers = context;
    words *from = buffers->of_thread[thread];
    const int64_t half = buffers->count / 2;

    for (int64_t n = 0; n < passes; n++)
        memcpy(from + half, from, (size_t)half * sizeof *from);
}

/* Makes each thread's buffer on that thread; false when memory is short. */
static bool make_buffers(memory_buffers *buffers, int threads)
{
    int made = 0;

#pragma omp parallel for schedule(static, 1) num_threads(threads) reduction(+ : made)
    for (int t = 0; t < threads; t++) {
        const size_t bytes = (size_t)buffers->count * sizeof(words);

        buffers->of_thread[t] = attn_aligned_alloc(bytes);
        if (buffers->of_thread[t] != NULL) {
            memset(buffers->of_thread[t], 1, bytes);
            made += 1;
        }
    }
    return made == threads;
}

static void describe(double bytes, double caches, attn_probe_result *out)
{
    if (caches <= 0)
        snprintf(out->remark, sizeof out->remark, "buffers %.3g GiB; the size of the caches is not known", bytes / GIB);
    else
        snprintf(out->remark, sizeof out->remark, "buffers %.3g GiB, %.2g x the last-level caches%s", bytes / GIB,
                 bytes / caches, bytes < 2 * caches ? ": cached in part" : "");
}

static attn_status measure(void (*pass)(void *context, int thread, int64_t passes), const attn_probe_setup *setup,
                           attn_probe_result *out, attn_error *error)
{
    const double caches = cache_bytes();
    const double wanted = TIMES_CACHES * (caches > 0 ? caches : GIB / 4) / setup->processes;
    const double each = fmax(fmin(wanted, setup->memory) / setup->threads, LEAST_BYTES);
    memory_buffers buffers = {.count = (int64_t)(each / sizeof(words)) / 4 * 4};
    const double bytes = (double)buffers.count * sizeof(words);
    const attn_probe_work work = {&buffers, pass, bytes};
    attn_status status;

    buffers.of_thread = attn_calloc_array(setup->threads, sizeof *buffers.of_thread);
    if (buffers.of_thread == NULL || !make_buffers(&buffers, setup->threads))
        status =
            attn_error_set(error, ATTN_MEMORY, "no memory for %d buffers of %.3g GiB", setup->threads, bytes / GIB);
    else
        status = attn_probe_time(&work, setup, out, error);
    for (int t = 0; buffers.of_thread != NULL && t < setup->threads; t++)
        free(buffers.of_thread[t]);
    free(buffers.of_thread);
    if (status == ATTN_OK)
        describe(bytes * setup->threads * setup->processes, caches, out);
    return status;
}

static attn_status run_read(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    return measure(add_up, setup, out, error);
}

/* Bytes read and bytes written count, which is those of both halves. */
static attn_status run_copy(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    return measure(copy, setup, out, error);
}

const attn_probe attn_probe_read = {
    .name = "read-bandwidth",
    .summary = "reading memory beyond the caches, each thread its own",
    .unit = "B/s",
    .needs = "nothing",
    .cpu_has = attn_cpu_baseline,
    .peak_of = ATTN_DTYPE_COUNT,
    .run = run_read,
};

const attn_probe attn_probe_copy = {
    .name = "copy-bandwidth",
    .summary = "copying memory beyond the caches, each thread its own; bytes read and bytes written count",
    .unit = "B/s",
    .needs = "nothing",
    .cpu_has = attn_cpu_baseline,
    .peak_of = ATTN_DTYPE_COUNT,
    .run = run_copy,
};
