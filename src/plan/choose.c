/* The planner: lists the plans that can run, with their estimates, best first. */
#include "plan/model.h"

#include <stdlib.h>

/* A list that grows, of what has been asked for. */
typedef struct listing {
    const attn_problem *problem;
    int ranks;
    attn_plan_options options; /* as given, with the kernel chosen */
    const attn_machine *machine;
    attn_plan rule; /* what attn_plan_make makes of the same; ranks 0: nothing */
    attn_candidate *list;
    size_t count, capacity;
    attn_survey *survey; /* of the grid and layout at hand; NULL: not made yet */
    size_t first;        /* of their candidates */
    double least_pairs;  /* of the layouts of the grid so far: pairs of a head in the part that has most; 0: none yet */
    bool dull;           /* the layout at hand is not worth looking at */
} listing;

bool attn_plan_open(int ranks, const attn_plan_options *options)
{
    return ranks > 1 && (options->exchange == NULL || options->layout == NULL);
}

static bool alike(const attn_plan *a, const attn_plan *b)
{
    return a->grid.seq == b->grid.seq && a->exchange == b->exchange && a->layout == b->layout &&
           a->transfer == b->transfer && a->hybrid.alltoall == b->hybrid.alltoall &&
           a->hybrid.ring_inside == b->hybrid.ring_inside;
}

/* A layout of very many runs sees no fewer parts than one of few, and its candidates are dear to look at: where it is
 * open and balances no better than those before it, it is left out. */
static attn_status survey_layout(listing *all, const attn_plan *plan, attn_error *error)
{
    const attn_status status = attn_survey_create(plan, &all->survey, error);
    double pairs;

    if (status != ATTN_OK)
        return status;
    pairs = attn_survey_most_pairs(all->survey);
    all->dull = all->options.layout == NULL && all->least_pairs > 0 && attn_survey_many_runs(all->survey) &&
                pairs >= (1 - ATTN_PLAN_MARGIN) * all->least_pairs;
    all->least_pairs = all->least_pairs > 0 && all->least_pairs < pairs ? all->least_pairs : pairs;
    return ATTN_OK;
}

