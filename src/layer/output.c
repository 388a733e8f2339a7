#include "layer/output.h"

#include "core/checked.h"
#include "layer/place.h"
#include "layer/project.h"

#include <attn/machine.h>

#include <math.h>

#include <stdlib.h>
#include <string.h>

struct attn_output {
    attn_layer_problem problem;
    attn_layer_output way;
    attn_shares *shares;
    int threads;
    int64_t *columns;      /* [ranks + 1] byte of a line of all heads at which a rank's heads begin */
    int64_t own, all;      /* columns of this rank's heads; of all heads */
    attn_project *project; /* NULL: no output projection */
    void *lines;           /* [lines of the part,own] NULL: they are y */
    void *rows;            /* allgather: [own lines,all] NULL: they are lines, or y */
    void *room;            /* what others send */
    void *sums;            /* reduce-scatter: [lines of the part,out] in the accumulator type */
    void *own_sums;        /* reduce-scatter: [own lines,out]; NULL: y is of that type */
    void *d_lines;         /* [lines of the part,own]; NULL: no backward pass, or dy */
    void *d_rows;          /* allgather: [own lines,all]; NULL: d_lines, or dy */
    void *d_y;             /* reduce-scatter: [lines of the part,out], gathered */
};

/* s of all that depends on the way: its bytes at a link's rate, its FLOP at a kernel's. */
static double estimate(const attn_layer_problem *problem, const attn_plan *plan, attn_layer_output way)
{
    const attn_machine machine = attn_machine_default();
    const attn_link link = plan->node_ranks >= plan->ranks ? machine.node : machine.network;
    const attn_shape *const shape = &problem->attention.shape;
    const attn_dtype dtype = problem->attention.dtype;
    const double e = (double)attn_dtype_size(dtype), a = (double)attn_dtype_size(attn_dtype_accumulator(dtype));
    const double Ps = plan->grid.seq, Ph = plan->grid.head, P = plan->ranks, out = (double)problem->out_dim;
    const double rows = (double)((shape->seq - 1) / plan->grid.seq + 1);
    const double L = (double)shape->batch * rows, n = (double)shape->batch * ((double)(int64_t)((rows - 1) / Ph) + 1);
    const double all = (double)(shape->heads * shape->v_head_dim);
    const double own = (double)(((shape->heads - 1) / plan->grid.head + 1) * shape->v_head_dim);
    const bool gathers = way == ATTN_LAYER_OUTPUT_ALLGATHER, back = plan->pass == ATTN_PASS_BACKWARD;
    const double products = gathers ? n * all * out : L * own * out;
    double bytes = gathers ? (L - n) * own * e : (L - n) * out * a;
    double rate = machine.rate[ATTN_PASS_FORWARD][dtype].flops * plan->threads;

    if (back)
        bytes += gathers ? n * (all - own) * e + 2 * (P - 1) / P * out * all * a
                         : (Ph - 1) * n * out * e + 2 * (Ps - 1) / Ps * out * own * a;
    if (!(rate > 0))
        rate = INFINITY;
    return bytes * link.beta + (back ? 6 : 2) * products / rate;
}

attn_layer_output attn_output_choose(const attn_layer_problem *problem, const attn_plan *plan)
{
    if (problem->out_dim == 0 || plan->grid.head == 1)
        return ATTN_LAYER_OUTPUT_ALLGATHER;
    return estimate(problem, plan, ATTN_LAYER_OUTPUT_REDUCE_SCATTER) <
                   estimate(problem, plan, ATTN_LAYER_OUTPUT_ALLGATHER)
               ? ATTN_LAYER_OUTPUT_REDUCE_SCATTER
               : ATTN_LAYER_OUTPUT_ALLGATHER;
}

static bool scatters(const attn_output *output)
{
    return output->way == ATTN_LAYER_OUTPUT_REDUCE_SCATTER;
}

static attn_status create_forward(attn_output *output, attn_error *error)
{
    const attn_dtype dtype = output->problem.attention.dtype, sum = attn_dtype_accumulator(dtype);
    const int ranks = attn_shares_ranks(output->shares);
    const int64_t lines = attn_shares_lines(output->shares), own_lines = attn_shares_own_lines(output->shares);
    const int64_t out = output->problem.out_dim;
    attn_status status = ATTN_OK;

    if (ranks > 1 || out > 0)
        status = attn_lines_allocate(lines, output->own, 1, dtype, &output->lines, error);
    if (scatters(output)) {
        if (status == ATTN_OK)
            status = attn_lines_allocate(lines, out, 1, sum, &output->sums, error);
        if (status == ATTN_OK)
            status = attn_lines_allocate(own_lines, out, ranks - 1, sum, &output->room, error);
        if (status == ATTN_OK && sum != dtype)
            status = attn_lines_allocate(own_lines, out, 1, sum, &output->own_sums, error);
        return status;
    }
    if (status == ATTN_OK && ranks > 1)
        status = attn_lines_allocate(own_lines, output->all, 1, dtype, &output->room, error);
    if (status == ATTN_OK && ranks > 1 && out > 0)
        status = attn_lines_allocate(own_lines, output->all, 1, dtype, &output->rows, error);
    return status;
}

