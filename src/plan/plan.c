#include "plan/exchange.h"
#include "plan/needs.h"
#include "plan/part.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

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

/* The exchange by rule: few query rows go to the keys, many have the keys come to them. */
static const attn_exchange *choose_exchange(const attn_plan *plan)
{
    return attn_exchange_find(plan->grid.seq == 1 ? "none" : plan->pass == ATTN_PASS_DECODE ? "tree" : "allgather");
}

/* The names that an exchange accepts, "blocking, nonblocking". */
static void list_transfers(const attn_exchange *exchange, char *text, size_t size)
{
    size_t length = 0;

    text[0] = '\0';
    for (int t = ATTN_TRANSFER_AUTO + 1; t < ATTN_TRANSFER_COUNT && length < size; t++)
        if (attn_exchange_transfers(exchange, (attn_transfer)t))
            length += (size_t)snprintf(text + length, size - length, "%s%s", length > 0 ? ", " : "",
                                       attn_transfer_name((attn_transfer)t));
}

static attn_status choose_transfer(attn_plan *plan, attn_error *error)
{
    char names[ATTN_MESSAGE_MAX];

    if (plan->transfer == ATTN_TRANSFER_AUTO)
        plan->transfer = plan->exchange->transfer;
    if (plan->transfer == ATTN_TRANSFER_AUTO || attn_exchange_transfers(plan->exchange, plan->transfer))
        return ATTN_OK;
    list_transfers(plan->exchange, names, sizeof names);
    return attn_error_set(error, ATTN_UNSUPPORTED, "exchange %s: no transfer %s; it has %s", plan->exchange->name,
                          attn_transfer_name(plan->transfer), names[0] != '\0' ? names : "no choice");
}

/* By rule as many all-to-all ranks as divide both the group and its key-value heads, so that none is held twice. */
static attn_status choose_hybrid(attn_plan *plan, attn_error *error)
{
    const int ranks = plan->grid.seq;
    const int64_t kv_heads = plan->problem.shape.kv_heads / plan->grid.head;

    if (!plan->exchange->hybrid) {
        plan->hybrid = (attn_hybrid){0, 0, false};
        return ATTN_OK;
    }
    if (plan->hybrid.alltoall == 0 && plan->hybrid.ring == 0) {
        plan->hybrid.alltoall = (int)greatest_common_divisor(ranks, kv_heads > 0 ? kv_heads : 1);
        plan->hybrid.ring = ranks / plan->hybrid.alltoall;
    }
    if (plan->hybrid.alltoall >= 1 && plan->hybrid.ring >= 1 &&
        (int64_t)plan->hybrid.alltoall * plan->hybrid.ring == ranks)
        return ATTN_OK;
    return attn_error_set(error, ATTN_UNSUPPORTED,
                          "hybrid %dx%d: PUxPR must multiply to %d, the ranks of a sequence group",
                          plan->hybrid.alltoall, plan->hybrid.ring, ranks);
}

/* Whether the keys of each rank of a sequence group but the last are whole blocks of the kernel. */
static bool whole_blocks(const attn_plan *plan)
{
    const int64_t block = attn_kernel_key_block(plan->kernel);

    for (int r = 1; r < plan->grid.seq; r++)
        if (block == 0 || attn_share_begin(plan->problem.shape.kv_seq, plan->grid.seq, r) % block != 0)
            return false;
    return true;
}

/* Of what is left open in a deterministic plan, what can be. */
static void choose_deterministic(attn_plan *plan, const attn_plan_options *options)
{
    const bool open = options->exchange == NULL && options->grid.seq == 0;

    if (open && (!whole_blocks(plan) || plan->pass == ATTN_PASS_BACKWARD)) {
        plan->grid = (attn_grid){.seq = 1, .head = plan->ranks};
        plan->exchange = &attn_exchange_none;
    }
    if (options->exchange == NULL && plan->exchange->one_step == 0)
        plan->exchange = attn_exchange_find("allgather");
    if (options->layout == NULL)
        plan->layout = attn_layout_find("contiguous");
    for (int t = ATTN_TRANSFER_AUTO + 1; t < ATTN_TRANSFER_COUNT && plan->transfer == ATTN_TRANSFER_AUTO; t++)
        if ((plan->exchange->one_step >> t & 1) != 0)
            plan->transfer = (attn_transfer)t;
}