/* A plan that is refused is left out; the refusal of the rule's plan is told when nothing is left. */
static attn_status add(listing *all, const attn_plan_options *options, attn_error *error)
{
    attn_candidate made;
    attn_status status = attn_plan_make(all->problem, all->ranks, options, &made.plan, NULL);

    if (status == ATTN_UNSUPPORTED)
        return ATTN_OK;
    if (status != ATTN_OK)
        return attn_plan_make(all->problem, all->ranks, options, &made.plan, error);
    for (size_t n = all->first; n < all->count; n++)
        if (alike(&all->list[n].plan, &made.plan)) /* what an exchange chooses itself may be named too */
            return ATTN_OK;
    if (all->survey == NULL)
        status = survey_layout(all, &made.plan, error);
    if (status == ATTN_OK && all->dull)
        return ATTN_OK;
    if (status == ATTN_OK)
        status = attn_survey_estimate(all->survey, &made.plan, all->machine, &made.estimate, error);
    if (status != ATTN_OK)
        return status;
    if (all->count == all->capacity) {
        const size_t capacity = 2 * all->capacity + 16;
        attn_candidate *list = realloc(all->list, capacity * sizeof *list);

        if (list == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for %zu candidates", capacity);
        all->list = list;
        all->capacity = capacity;
    }
    all->list[all->count++] = made;
    return ATTN_OK;
}

/* Every way to cut the sequence group in two dimensions, the exchange's own way first. */
static attn_status add_hybrids(listing *all, attn_plan_options *options, int group, attn_error *error)
{
    const bool fixed = options->hybrid.alltoall != 0 || options->hybrid.ring != 0;
    attn_status status = add(all, options, error);

    if (fixed || !options->exchange->hybrid)
        return status;
    for (int pu = 1; status == ATTN_OK && pu <= group; pu++)
        for (int inside = 0; status == ATTN_OK && inside < 2 && group % pu == 0; inside++) {
            if (inside == 1 && (pu == 1 || pu == group))
                continue; /* one dimension has one rank: there is no inner one */
            options->hybrid = (attn_hybrid){pu, group / pu, inside == 1};
            status = add(all, options, error);
        }
    options->hybrid = all->options.hybrid;
    return status;
}

/* The exchange's own transfer first. */
static attn_status add_transfers(listing *all, attn_plan_options *options, int group, attn_error *error)
{
    const attn_exchange *exchange = options->exchange;
    attn_status status = add_hybrids(all, options, group, error);

    if (options->transfer != ATTN_TRANSFER_AUTO)
        return status;
    for (int t = ATTN_TRANSFER_AUTO + 1; status == ATTN_OK && t < ATTN_TRANSFER_COUNT; t++)
        if ((attn_transfer)t != exchange->transfer && attn_exchange_transfers(exchange, (attn_transfer)t)) {
            options->transfer = (attn_transfer)t;
            status = add_hybrids(all, options, group, error);
        }
    options->transfer = ATTN_TRANSFER_AUTO;
    return status;
}

/* All candidates of one grid and layout. With one rank in a sequence group all exchanges are the same. */
static attn_status add_exchanges(listing *all, attn_plan_options *options, attn_error *error)
{
    attn_status status = ATTN_OK;

    attn_survey_destroy(all->survey);
    all->survey = NULL;
    all->first = all->count;
    all->dull = false;
    if (all->options.exchange != NULL || options->grid.seq == 1) {
        options->exchange = all->options.exchange != NULL ? all->options.exchange : &attn_exchange_none;
        if (options->grid.seq == 1 && all->options.exchange == NULL)
            status = add(all, options, error);
        else
            status = add_transfers(all, options, options->grid.seq, error);
    } else {
        for (size_t n = 0; status == ATTN_OK && n < attn_exchange_count(); n++) {
            options->exchange = attn_exchange_at(n);
            status = add_transfers(all, options, options->grid.seq, error);
        }
    }
    options->exchange = all->options.exchange;
    return status;
}

static attn_status add_layouts(listing *all, attn_plan_options *options, attn_error *error)
{
    attn_status status = ATTN_OK;

    if (all->options.layout != NULL || options->grid.seq == 1)
        return add_exchanges(all, options, error);
    all->least_pairs = 0;
    for (size_t n = 0; status == ATTN_OK && n < attn_layout_count(); n++) {
        options->layout = attn_layout_at(n);
        status = add_exchanges(all, options, error);
    }
    options->layout = NULL;
    return status;
}

static attn_status add_grids(listing *all, attn_error *error)
{
    attn_plan_options options = all->options;
    attn_status status = ATTN_OK;

    if (options.grid.seq != 0 || options.grid.head != 0)
        return add_layouts(all, &options, error);
    if (options.exchange != NULL) { /* a named exchange brings its grid */
        options.grid =
            options.exchange == &attn_exchange_none ? (attn_grid){1, all->ranks} : (attn_grid){all->ranks, 1};
        return add_layouts(all, &options, error);
    }
    for (int head = all->ranks; status == ATTN_OK && head >= 1; head--)
        if (all->ranks % head == 0) {
            options.grid = (attn_grid){all->ranks / head, head};
            status = add_layouts(all, &options, error);
        }
    return status;
}

static bool beyond(const attn_candidate *one, double memory)
{
    return memory > 0 && one->estimate.memory > memory;
}

/* By time, those beyond the memory last. */
static int compare(const attn_candidate *a, const attn_candidate *b, double memory)
{
    if (beyond(a, memory) != beyond(b, memory))
        return beyond(a, memory) ? 1 : -1;
    return (a->estimate.seconds > b->estimate.seconds) - (a->estimate.seconds < b->estimate.seconds);
}

/* A stable merge sort, as equal ones keep the order of the tables. */
static void sort(attn_candidate *list, attn_candidate *room, size_t count, double memory)
{
    const size_t half = count / 2;
    size_t a = 0, b = half;

    if (count < 2)
        return;
    sort(list, room, half, memory);
    sort(list + half, room, count - half, memory);
    for (size_t n = 0; n < count; n++)
        room[n] = b == count || (a < half && compare(&list[a], &list[b], memory) <= 0) ? list[a++] : list[b++];
    for (size_t n = 0; n < count; n++)
        list[n] = room[n];
}

/* The rule's plan to the front where nothing is better by more than the margin: what differs by less than the model
 * knows is not worth another choice from one launch to the next. */
static void prefer_rule(listing *all)
{
    const double memory = all->machine->memory;
    size_t n = 0;

    while (n < all->count && !alike(&all->list[n].plan, &all->rule))
        n++;
    if (n < all->count && beyond(&all->list[n], memory) == beyond(&all->list[0], memory) &&
        all->list[n].estimate.seconds <= (1 + ATTN_PLAN_MARGIN) * all->list[0].estimate.seconds) {
        const attn_candidate first = all->list[n];

        for (; n > 0; n--)
            all->list[n] = all->list[n - 1];
        all->list[0] = first;
    }
}

attn_status attn_plan_candidates(const attn_problem *problem, int ranks, const attn_plan_options *options,
                                 const attn_machine *machine, attn_candidate **out, size_t *count, attn_error *error)
{
    listing all = {.problem = problem, .ranks = ranks, .options = *options, .machine = machine};
    attn_status status = attn_problem_check(problem, error);

    *out = NULL;
    *count = 0;
    if (status == ATTN_OK && options->kernel == NULL) /* once, as it reads the environment */
        status = attn_kernel_choose(options->pass, problem->dtype, problem->dropout > 0, &all.options.kernel, error);
    if (status != ATTN_OK)
        return status;
    attn_plan_make(problem, ranks, &all.options, &all.rule, NULL);
    status = add_grids(&all, error);
    attn_survey_destroy(all.survey);
    if (status == ATTN_OK && all.count == 0) {
        status = attn_plan_make(problem, ranks, &all.options, &all.rule, error);
        if (status == ATTN_OK) /* the rule's plan is always among the candidates */
            status = attn_error_set(error, ATTN_UNSUPPORTED, "no plan for %d ranks", ranks);
    }
    if (status == ATTN_OK) {
        attn_candidate *room = malloc(all.count * sizeof *room);

        if (room == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for %zu candidates", all.count);
        else
            sort(all.list, room, all.count, machine->memory);
        free(room);
    }
    if (status != ATTN_OK) {
        free(all.list);
        return status;
    }
    prefer_rule(&all);
    *out = all.list;
    *count = all.count;
    return ATTN_OK;
}

attn_status attn_plan_choose(const attn_problem *problem, int ranks, const attn_plan_options *options,
                             const attn_machine *machine, attn_plan *out, attn_estimate *estimate, attn_error *error)
{
    attn_candidate *list;
    size_t count;
    const attn_status status = attn_plan_candidates(problem, ranks, options, machine, &list, &count, error);

    if (status != ATTN_OK)
        return status;
    *out = list[0].plan;
    if (estimate != NULL)
        *estimate = list[0].estimate;
    free(list);
    return ATTN_OK;
}

static const char *const modes[] = {
#define MODE_TEXT(name, text, meaning) [ATTN_PLAN_MODE_##name] = text,
    ATTN_PLAN_MODE_LIST(MODE_TEXT)};

const char *attn_plan_mode_name(attn_plan_mode mode)
{
    return (unsigned)mode < ATTN_PLAN_MODE_COUNT ? modes[mode] : "unknown";
}