static attn_status create_backward(attn_output *output, attn_error *error)
{
    const attn_dtype dtype = output->problem.attention.dtype;
    const int ranks = attn_shares_ranks(output->shares);
    const int64_t lines = attn_shares_lines(output->shares), out = output->problem.out_dim;
    attn_status status = ATTN_OK;

    if (ranks > 1 || out > 0)
        status = attn_lines_allocate(lines, output->own, 1, dtype, &output->d_lines, error);
    if (status == ATTN_OK && scatters(output))
        status = attn_lines_allocate(lines, out, 1, dtype, &output->d_y, error);
    else if (status == ATTN_OK && ranks > 1 && out > 0)
        status =
            attn_lines_allocate(attn_shares_own_lines(output->shares), output->all, 1, dtype, &output->d_rows, error);
    return status;
}

static attn_status create_projection(attn_output *output, bool backward, attn_error *error)
{
    const attn_dtype dtype = output->problem.attention.dtype;
    const int64_t lines = scatters(output) ? attn_shares_lines(output->shares) : attn_shares_own_lines(output->shares);
    const attn_project_setup setup = {.lines = lines,
                                      .block = lines > 0 ? lines : 1,
                                      .in = scatters(output) ? output->own : output->all,
                                      .out = output->problem.out_dim,
                                      .back = output->problem.out_dim,
                                      .dtype = dtype,
                                      .y_dtype = scatters(output) ? attn_dtype_accumulator(dtype) : dtype,
                                      .bias = output->problem.bias[ATTN_PROJECTION_OUT] && !scatters(output),
                                      .backward = backward,
                                      .threads = output->threads};

    return attn_project_create(&setup, &output->project, error);
}