/* Why a plan cannot be deterministic, or an empty reason. */
static void refuse_deterministic(const attn_plan *plan, char *reason, size_t size)
{
    const attn_mask *mask = &plan->problem.mask;
    const attn_exchange *exchange = attn_exchange_of(plan);
    const attn_transfer transfer = exchange == plan->exchange ? plan->transfer : ATTN_TRANSFER_AUTO;

    reason[0] = '\0';
    if (mask->window_left >= 0 || mask->cu_seqlens != NULL)
        snprintf(reason, size, "a left window and packed documents let the blocks of keys depend on the ranks' rows");
    else if ((exchange->one_step >> transfer & 1) == 0)
        snprintf(reason, size, "exchange %s%s%s merges partial results of each rank", exchange->name,
                 transfer != ATTN_TRANSFER_AUTO ? ", " : "",
                 transfer != ATTN_TRANSFER_AUTO ? attn_transfer_name(transfer) : "");
    else if (plan->grid.seq > 1 && plan->layout != attn_layout_find("contiguous"))
        snprintf(reason, size, "layout %s mixes keys of several places; contiguous is accepted",
                 attn_layout_name(plan->layout));
    else if (plan->grid.seq > 1 && plan->pass == ATTN_PASS_BACKWARD)
        snprintf(reason, size, "grid %dx%d: gradients of keys are sums over the ranks of a split sequence",
                 plan->grid.seq, plan->grid.head);
    else if (plan->pass == ATTN_PASS_BACKWARD && plan->problem.shape.kv_heads % plan->grid.head != 0)
        snprintf(reason, size, "%d ranks share key-value heads, of which there are %lld, and sum their gradients",
                 plan->grid.head, (long long)plan->problem.shape.kv_heads);
    else if (!whole_blocks(plan) && attn_kernel_key_block(plan->kernel) == 0)
        snprintf(reason, size, "kernel %s sums the keys of each rank by themselves", attn_kernel_name(plan->kernel));
    else if (!whole_blocks(plan))
        snprintf(reason, size, "kv-seq %lld over %d ranks: each rank must have a multiple of %lld keys",
                 (long long)plan->problem.shape.kv_seq, plan->grid.seq, (long long)attn_kernel_key_block(plan->kernel));
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
                      .pass = options->pass,
                      .transfer = options->transfer,
                      .hybrid = options->hybrid,
                      .node_ranks =
                          options->node_ranks > 0 && options->node_ranks < ranks ? options->node_ranks : ranks,
                      .threads = options->threads > 0 ? options->threads : 1,
                      .deterministic = options->deterministic};
    char reason[ATTN_MESSAGE_MAX];
    attn_status status = attn_problem_check(problem, error);

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
        plan.exchange = choose_exchange(&plan);
    if (plan.layout == NULL)
        plan.layout = attn_layout_find(problem->mask.causal ? "zigzag" : "contiguous");
    if (plan.combine == NULL)
        plan.combine = attn_combine_find("allgather");
    if (plan.kernel == NULL)
        status = attn_kernel_choose(plan.pass, problem->dtype, problem->dropout > 0, &plan.kernel, error);
    if (status != ATTN_OK)
        return status;
    if (plan.deterministic)
        choose_deterministic(&plan, options);
    if (plan.exchange->applicable != NULL && !plan.exchange->applicable(&plan, reason, sizeof reason))
        return attn_error_set(error, ATTN_UNSUPPORTED, "exchange %s: %s", plan.exchange->name, reason);
    if (plan.pass == ATTN_PASS_BACKWARD && plan.exchange->predict_backward == NULL)
        return attn_error_set(error, ATTN_UNSUPPORTED, "exchange %s: it has no backward pass", plan.exchange->name);
    status = choose_transfer(&plan, error);
    if (status == ATTN_OK)
        status = choose_hybrid(&plan, error);
    if (status != ATTN_OK)
        return status;
    if (!attn_kernel_computes(plan.kernel, plan.pass, problem, reason, sizeof reason))
        return attn_error_set(error, ATTN_UNSUPPORTED, "kernel %s: %s", attn_kernel_name(plan.kernel), reason);
    if (plan.deterministic)
        refuse_deterministic(&plan, reason, sizeof reason);
    if (plan.deterministic && reason[0] != '\0')
        return attn_error_set(error, ATTN_UNSUPPORTED, "deterministic: %s", reason);
    *out = plan;
    return ATTN_OK;
}

