#include "plan/exchange.h"

#include <assert.h>

static int64_t greatest_common_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        const int64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* The grid by rule: heads first, because splitting heads costs no exchange. */
static attn_grid choose_grid(const attn_problem *problem, int ranks, const attn_exchange *exchange)
{
    int head;

    if (exchange == attn_exchange_find("none"))
        head = ranks;
    else if (exchange != NULL)
        head = 1;
    else
        head = (int)greatest_common_divisor(ranks, problem->shape.kv_heads);
    return (attn_grid){.seq = ranks / head, .head = head};
}

attn_status attn_plan_make(const attn_problem *problem, int ranks, const attn_plan_options *options, attn_plan *out,
                           attn_error *error)
{
    attn_plan plan = {.problem = *problem,
                      .ranks = ranks,
                      .grid = options->grid,
                      .exchange = options->exchange,
                      .layout = options->layout,
                      .combine = options->combine,
                      .kernel = options->kernel,
                      .threads = options->threads > 0 ? options->threads : 1};
    char reason[ATTN_MESSAGE_MAX];
    const attn_status status = attn_problem_check(problem, error);

    assert(ranks >= 1);
    if (status != ATTN_OK)
        return status;
    if (plan.grid.seq == 0 && plan.grid.head == 0)
        plan.grid = choose_grid(problem, ranks, plan.exchange);
    if (plan.grid.seq < 1 || plan.grid.head < 1 || (int64_t)plan.grid.seq * plan.grid.head != ranks)
        return attn_error_set(error, ATTN_UNSUPPORTED,
                              "grid %dx%d has %lld ranks and %d run; PSxPH must multiply to %d", plan.grid.seq,
                              plan.grid.head, (long long)plan.grid.seq * plan.grid.head, ranks, ranks);
    if (plan.exchange == NULL)
        plan.exchange = attn_exchange_find(plan.grid.seq == 1 ? "none" : "allgather");
    if (plan.layout == NULL)
        plan.layout = attn_layout_find(problem->mask.causal ? "zigzag" : "contiguous");
    if (plan.combine == NULL)
        plan.combine = attn_combine_find("allgather");
    if (plan.kernel == NULL)
        plan.kernel = attn_kernel_best(problem->dtype);
    if (!plan.exchange->applicable(&plan, reason, sizeof reason))
        return attn_error_set(error, ATTN_UNSUPPORTED, "exchange %s: %s", plan.exchange->name, reason);
    if (!attn_kernel_available(plan.kernel, problem->dtype, reason, sizeof reason))
        return attn_error_set(error, ATTN_UNSUPPORTED, "kernel %s: %s", attn_kernel_name(plan.kernel), reason);
    *out = plan;
    return ATTN_OK;
}

attn_status attn_plan_predict(const attn_plan *plan, int rank, attn_prediction *out, attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const double element = (double)attn_dtype_size(plan->problem.dtype);
    const double sum_element = (double)attn_dtype_size(attn_dtype_accumulator(plan->problem.dtype));
    const double batch = (double)shape->batch;
    attn_prediction prediction = {0};
    double heads;
    attn_part *part;
    attn_status status;

    status = attn_part_create(&plan->problem, plan->grid, plan->layout, rank, &part, error);
    if (status != ATTN_OK)
        return status;
    heads = (double)plan->combine->output_heads(plan, part);
    prediction.pairs = attn_part_pairs(&plan->problem, part);
    prediction.input_bytes =
        batch * element *
        ((double)part->head_count * (double)part->q_rows->rows * (double)shape->head_dim +
         (double)part->kv_head_count * (double)part->kv_rows->rows * (double)(shape->head_dim + shape->v_head_dim));
    prediction.output_bytes = batch * (double)part->q_rows->rows *
                              (heads * element * (double)shape->v_head_dim + (double)part->head_count * sum_element);
    status = plan->exchange->predict(plan, part, &prediction, error);
    if (status == ATTN_OK)
        status = plan->combine->predict(plan, part, &prediction, error);
    attn_part_destroy(part);
    if (status == ATTN_OK)
        *out = prediction;
    return status;
}

static void keep_larger(double *largest, double value)
{
    if (value > *largest)
        *largest = value;
}

attn_status attn_plan_predict_max(const attn_plan *plan, attn_prediction *out, attn_error *error)
{
    attn_prediction largest = {0};

    for (int rank = 0; rank < plan->ranks; rank++) {
        attn_prediction one;
        const attn_status status = attn_plan_predict(plan, rank, &one, error);

        if (status != ATTN_OK)
            return status;
        keep_larger(&largest.exchange_bytes, one.exchange_bytes);
        keep_larger(&largest.combine_bytes, one.combine_bytes);
        keep_larger(&largest.messages, one.messages);
        keep_larger(&largest.input_bytes, one.input_bytes);
        keep_larger(&largest.output_bytes, one.output_bytes);
        keep_larger(&largest.extra_bytes, one.extra_bytes);
        keep_larger(&largest.pairs, one.pairs);
    }
    *out = largest;
    return ATTN_OK;
}