attn_status attn_output_create(const attn_layer_problem *problem, const attn_plan *plan, const attn_part *part,
                               attn_layer_output way, attn_shares *queries, attn_output **out, attn_error *error)
{
    const attn_shape *const shape = &problem->attention.shape;
    const int ranks = attn_shares_ranks(queries);
    attn_output *const output = calloc(1, sizeof *output);
    attn_status status = ATTN_OK;

    *out = NULL;
    if (output == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the output of heads");
    output->problem = *problem;
    output->way = problem->out_dim > 0 && ranks > 1 ? way : ATTN_LAYER_OUTPUT_ALLGATHER;
    output->shares = queries;
    output->threads = plan->threads;
    output->own = part->head_count * shape->v_head_dim;
    output->all = shape->heads * shape->v_head_dim;
    output->columns = attn_calloc_array(ranks + 1, sizeof *output->columns);
    if (output->columns == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the output of heads");
    for (int r = 0; status == ATTN_OK && r <= ranks; r++)
        output->columns[r] = attn_share_begin(shape->heads, ranks, r) * shape->v_head_dim *
                             (int64_t)attn_dtype_size(problem->attention.dtype);
    if (status == ATTN_OK)
        status = create_forward(output, error);
    if (status == ATTN_OK && plan->pass == ATTN_PASS_BACKWARD)
        status = create_backward(output, error);
    if (status == ATTN_OK && problem->out_dim > 0)
        status = create_projection(output, plan->pass == ATTN_PASS_BACKWARD, error);
    if (status != ATTN_OK) {
        attn_output_destroy(output);
        return status;
    }
    *out = output;
    return ATTN_OK;
}

void attn_output_destroy(attn_output *output)
{
    if (output == NULL)
        return;
    attn_project_destroy(output->project);
    free(output->columns);
    free(output->lines);
    free(output->rows);
    free(output->room);
    free(output->sums);
    free(output->own_sums);
    free(output->d_lines);
    free(output->d_rows);
    free(output->d_y);
    free(output);
}

void *attn_output_lines(attn_output *output, void *y)
{
    return output->lines != NULL ? output->lines : y;
}

/* y = sums + bias, rounded once. */
static void finish_sums(const attn_output *output, void *sums, const void *bias, void *y)
{
    const attn_dtype dtype = output->problem.attention.dtype, sum = attn_dtype_accumulator(dtype);
    const int64_t out = output->problem.out_dim, lines = attn_shares_own_lines(output->shares);

#pragma omp parallel for schedule(static) num_threads(output->threads)
    for (int64_t n = 0; n < lines; n++) {
        char *const from = (char *)sums + (size_t)(n * out) * attn_dtype_size(sum);

        if (bias != NULL)
            attn_add_line(dtype, bias, out, true, from);
        if (sums != y)
            attn_convert(dtype, (char *)y + (size_t)(n * out) * attn_dtype_size(dtype), sum, from, (size_t)out);
    }
}

static attn_status scatter_forward(attn_output *output, const void *weight, const void *bias, void *y, attn_laps *laps,
                                   attn_error *error)
{
    void *const sums = output->own_sums != NULL ? output->own_sums : y;
    attn_status status;

    if (output->own > 0)
        attn_project_forward(output->project, 0, output->lines, weight, NULL, output->sums);
    else
        memset(output->sums, 0,
               (size_t)(attn_shares_lines(output->shares) * output->problem.out_dim) *
                   attn_dtype_size(attn_dtype_accumulator(output->problem.attention.dtype)));
    attn_lap(laps, ATTN_PHASE_PROJECTION);
    status = attn_shares_sum(output->shares, attn_dtype_accumulator(output->problem.attention.dtype),
                             output->problem.out_dim, output->sums, output->room, sums, output->threads, error);
    if (status == ATTN_OK)
        finish_sums(output, sums, bias, y);
    attn_lap(laps, ATTN_PHASE_GATHER);
    return status;
}

attn_status attn_output_forward(attn_output *output, const void *weight, const void *bias, void *y, attn_laps *laps,
                                attn_error *error)
{
    void *const rows = output->rows != NULL ? output->rows : output->project == NULL ? y : output->lines;
    attn_status status = ATTN_OK;

    if (scatters(output))
        return scatter_forward(output, weight, bias, y, laps, error);
    if (attn_shares_ranks(output->shares) > 1) {
        status = attn_shares_heads_to_rows(output->shares, output->columns, output->lines, output->room, rows,
                                           output->threads, error);
        attn_lap(laps, ATTN_PHASE_GATHER);
    }
    if (status == ATTN_OK && output->project != NULL) {
        attn_project_forward(output->project, 0, rows, weight, bias, y);
        attn_lap(laps, ATTN_PHASE_PROJECTION);
    }
    return status;
}

/* Column sums of this rank's lines of dy. */
static void sum_columns(const attn_output *output, const void *dy, void *d_bias)
{
    enum { PIECE = 64 };
    const attn_dtype dtype = output->problem.attention.dtype, sum = attn_dtype_accumulator(dtype);
    const int64_t out = output->problem.out_dim, lines = attn_shares_own_lines(output->shares);

#pragma omp parallel for schedule(static) num_threads(output->threads)
    for (int64_t begin = 0; begin < out; begin += PIECE) {
        const size_t count = (size_t)(out - begin < PIECE ? out - begin : PIECE);
        double sums[PIECE] = {0}, line[PIECE];

        for (int64_t n = 0; n < lines; n++) {
            attn_convert(ATTN_FLOAT64, line, dtype,
                         (const char *)dy + (size_t)(n * out + begin) * attn_dtype_size(dtype), count);
            for (size_t c = 0; c < count; c++)
                sums[c] += line[c];
        }
        attn_convert(sum, (char *)d_bias + (size_t)begin * attn_dtype_size(sum), ATTN_FLOAT64, sums, count);
    }
}

static attn_status scatter_backward(attn_output *output, const void *weight, const void *dy, void *d_weight,
                                    void *d_bias, attn_laps *laps, attn_error *error)
{
    const attn_dtype dtype = output->problem.attention.dtype;
    const attn_status status = attn_shares_gather(
        output->shares, output->problem.out_dim * (int64_t)attn_dtype_size(dtype), dy, output->d_y, error);

    attn_lap(laps, ATTN_PHASE_GATHER);
    if (status != ATTN_OK)
        return status;
    if (output->problem.bias[ATTN_PROJECTION_OUT])
        sum_columns(output, dy, d_bias);
    if (output->own > 0) {
        attn_project_weights(output->project, output->d_y, output->lines, d_weight, NULL);
        attn_project_data(output->project, output->d_y, weight, dtype, false, output->d_lines);
    }
    attn_lap(laps, ATTN_PHASE_PROJECTION);
    return ATTN_OK;
}

attn_status attn_output_backward(attn_output *output, const void *weight, const void *dy, void *d_weight, void *d_bias,
                                 const void **d_lines, attn_laps *laps, attn_error *error)
{
    const bool alone = attn_shares_ranks(output->shares) == 1;
    const void *const rows = output->rows != NULL ? output->rows : output->lines;
    void *const d_rows = output->d_rows != NULL ? output->d_rows : output->d_lines;
    attn_status status = ATTN_OK;

    *d_lines = output->d_lines != NULL ? output->d_lines : dy;
    if (scatters(output))
        return scatter_backward(output, weight, dy, d_weight, d_bias, laps, error);
    if (output->project != NULL) {
        attn_project_weights(output->project, dy, rows, d_weight, d_bias);
        attn_project_data(output->project, dy, weight, output->problem.attention.dtype, false, d_rows);
        attn_lap(laps, ATTN_PHASE_PROJECTION);
    }
    if (!alone) {
        status = attn_shares_rows_to_heads(output->shares, output->columns, output->project != NULL ? d_rows : dy,
                                           output->room, output->d_lines, output->threads, error);
        attn_lap(laps, ATTN_PHASE_GATHER);
    }
    return status;
}