void attn_part_arrays(const attn_plan *plan, const attn_part *part, attn_prediction *out)
{
    const attn_shape *shape = &plan->problem.shape;
    const double element = (double)attn_dtype_size(plan->problem.dtype);
    const double sum_element = (double)attn_dtype_size(attn_dtype_accumulator(plan->problem.dtype));
    const double batch = (double)shape->batch, D = (double)shape->head_dim, Dv = (double)shape->v_head_dim;
    const double heads = (double)part->head_count, kv_heads = (double)part->kv_head_count;
    const double rows = (double)part->q_rows->rows, kv_rows = (double)part->kv_rows->rows;
    const double output_heads = (double)plan->combine->output_heads(plan, part);
    const double inputs = batch * element * (heads * rows * D + kv_heads * kv_rows * (D + Dv));
    const double outputs = batch * rows * (output_heads * element * Dv + heads * sum_element);

    *out = (attn_prediction){.input_bytes = inputs, .output_bytes = outputs};
    if (plan->pass == ATTN_PASS_BACKWARD) {
        /* o, lse and do come in; dq, dk and dv have the shapes of q, k and v. */
        out->input_bytes = inputs + outputs + batch * heads * rows * Dv * element;
        out->output_bytes = inputs;
    }
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, double head_pairs,
                           attn_prediction *out, attn_error *error)
{
    attn_status status;

    attn_part_arrays(plan, part, out);
    out->pairs = part->head_count > 0 ? (double)part->head_count * head_pairs : 0;
    if (plan->pass == ATTN_PASS_BACKWARD)
        return attn_exchange_of(plan)->predict_backward(plan, needs, part, out, error);
    status = attn_exchange_of(plan)->predict(plan, needs, part, out, error);
    return status == ATTN_OK ? plan->combine->predict(plan, part, out, error) : status;
}

attn_status attn_plan_predict(const attn_plan *plan, int rank, attn_prediction *out, attn_error *error)
{
    attn_part *part;
    attn_needs *needs = NULL;
    attn_status status = attn_part_create(&plan->problem, plan->grid, plan->layout, rank, &part, error);

    if (status != ATTN_OK)
        return status;
    status = attn_needs_create(plan, &needs, error);
    if (status == ATTN_OK)
        status = predict(plan, needs, part, attn_part_head_pairs(&plan->problem, part->q_rows), out, error);
    attn_needs_destroy(needs);
    attn_part_destroy(part);
    return status;
}

attn_status attn_plan_predict_all(const attn_plan *plan, attn_plan_totals *out, attn_error *error)
{
    attn_plan_totals totals = {0};
    double most_pairs = 0;
    attn_needs *needs;
    attn_status status = attn_needs_create(plan, &needs, error);

    for (int ps = 0; ps < plan->grid.seq && status == ATTN_OK; ps++) {
        attn_part *part;
        double head_pairs;

        status = attn_part_create(&plan->problem, plan->grid, plan->layout, ps * plan->grid.head, &part, error);
        if (status != ATTN_OK)
            break;
        head_pairs = attn_part_head_pairs(&plan->problem, part->q_rows);
        for (int ph = 0; ph < plan->grid.head && status == ATTN_OK; ph++) {
            attn_prediction of;

            attn_part_assign_heads(part, &plan->problem, plan->grid, ph);
            status = predict(plan, needs, part, head_pairs, &of, error);
            totals.bytes = fmax(totals.bytes, of.exchange_bytes + of.combine_bytes);
            totals.messages = fmax(totals.messages, of.messages);
            totals.memory = fmax(totals.memory, of.input_bytes + of.output_bytes + of.extra_bytes);
            totals.pairs += of.pairs;
            most_pairs = fmax(most_pairs, of.pairs);
        }
        attn_part_destroy(part);
    }
    attn_needs_destroy(needs);
    if (status != ATTN_OK)
        return status;
    totals.imbalance = totals.pairs > 0 ? most_pairs * plan->ranks / totals.pairs : 1;
    *out = totals;
    return ATTN_OK;
}
