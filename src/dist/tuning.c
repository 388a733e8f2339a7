/* Plans made by rule, by estimate or by measuring, as FFTW makes them (Frigo and Johnson 2005, section III). */
#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/memory.h>
#include <attn/random.h>
#include <attn/tuning.h>

#include "dist/median.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

attn_status attn_machine_measure(MPI_Comm comm, const attn_problem *problem, const attn_plan_options *options,
                                 attn_machine *out, attn_error *error)
{
    const attn_kernel *kernel = options->kernel;
    const int threads = options->threads > 0 ? options->threads : 1;
    attn_machine made = attn_machine_default();
    attn_cores cores;
    attn_status status = attn_problem_check(problem, error);

    if (status == ATTN_OK && kernel == NULL)
        status = attn_kernel_choose(options->pass, problem->dtype, problem->dropout > 0, &kernel, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_cores(comm, &cores, error);
    if (status == ATTN_OK)
        made.cores = cores.available / cores.nodes > 0 ? cores.available / cores.nodes : 1;
    if (status == ATTN_OK)
        status = attn_network_measure(comm, options->node_ranks, &made.node, &made.network, error);
    if (status == ATTN_OK)
        status = attn_copy_measure(comm, &made.copy_bandwidth, error);
    made.copy_origin = ATTN_ORIGIN_MEASURED;
    if (status == ATTN_OK)
        status = attn_rate_measure(comm, problem, options->pass, kernel, threads, options->node_ranks, made.cores,
                                   &made.rate[options->pass][problem->dtype], error);
    if (status == ATTN_OK)
        status = attn_comm_broadcast(comm, 0, &made, sizeof made, error);
    if (status == ATTN_OK)
        *out = made;
    return status;
}

/* One candidate with arrays of its own. */
typedef struct trial {
    attn_dist *dist;
    void *arrays[9];
    attn_dist_buffers buffers;
    attn_dist_backward_buffers gradients;
} trial;

/* Random numbers that repeat: making each of them anew would take longer than the passes. */
static void fill(void *array, size_t count, attn_dtype dtype)
{
    enum { BLOCK = 16384 };
    const size_t element = attn_dtype_size(dtype), first = count < BLOCK ? count : BLOCK;

    attn_random_fill(0, ATTN_STREAM_TEST, 0, first, dtype, array);
    for (size_t done = first; done < count; done += BLOCK)
        memcpy((char *)array + done * element, array, (count - done < BLOCK ? count - done : BLOCK) * element);
}

static attn_status make_arrays(trial *one, attn_error *error)
{
    const attn_plan *plan = attn_dist_plan(one->dist);
    const attn_part *part = attn_dist_part(one->dist);
    const attn_shape *shape = &plan->problem.shape;
    const size_t element = attn_dtype_size(plan->problem.dtype);
    const size_t sum = attn_dtype_size(attn_dtype_accumulator(plan->problem.dtype));
    const size_t batch = (size_t)shape->batch, D = (size_t)shape->head_dim, Dv = (size_t)shape->v_head_dim;
    const size_t rows = batch * (size_t)(part->head_count * part->q_rows->rows);
    const size_t keys = batch * (size_t)(part->kv_head_count * part->kv_rows->rows);
    const size_t outs = batch * (size_t)(attn_dist_output_heads(one->dist) * part->q_rows->rows);
    const size_t counts[9] = {rows * D, keys * D, keys * Dv, outs * Dv, rows, rows * Dv, rows * D, keys * D, keys * Dv};
    void **at = one->arrays, *k, *v;

    for (int n = 0; n < (plan->pass == ATTN_PASS_BACKWARD ? 9 : 5); n++) {
        at[n] = attn_aligned_alloc(counts[n] * (n == 4 ? sum : element) + 1);
        if (at[n] == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory to measure a candidate");
        if (n != 4)
            fill(at[n], counts[n], plan->problem.dtype);
    }
    attn_dist_own_memory(one->dist, &k, &v);
    if (k != NULL)
        fill(k, counts[1], plan->problem.dtype);
    if (v != NULL)
        fill(v, counts[2], plan->problem.dtype);
    one->buffers = (attn_dist_buffers){
        .q = at[0], .k = k != NULL ? k : at[1], .v = v != NULL ? v : at[2], .o = at[3], .lse = at[4]};
    one->gradients = (attn_dist_backward_buffers){.q = at[0],
                                                  .k = one->buffers.k,
                                                  .v = one->buffers.v,
                                                  .o = at[3],
                                                  .lse = at[4],
                                                  .d_o = at[5],
                                                  .dq = at[6],
                                                  .dk = at[7],
                                                  .dv = at[8]};
    return ATTN_OK;
}

static attn_status time_pass(trial *one, double *out, attn_error *error)
{
    double seconds[ATTN_PHASE_COUNT] = {0};
    attn_status status = attn_comm_barrier(attn_dist_comm(one->dist), error);

    if (status == ATTN_OK)
        status = attn_dist_plan(one->dist)->pass == ATTN_PASS_BACKWARD
                     ? attn_dist_backward(one->dist, &one->gradients, seconds, error)
                     : attn_dist_forward(one->dist, &one->buffers, seconds, error);
    *out = seconds[ATTN_PHASE_TOTAL];
    return status == ATTN_OK ? attn_comm_max(attn_dist_comm(one->dist), out, 1, error) : status;
}

/* Median of some passes, as many as take about 0.1 s. */
static attn_status time_trial(trial *one, double *out, attn_error *error)
{
    enum { LEAST = 3, MOST = 31 };
    double times[MOST], first = 0;
    int count = LEAST;
    attn_status status = time_pass(one, &first, error); /* warms up */

    if (status == ATTN_OK)
        status = time_pass(one, &first, error);
    if (status == ATTN_OK && first * LEAST < 0.1) /* the same on all ranks */
        count = (int)fmin(MOST, fmax(LEAST, 0.1 / fmax(first, 1e-6)));
    for (int n = 0; status == ATTN_OK && n < count; n++)
        status = time_pass(one, &times[n], error);
    if (status == ATTN_OK)
        *out = attn_median_of(times, count);
    return status;
}

/* Collective. The time of one plan; 0 when it cannot run here. */
static attn_status try_plan(MPI_Comm comm, const attn_plan *plan, double *out, attn_error *error)
{
    trial one = {.dist = NULL};
    attn_error why = ATTN_ERROR_INIT;
    double seconds[ATTN_PHASE_COUNT];
    attn_status status = attn_dist_create(comm, plan, &one.dist, &why);

    *out = 0;
    if (status == ATTN_OK)
        status = attn_comm_agree(comm, make_arrays(&one, &why), &why);
    if (status == ATTN_OK && plan->pass == ATTN_PASS_BACKWARD)
        status = attn_dist_forward(one.dist, &one.buffers, seconds, &why);
    if (status == ATTN_OK)
        status = time_trial(&one, out, &why);
    if (status != ATTN_MPI)
        attn_dist_destroy(one.dist);
    for (int n = 0; n < 9; n++)
        free(one.arrays[n]);
    if (status == ATTN_MEMORY || status == ATTN_UNSUPPORTED)
        return ATTN_OK;
    return status == ATTN_OK ? ATTN_OK : attn_error_set(error, status, "%s", why.message);
}

/* Runs the candidates and takes the fastest; the first is the model's choice. Those beyond the memory stand last and
 * are not run: they would take the memory of the others, or end the program. */
static attn_status measure(MPI_Comm comm, const attn_candidate *list, size_t count, double memory, attn_plan *out,
                           attn_tuning *report, attn_error *error)
{
    const double reach = (1 + ATTN_TUNING_REACH) * list[0].estimate.seconds;
    size_t best = 0;
    attn_status status = ATTN_OK;

    for (size_t n = 0; status == ATTN_OK && n < count && report->tried < ATTN_TUNING_MOST; n++) {
        double seconds;

        if (list[n].estimate.seconds > reach || (memory > 0 && list[n].estimate.memory > memory))
            continue;
        status = try_plan(comm, &list[n].plan, &seconds, error);
        if (status != ATTN_OK || seconds <= 0)
            continue;
        report->tried++;
        if (n == 0)
            report->model_measured = seconds;
        if (report->measured <= 0 || seconds < report->measured) {
            report->measured = seconds;
            best = n;
        }
    }
    if (status != ATTN_OK)
        return status;
    if (report->model_measured > 0)
        report->regret = report->model_measured / report->measured - 1;
    report->predicted = list[best].estimate.seconds;
    *out = list[best].plan;
    return ATTN_OK;
}

attn_status attn_plan_create(MPI_Comm comm, const attn_problem *problem, const attn_plan_options *options,
                             attn_plan_mode mode, const attn_machine *machine, attn_plan *out, attn_tuning *report,
                             attn_error *error)
{
    const int ranks = attn_comm_size(comm);
    attn_machine measured;
    attn_candidate *list = NULL;
    attn_tuning made = {0};
    attn_plan plan;
    size_t count = 0;
    attn_status status = ATTN_OK;

    if (mode == ATTN_PLAN_MODE_RULE && machine == NULL) {
        status = attn_comm_agree(comm, attn_plan_make(problem, ranks, options, &plan, error), error);
        goto done;
    }
    if (machine == NULL) {
        status = attn_machine_measure(comm, problem, options, &measured, error);
        machine = &measured;
    }
    if (status != ATTN_OK)
        return status;
    if (mode == ATTN_PLAN_MODE_RULE || !attn_plan_open(ranks, options)) {
        attn_estimate estimate = {0};

        status = attn_plan_make(problem, ranks, options, &plan, error);
        if (status == ATTN_OK)
            status = attn_plan_estimate(&plan, machine, &estimate, error);
        status = attn_comm_agree(comm, status, error);
        made.predicted = estimate.seconds;
    } else {
        status = attn_plan_candidates(problem, ranks, options, machine, &list, &count, error);
        status = attn_comm_agree(comm, status, error);
        if (status == ATTN_OK && mode == ATTN_PLAN_MODE_MEASURE) {
            status = measure(comm, list, count, machine->memory, &plan, &made, error);
        } else if (status == ATTN_OK) {
            plan = list[0].plan;
            made.predicted = list[0].estimate.seconds;
        }
        free(list);
    }
done:
    if (status != ATTN_OK)
        return status;
    *out = plan;
    if (report != NULL)
        *report = made;
    return ATTN_OK;
}
