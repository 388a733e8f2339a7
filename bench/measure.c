#include "measure.h"
#include "interrupt.h"
#include "tensors.h"

#include <attn/input.h>

#include <stdlib.h>
#include <string.h>

#define CHECKED_ROWS 64

typedef struct repetition {
    attn_dist *dist;
    attn_dist_buffers buffers;
    attn_dist_backward_buffers gradients; /* of a backward pass */
} repetition;

static attn_status run_once(void *context, double *seconds, attn_error *error)
{
    const repetition *one = context;

    return attn_dist_plan(one->dist)->pass == ATTN_PASS_BACKWARD
               ? attn_dist_backward(one->dist, &one->gradients, seconds, error)
               : attn_dist_forward(one->dist, &one->buffers, seconds, error);
}

/* What the passes work on; a backward pass has its o and lse from one forward pass, which nobody times. */
static attn_status take_buffers(const tensors *arrays, repetition *one, attn_error *error)
{
    double seconds[ATTN_PHASE_COUNT];

    one->buffers = tensors_buffers(arrays);
    one->gradients = tensors_backward_buffers(arrays);
    return attn_dist_plan(one->dist)->pass == ATTN_PASS_BACKWARD
               ? attn_dist_forward(one->dist, &one->buffers, seconds, error)
               : ATTN_OK;
}

static attn_status meet(void *context, attn_error *error)
{
    const repetition *one = context;

    return attn_comm_barrier(attn_dist_comm(one->dist), error);
}

static attn_status largest(void *context, double *values, int count, attn_error *error)
{
    const repetition *one = context;

    return attn_comm_max(attn_dist_comm(one->dist), values, count, error);
}

static bool asked_to_stop(void *context)
{
    (void)context;
    return interrupt_name() != NULL;
}

/* Reads or makes q, k and v, and tells how long this rank took and how much it is of all. */
static attn_status make_inputs(const measure_context *context, attn_dist *dist, attn_input *input, tensors *arrays,
                               double *seconds, double *bytes, attn_error *error)
{
    const double begin = attn_clock();
    attn_status status = ATTN_OK;

    if (input != NULL)
        status = tensors_read(dist, input, context->lists->seed, arrays, error);
    else
        tensors_generate(dist, context->lists->seed, arrays);
    *seconds = attn_clock() - begin;
    *bytes = tensors_input_bytes(dist, input);
    return status == ATTN_OK ? attn_comm_sum(attn_dist_comm(dist), bytes, 1, error) : status;
}

