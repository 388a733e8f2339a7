#include "peak.h"

#include <attn/probe.h>

#define PEAK_SECONDS 0.03

attn_status peak_measure(const bench_case *one, double *flops, attn_error *error)
{
    const MPI_Comm comm = one->group->comm;
    const attn_probe_setup setup = {
        .threads = one->threads, .seconds = PEAK_SECONDS, .processes = one->group->node_ranks, .memory = 0};
    attn_probe_result made = {.best = 0};
    attn_status status = attn_comm_barrier(comm, error);

    if (status == ATTN_OK)
        status =
            attn_comm_agree(comm, attn_probe_run(attn_probe_peak(one->problem.dtype), &setup, &made, error), error);
    *flops = bench_case_oversubscribed(one) ? made.mean : made.best;
    return status == ATTN_OK ? attn_comm_sum(comm, flops, 1, error) : status;
}

const char *peak_level(const bench_case *one)
{
    return attn_probe_name(attn_probe_peak(one->problem.dtype));
}
