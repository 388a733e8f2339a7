/* Probe `clock`: how often a second the clock can be read. A phase that is not long beside one reading cannot be
 * measured. */
#include "core/cpu.h"
#include "measure/probe.h"

#include <attn/phase.h>

static void read_clock(void *context, int thread, int64_t passes)
{
    (void)context, (void)thread;
    for (int64_t n = 0; n < passes; n++)
        attn_clock();
}

static attn_status run(const attn_probe_setup *setup, attn_probe_result *out, attn_error *error)
{
    const attn_probe_work work = {NULL, read_clock, 1};

    return attn_probe_time(&work, setup, out, error);
}

const attn_probe attn_probe_clock = {
    .name = "clock",
    .summary = "readings of the clock, each thread its own",
    .unit = "1/s",
    .needs = "nothing",
    .cpu_has = attn_cpu_baseline,
    .peak_of = ATTN_DTYPE_COUNT,
    .run = run,
};
