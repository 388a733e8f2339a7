/* The cost model: what a pass of a plan takes on a machine. Derived in docs/planner.md.
 *
 * Every term is that of the rank which has most of it, so a plan whose ranks differ is not made better by ranks that
 * wait. Volumes are those that the rows of the tables predict, and pairs are exact. */
#include "plan/model.h"

#include "plan/needs.h"
#include "plan/part.h"

#include <attn/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct attn_survey {
    attn_needs *needs;
    attn_part **parts;  /* [Ps], of head index 0; heads are assigned as they are needed */
    double *head_pairs; /* [Ps] */
    int count;
    double most_pairs; /* of these */
    int64_t runs;      /* most runs of rows of a part */
};

void attn_survey_destroy(attn_survey *survey)
{
    if (survey == NULL)
        return;
    for (int ps = 0; survey->parts != NULL && ps < survey->count; ps++)
        attn_part_destroy(survey->parts[ps]);
    attn_needs_destroy(survey->needs);
    free(survey->parts);
    free(survey->head_pairs);
    free(survey);
}

attn_status attn_survey_create(const attn_plan *plan, attn_survey **out, attn_error *error)
{
    attn_survey *survey = calloc(1, sizeof *survey);
    attn_status status = ATTN_OK;

    *out = NULL;
    if (survey != NULL) {
        survey->count = plan->grid.seq;
        survey->parts = calloc((size_t)survey->count, sizeof(attn_part *));
        survey->head_pairs = calloc((size_t)survey->count, sizeof *survey->head_pairs);
    }
    if (survey == NULL || survey->parts == NULL || survey->head_pairs == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the parts of %d ranks", plan->ranks);
    if (status == ATTN_OK)
        status = attn_needs_create(plan, &survey->needs, error);
    for (int ps = 0; status == ATTN_OK && ps < survey->count; ps++) {
        status =
            attn_part_create(&plan->problem, plan->grid, plan->layout, ps * plan->grid.head, &survey->parts[ps], error);
        if (status != ATTN_OK)
            break;
        survey->head_pairs[ps] = attn_part_head_pairs(&plan->problem, survey->parts[ps]->q_rows);
        survey->most_pairs = fmax(survey->most_pairs, survey->head_pairs[ps]);
        if (survey->parts[ps]->q_rows->count > survey->runs)
            survey->runs = survey->parts[ps]->q_rows->count;
    }
    if (status != ATTN_OK) {
        attn_survey_destroy(survey);
        return status;
    }
    *out = survey;
    return ATTN_OK;
}

double attn_survey_most_pairs(const attn_survey *survey)
{
    return survey->most_pairs;
}

bool attn_survey_many_runs(const attn_survey *survey)
{
    enum { MANY_RUNS = 128 };

    return survey->runs > MANY_RUNS;
}

/* A link of which a share of the traffic is far. */
static attn_link mix(const attn_machine *machine, double far)
{
    const attn_link *near = &machine->node, *away = &machine->network;

    return (attn_link){.alpha = near->alpha + far * (away->alpha - near->alpha),
                       .beta = near->beta + far * (away->beta - near->beta),
                       .hidden = near->hidden + far * (away->hidden - near->hidden)};
}

static double transfer(const attn_link *link, double messages, double bytes)
{
    return messages * link->alpha + bytes * link->beta;
}

double attn_model_rank_rate(const attn_plan *plan, const attn_machine *machine)
{
    const double share = machine->cores > 0 ? (double)machine->cores / plan->node_ranks : plan->threads;
    double flops = machine->rate[plan->pass][plan->problem.dtype].flops;

    if (flops <= 0)
        flops = attn_machine_default().rate[plan->pass][plan->problem.dtype].flops;
    return flops * fmin(plan->threads, share);
}

/* A number that the model can work with: not negative, finite, at most that. NaN is none. */
static attn_status check_number(const char *of, const char *name, double value, double most, attn_error *error)
{
    if (value >= 0 && value <= most && isfinite(value))
        return ATTN_OK;
    return attn_error_set(error, ATTN_ARGUMENT, "machine: %s%s %g: %s is expected", of, name, value,
                          most == 1 ? "0 to 1" : "a finite number that is not negative");
}

static attn_status check_machine(const attn_plan *plan, const attn_machine *machine, attn_error *error)
{
    const attn_link *const links[] = {&machine->node, &machine->network};
    static const char *const names[] = {"node ", "network "};
    attn_status status =
        check_number("", "rate", machine->rate[plan->pass][plan->problem.dtype].flops, INFINITY, error);

    if (status == ATTN_OK)
        status = check_number("", "cores", machine->cores, INFINITY, error);
    if (status == ATTN_OK)
        status = check_number("", "copy_bandwidth", machine->copy_bandwidth, INFINITY, error);
    if (status == ATTN_OK)
        status = check_number("", "memory", machine->memory, INFINITY, error);
    for (int n = 0; n < 2 && status == ATTN_OK; n++) {
        status = check_number(names[n], "alpha", links[n]->alpha, INFINITY, error);
        if (status == ATTN_OK)
            status = check_number(names[n], "beta", links[n]->beta, INFINITY, error);
        if (status == ATTN_OK)
            status = check_number(names[n], "hidden", links[n]->hidden, 1, error);
    }
    return status;
}

/* What the ranks have most of. */
typedef struct loads {
    attn_prediction exchange, combine; /* bytes and messages of each, and memory */
    attn_prediction ring;              /* of the exchange, where the cost model is told of it apart */
    double pairs, memory;
    double partial_bytes; /* o and lse, or dq, in the type of the sums */
} loads;

static void take_most(attn_prediction *most, const attn_prediction *of)
{
    most->exchange_bytes = fmax(most->exchange_bytes, of->exchange_bytes);
    most->combine_bytes = fmax(most->combine_bytes, of->combine_bytes);
    most->messages = fmax(most->messages, of->messages);
}

static attn_status add_rank(const attn_plan *plan, const attn_survey *survey, const attn_part *part, loads *most,
                            attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const bool backward = plan->pass == ATTN_PASS_BACKWARD;
    const double sum = (double)attn_dtype_size(attn_dtype_accumulator(plan->problem.dtype));
    const double rows = (double)shape->batch * (double)part->head_count * (double)part->q_rows->rows;
    const double width = backward ? (double)shape->head_dim : (double)shape->v_head_dim + 1;
    const attn_exchange *exchange = attn_exchange_of(plan);
    attn_prediction sent = {0}, ring = {0}, combined = {0}, arrays;
    attn_status status =
        (backward ? exchange->predict_backward : exchange->predict)(plan, survey->needs, part, &sent, error);

    if (status == ATTN_OK && exchange->cost.ring != NULL)
        status = exchange->cost.ring(plan, survey->needs, part, &ring, error);
    if (status == ATTN_OK && !backward)
        status = plan->combine->predict(plan, part, &combined, error);
    if (status != ATTN_OK)
        return status;
    attn_part_arrays(plan, part, &arrays);
    sent.exchange_bytes -= ring.exchange_bytes;
    sent.messages -= ring.messages;
    take_most(&most->exchange, &sent);
    take_most(&most->ring, &ring);
    take_most(&most->combine, &combined);
    if (part->head_count > 0)
        most->pairs = fmax(most->pairs, (double)part->head_count * survey->most_pairs);
    most->memory =
        fmax(most->memory, arrays.input_bytes + arrays.output_bytes + sent.extra_bytes + combined.extra_bytes);
    most->partial_bytes = fmax(most->partial_bytes, rows * width * sum);
    return ATTN_OK;
}

/* Ranks with the same rows and as many heads of each kind have the same volumes but for gradients of shared heads,
 * which differ between the first, the middle and the last ranks that share one: one of each kind is looked at. Parts of
 * very many runs are alike, and dear to look at: the first two and the last are. */
static attn_status add_ranks(const attn_plan *plan, const attn_survey *survey, loads *most, attn_error *error)
{
    enum { SEEN_MAX = 16 };
    attn_status status = ATTN_OK;

    for (int ps = 0; ps < survey->count; ps++) {
        int64_t seen[SEEN_MAX][2];
        int known = 0;

        if (attn_survey_many_runs(survey) && ps > 1 && ps + 1 < survey->count)
            continue;
        for (int ph = 0; ph < plan->grid.head && status == ATTN_OK; ph++) {
            attn_part *part = survey->parts[ps];
            int n = 0;

            attn_part_assign_heads(part, &plan->problem, plan->grid, ph);
            while (n < known && (seen[n][0] != part->head_count || seen[n][1] != part->kv_head_count))
                n++;
            if (n < known && ph > 0 && ph + 1 < plan->grid.head)
                continue;
            if (n == known && known < SEEN_MAX) {
                seen[known][0] = part->head_count;
                seen[known++][1] = part->kv_head_count;
            }
            status = add_rank(plan, survey, part, most, error);
        }
    }
    return status;
}

/* Most parts, its own among them, of which a part sees keys: what it computes one after the other, and merges. */
static int most_seen(const attn_needs *needs)
{
    int most = 1;

    for (int i = 0; i < needs->parts; i++) {
        int seen = 0;

        for (int j = 0; j < needs->parts; j++)
            seen += attn_needs_see(needs, i, j);
        most = seen > most ? seen : most;
    }
    return most;
}

/* The transfers of an exchange, what of them is hidden, and what is copied and merged beside them. */
static void add_exchange(const attn_survey *survey, const attn_plan *plan, const attn_machine *machine,
                         const loads *most, attn_estimate *made)
{
    const attn_exchange_cost *cost = &attn_exchange_of(plan)->cost;
    const double copy = machine->copy_bandwidth > 0 ? machine->copy_bandwidth : attn_machine_default().copy_bandwidth;
    const bool two = cost->ring != NULL;
    const attn_link link =
        mix(machine, (cost->far_share != NULL ? cost->far_share : attn_far_spread)(plan, survey->needs));
    const attn_link ring_link = two ? mix(machine, cost->ring_far_share(plan, survey->needs)) : link;
    const attn_prediction *const ring = two ? &most->ring : &most->exchange;
    const int ranks = two ? cost->ring_ranks(plan) : plan->grid.seq, seen = most_seen(survey->needs);
    const double around = transfer(&ring_link, ring->messages, ring->exchange_bytes);

    made->exchange = around + (two ? transfer(&link, most->exchange.messages, most->exchange.exchange_bytes) : 0);
    /* Behind the last part nothing is left to hide. */
    if (cost->overlaps >> plan->transfer & 1)
        made->hidden = fmin(ring_link.hidden * around, made->compute * (ranks - 1) / ranks);
    made->copy = cost->copies * most->exchange.exchange_bytes / copy;
    /* Reads two partial results and writes one, which is one copy and a half, as a copy reads one and writes one. */
    if (cost->merges >> plan->transfer & 1)
        made->copy += 1.5 * ((ranks < seen ? ranks : seen) - 1) * most->partial_bytes / copy;
}

attn_status attn_survey_estimate(const attn_survey *survey, const attn_plan *plan, const attn_machine *machine,
                                 attn_estimate *out, attn_error *error)
{
    const attn_shape *shape = &plan->problem.shape;
    const double D = (double)shape->head_dim, Dv = (double)shape->v_head_dim;
    const double pair_flops = plan->pass == ATTN_PASS_BACKWARD ? 6 * D + 4 * Dv : 2 * (D + Dv);
    const attn_link head_link = mix(machine, attn_far_heads(plan));
    attn_estimate made = {0};
    loads most = {0};
    attn_status status = check_machine(plan, machine, error);

    if (status == ATTN_OK)
        status = add_ranks(plan, survey, &most, error);
    if (status != ATTN_OK)
        return status;
    made.compute = most.pairs * pair_flops / attn_model_rank_rate(plan, machine);
    add_exchange(survey, plan, machine, &most, &made);
    made.combine = transfer(&head_link, most.combine.messages, most.combine.combine_bytes);
    made.memory = most.memory;
    made.seconds = made.compute + made.copy + (made.exchange - made.hidden) + made.combine;
    *out = made;
    return ATTN_OK;
}

attn_status attn_plan_estimate(const attn_plan *plan, const attn_machine *machine, attn_estimate *out,
                               attn_error *error)
{
    attn_survey *survey;
    attn_status status = attn_survey_create(plan, &survey, error);

    if (status == ATTN_OK)
        status = attn_survey_estimate(survey, plan, machine, out, error);
    attn_survey_destroy(survey);
    return status;
}
