#include "roofs.h"

#include <math.h>
#include <stdlib.h>

#define PEAK_SECONDS 0.03
#define BANDWIDTH_SECONDS 0.1

/* Collective over the group: one probe on all ranks, with the case's threads. */
static attn_status measure(const bench_case *one, const attn_probe *probe, double seconds, double *rate,
                           attn_error *error)
{
    const MPI_Comm comm = one->group->comm;
    const attn_probe_setup setup = {.threads = one->threads,
                                    .seconds = seconds,
                                    .processes = one->group->node_ranks,
                                    .memory = one->group->memory / 4 / one->group->node_ranks};
    attn_probe_result made = {.best = 0};
    attn_status status = attn_comm_barrier(comm, error);

    if (status == ATTN_OK)
        status = attn_comm_agree(comm, attn_probe_run(probe, &setup, &made, error), error);
    *rate = made.best;
    return status == ATTN_OK ? attn_comm_sum(comm, rate, 1, error) : status;
}

const attn_probe *roofs_fma_probe(const bench_case *one)
{
    return attn_probe_peak(one->problem.dtype);
}

const attn_probe *roofs_compute_probe(const bench_case *one)
{
    const char *const name = attn_kernel_peak(one->plan.kernel);
    const attn_probe *const probe = name != NULL ? attn_probe_find(name) : NULL;

    return probe != NULL ? probe : roofs_fma_probe(one);
}

attn_status roofs_peaks(const bench_case *one, peaks *out, attn_error *error)
{
    const attn_probe *const fma = roofs_fma_probe(one), *const compute = roofs_compute_probe(one);
    const attn_status status = measure(one, fma, PEAK_SECONDS, &out->fma, error);

    out->compute = out->fma;
    return status == ATTN_OK && compute != fma ? measure(one, compute, PEAK_SECONDS, &out->compute, error) : status;
}

attn_status roofs_bandwidth(bandwidths *known, const bench_case *one, double *rate, attn_error *error)
{
    struct bandwidth *list;
    attn_status status = ATTN_OK;

    for (int64_t i = 0; i < known->count; i++)
        if (known->list[i].ranks == one->group->ranks && known->list[i].threads == one->threads) {
            *rate = known->list[i].rate;
            return ATTN_OK;
        }
    list = realloc(known->list, (size_t)(known->count + 1) * sizeof *list);
    if (list == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the bandwidths");
    else
        known->list = list;
    status = attn_comm_agree(one->group->comm, status, error);
    if (status == ATTN_OK)
        status = measure(one, attn_probe_find("read-bandwidth"), BANDWIDTH_SECONDS, rate, error);
    if (status == ATTN_OK)
        known->list[known->count++] = (struct bandwidth){one->group->ranks, one->threads, *rate};
    return status;
}

/* Keys that some query row sees, of one key-value head, over all batches. The intervals rise, so each adds what lies
 * behind those before it. */
static double seen_keys(const attn_problem *problem)
{
    const attn_shape *shape = &problem->shape;
    const int64_t batches = problem->mask.kv_len != NULL ? shape->batch : 1; /* only padding differs between batches */
    double keys = 0;

    for (int64_t b = 0; b < batches; b++) {
        int64_t end = 0;

        for (int64_t i = 0; i < shape->seq; i++) {
            const attn_interval row = attn_mask_row(&problem->mask, shape, b, i);
            const int64_t from = row.lo > end ? row.lo : end;

            if (row.hi > from) {
                keys += (double)(row.hi - from);
                end = row.hi;
            }
        }
    }
    return keys * (double)(shape->batch / batches);
}

double roofs_bytes(const bench_case *one)
{
    const attn_shape *shape = &one->problem.shape;
    const double element = (double)attn_dtype_size(one->problem.dtype);
    const double sum = (double)attn_dtype_size(attn_dtype_accumulator(one->problem.dtype));
    const double D = (double)shape->head_dim, Dv = (double)shape->v_head_dim;
    const double rows = (double)shape->batch * (double)shape->heads * (double)shape->seq;
    const double keys = (double)shape->kv_heads * seen_keys(&one->problem);
    const double q = rows * D * element, o = rows * Dv * element, kv = keys * (D + Dv) * element;
    const double forward = q + kv + o + rows * sum;

    return one->plan.pass == ATTN_PASS_BACKWARD ? forward + o + q + kv : forward;
}