/* Brings the samples of all ranks to rank 0 as [rep][rank][phase]. */
static attn_status gather_samples(const bench_case *one, attn_dist *dist, measured *made, attn_error *error)
{
    const int64_t reps = made->samples.reps, count = reps * ATTN_PHASE_COUNT, ranks = one->group->ranks;
    const bool root = attn_dist_part(dist)->rank == 0;
    const size_t row = ATTN_PHASE_COUNT * sizeof(double);
    double *by_rank = NULL;
    attn_status status = ATTN_OK;

    if (root) {
        by_rank = malloc((size_t)(count * ranks) * sizeof *by_rank);
        made->all = malloc((size_t)(count * ranks) * sizeof *made->all);
        if (by_rank == NULL || made->all == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld repetitions", (long long)reps);
    }
    status = attn_comm_agree(attn_dist_comm(dist), status, error);
    if (status == ATTN_OK)
        status = attn_comm_gather(attn_dist_comm(dist), made->samples.seconds, count, by_rank, error);
    if (status == ATTN_OK && root)
        for (int64_t rep = 0; rep < reps; rep++)
            for (int64_t rank = 0; rank < ranks; rank++)
                memcpy(made->all + (rep * ranks + rank) * ATTN_PHASE_COUNT,
                       by_rank + (rank * reps + rep) * ATTN_PHASE_COUNT, row);
    free(by_rank);
    return status;
}

/* The bandwidth of memory takes seconds: it is measured where it can bound the case, and in launches that take their
 * time anyhow. It takes memory too: before the arrays of the case are there. */
static attn_status measure_bandwidth(const measure_context *context, const bench_case *one, measured *made,
                                     attn_error *error)
{
    const bool wanted =
        bench_case_has_bound(one) && (one->plan.pass == ATTN_PASS_DECODE || context->sampling.max_time >= 1);

    return wanted ? roofs_bandwidth(context->bandwidths, one, &made->bandwidth, error) : ATTN_OK;
}

/* Compares sampled rows of the last repetition with the float64 reference: gradients once o and lse are known to be
 * good, from which they come. */
static attn_status validate(const measure_context *context, const bench_case *one, const repetition *last,
                            const attn_input *input, measured *made, attn_error *error)
{
    const MPI_Comm comm = attn_dist_comm(last->dist);
    const double eps = tensors_epsilon(one->problem.dtype, input);
    attn_row *rows = NULL;
    int64_t count = 0;
    attn_status status = attn_sample_rows(&one->plan, CHECKED_ROWS, context->lists->seed, &rows, &count, error);

    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_dist_check(last->dist, &last->buffers, rows, count, eps, &made->check, error);
    if (status == ATTN_OK && made->check.valid && one->plan.pass == ATTN_PASS_BACKWARD)
        status = attn_dist_check_backward(last->dist, &last->gradients, rows, count, eps, &made->check, error);
    free(rows);
    return status;
}

/* Estimates the plan for the machine, and with --plan measure first replaces it by the fastest of the candidates. */
static attn_status predict(const measure_context *context, bench_case *one, measured *made, attn_error *error)
{
    const MPI_Comm comm = one->group->comm;
    const attn_plan_options choices = bench_case_choices(context->lists, one);
    attn_machine machine;
    attn_status status = machines_find(context->machines, one->group, &one->problem, &choices, &machine, error);

    if (status == ATTN_OK && context->lists->plan == ATTN_PLAN_MODE_MEASURE &&
        bench_case_planned(context->lists, one)) {
        status = attn_plan_create(comm, &one->problem, &choices, ATTN_PLAN_MODE_MEASURE, &machine, &one->plan,
                                  &made->tuning, error);
        if (status == ATTN_OK)
            status = attn_comm_agree(comm, attn_plan_predict_all(&one->plan, &one->prediction, error), error);
        if (status == ATTN_OK) /* the same on all ranks */
            status = bench_case_check_memory(one, error);
    }
    return status == ATTN_OK
               ? attn_comm_agree(comm, attn_plan_estimate(&one->plan, &machine, &made->estimate, error), error)
               : status;
}

/* After ATTN_MPI in any step no other collective call is made: what is left open ends with the program. */
static attn_status run_on_group(const measure_context *context, bench_case *one, measured *made, attn_error *error)
{
    const MPI_Comm comm = one->group->comm;
    repetition each = {.dist = NULL};
    const attn_sampler_target target = {&each, run_once, meet, largest, asked_to_stop};
    tensors arrays = {.q = NULL};
    attn_input *input = NULL;
    double read_seconds = 0;
    attn_status status = attn_comm_agree(comm, bench_case_load(context->lists, one, error), error);

    if (status == ATTN_OK)
        status = measure_bandwidth(context, one, made, error);
    if (status == ATTN_OK)
        status = predict(context, one, made, error);
    if (status == ATTN_OK)
        status = attn_dist_create(comm, &one->plan, &each.dist, error);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, tensors_create(each.dist, &arrays, error), error);
    if (status == ATTN_OK && context->input.path != NULL)
        status = attn_input_open(comm, context->input.path, &input, error);
    if (status == ATTN_OK)
        status = make_inputs(context, each.dist, input, &arrays, &read_seconds, &made->input_bytes, error);
    if (status == ATTN_OK)
        status = take_buffers(&arrays, &each, error);
    if (status == ATTN_OK && bench_case_has_bound(one))
        status = roofs_peaks(one, &made->before, error);
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, attn_sample(&context->sampling, &target, &made->samples, error), error);
    if (status == ATTN_OK && bench_case_has_bound(one))
        status = roofs_peaks(one, &made->after, error);
    if (status == ATTN_OK && made->samples.reps > 0) {
        made->samples.seconds[ATTN_PHASE_INPUT_READ] = read_seconds; /* once a case: in its first repetition alone */
        status = gather_samples(one, each.dist, made, error);
        if (status == ATTN_OK)
            status = validate(context, one, &each, input, made, error);
        if (status == ATTN_OK && strcmp(made->samples.stop_reason, "interrupted") != 0)
            status = timeline_record(each.dist, &target, made->samples.median.median, &made->line, error);
    }
    if (status != ATTN_MPI) /* collective */
        attn_dist_destroy(each.dist);
    status = tensors_close_input(input, status, error);
    tensors_release(&arrays);
    bench_case_unload(one);
    return status;
}

/* Whether a case that could not be run for this reason leaves the others of its sweep runnable. */
static bool concerns_case(attn_status status)
{
    return status == ATTN_OK || status == ATTN_MEMORY || status == ATTN_UNSUPPORTED || status == ATTN_INTERRUPTED;
}

attn_status measure_case(const measure_context *context, bench_case *one, attn_result **result, attn_error *error)
{
    const bench *launch = context->launch;
    measured made = {.status = ATTN_OK};
    const bool runs = one->runnable == ATTN_OK;
    attn_status status = ATTN_OK;

    *result = NULL;
    if (runs) {
        if (rank_group_has(one->group, launch))
            made.status = run_on_group(context, one, &made, &made.reason);
        if (made.status == ATTN_MPI) { /* nobody can be waited for any more */
            status = attn_error_set(error, made.status, "%s", made.reason.message);
            goto cleanup;
        }
        status = attn_comm_sleep_barrier(launch->comm, error);
        if (status != ATTN_OK)
            goto cleanup;
        made.status = attn_comm_agree(launch->comm, made.status, &made.reason);
        if (!concerns_case(made.status)) {
            status = attn_error_set(error, made.status, "%s", made.reason.message);
            goto cleanup;
        }
    }
    if (launch->rank == 0) {
        status = attn_result_create(result, error);
        if (status == ATTN_OK)
            status = record_case(context, one, runs ? &made : NULL, *result, error);
    }
    status = attn_comm_agree(launch->comm, status, error);
cleanup:
    if (status != ATTN_OK) {
        attn_result_destroy(*result);
        *result = NULL;
    }
    attn_samples_release(&made.samples);
    free(made.all);
    free(made.line.events);
    return status;
}
