#include "plans.h"

#include "harness.h"

#include "plan/exchange.h"

#include <attn/comm.h>
#include <attn/random.h>

#include <stdlib.h>
#include <string.h>

enum {
    AXIS_WAY,
    AXIS_GRID,
    AXIS_LAYOUT,
    AXIS_COMBINE,
    AXIS_KERNEL,
    AXIS_NODES,
    AXES,
    VALUES_MAX = 256,
    WAYS_MAX = 160
};

/* An exchange with what it leaves open. */
typedef struct way {
    const attn_exchange *exchange;
    attn_transfer transfer;
    attn_hybrid hybrid;
} way;

typedef struct candidate {
    int at[AXES]; /* numbers of the values, over all axes */
    attn_plan plan;
} candidate;

typedef struct search {
    const attn_problem *problem;
    attn_pass pass;
    int ranks;
    way ways[WAYS_MAX];
    int count[AXES], first[AXES];
    candidate *list;
    size_t candidates;
    bool covered[VALUES_MAX][VALUES_MAX];
} search;

static void add_way(search *s, const attn_exchange *exchange, attn_transfer transfer, attn_hybrid hybrid)
{
    CU_ASSERT_FATAL(s->count[AXIS_WAY] < WAYS_MAX);
    s->ways[s->count[AXIS_WAY]++] = (way){exchange, transfer, hybrid};
}

/* Every transfer with the dimensions that the plan chooses; the dimensions that can be told have transfers in turn. */
static void add_ways(search *s, const attn_exchange *exchange)
{
    attn_transfer known[ATTN_TRANSFER_COUNT] = {ATTN_TRANSFER_AUTO};
    int transfers = 0, next = 0;

    for (int t = ATTN_TRANSFER_AUTO + 1; t < ATTN_TRANSFER_COUNT; t++)
        if (attn_exchange_transfers(exchange, (attn_transfer)t))
            known[transfers++] = (attn_transfer)t;
    transfers = transfers > 0 ? transfers : 1;
    for (int t = 0; t < transfers; t++)
        add_way(s, exchange, known[t], (attn_hybrid){0, 0, false});
    for (int seq = 2; exchange->hybrid && seq <= s->ranks; seq++)
        for (int across = 1; s->ranks % seq == 0 && across <= seq; across++)
            for (int inside = 0; seq % across == 0 && inside < 2; inside++)
                add_way(s, exchange, known[(across + next++) % transfers],
                        (attn_hybrid){across, seq / across, inside == 1});
}

static void count_values(search *s)
{
    int values = 0;

    for (size_t e = 0; e < attn_exchange_count(); e++)
        add_ways(s, attn_exchange_at(e));
    s->count[AXIS_GRID] = s->ranks; /* by the heads; those that do not divide the ranks cannot run */
    s->count[AXIS_LAYOUT] = (int)attn_layout_count();
    s->count[AXIS_COMBINE] = (int)attn_combine_count();
    s->count[AXIS_KERNEL] = (int)attn_kernel_count();
    s->count[AXIS_NODES] = 4;
    for (int axis = 0; axis < AXES; axis++) {
        s->first[axis] = values;
        values += s->count[axis];
    }
    CU_ASSERT_FATAL(values <= VALUES_MAX);
}

static bool make_candidate(const search *s, const int at[AXES], int threads, attn_plan *plan)
{
    static const int nodes[] = {0, 2, 1, 3};
    const way *how = &s->ways[at[AXIS_WAY]];
    const int head = at[AXIS_GRID] + 1;
    const attn_plan_options options = {.grid = {.seq = s->ranks / head, .head = head},
                                       .exchange = how->exchange,
                                       .transfer = how->transfer,
                                       .hybrid = how->hybrid,
                                       .layout = attn_layout_at((size_t)at[AXIS_LAYOUT]),
                                       .combine = attn_combine_at((size_t)at[AXIS_COMBINE]),
                                       .kernel = attn_kernel_at((size_t)at[AXIS_KERNEL]),
                                       .pass = s->pass,
                                       .node_ranks = nodes[at[AXIS_NODES]],
                                       .threads = threads};
    attn_error error = ATTN_ERROR_INIT;

    if (s->ranks % head != 0)
        return false;
    if (attn_plan_make(s->problem, s->ranks, &options, plan, &error) == ATTN_OK)
        return true;
    CU_ASSERT(error.status == ATTN_UNSUPPORTED && error.message[0] != '\0');
    return false;
}

static void list_candidates(search *s)
{
    size_t all = 1;

    for (int axis = 0; axis < AXES; axis++)
        all *= (size_t)s->count[axis];
    s->list = calloc(all, sizeof *s->list);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s->list);
    for (size_t n = 0; n < all; n++) {
        candidate *one = &s->list[s->candidates];
        size_t rest = n;
        int at[AXES];

        for (int axis = 0; axis < AXES; axis++) {
            at[axis] = (int)(rest % (size_t)s->count[axis]);
            rest /= (size_t)s->count[axis];
            one->at[axis] = s->first[axis] + at[axis];
        }
        s->candidates += make_candidate(s, at, 1 + (int)(n % 2), &one->plan);
    }
}

/* The same order on every rank, and for another problem another one. */
static void shuffle(search *s)
{
    uint64_t state = (uint64_t)s->candidates * 7919 + (uint64_t)s->problem->shape.seq;

    for (size_t n = s->candidates; n > 1; n--) {
        candidate kept;
        size_t with;

        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        with = (size_t)(state >> 33) % n;
        kept = s->list[n - 1];
        s->list[n - 1] = s->list[with];
        s->list[with] = kept;
    }
}

/* Pairs of choices of a candidate that no plan before has, or with `each` single choices (a pair with itself); marks
 * them when it is to be visited. */
static int new_pairs(search *s, const candidate *one, bool each, bool mark)
{
    int pairs = 0;

    for (int a = 0; a < AXES; a++)
        for (int b = each ? a : 0; each ? b == a : b < a; b++) {
            pairs += !s->covered[one->at[a]][one->at[b]];
            if (mark)
                s->covered[one->at[a]][one->at[b]] = true;
        }
    return pairs;
}

static void expect_every_exchange(const search *s)
{
    for (size_t e = 0; e < attn_exchange_count(); e++) {
        bool used = false;

        for (size_t n = 0; n < s->candidates && !used; n++)
            used = s->list[n].plan.exchange == attn_exchange_at(e);
        CU_ASSERT(used || (s->pass == ATTN_PASS_BACKWARD && attn_exchange_at(e)->predict_backward == NULL));
    }
}

static search *start(const attn_problem *problem, attn_pass pass)
{
    search *s = calloc(1, sizeof *s);

    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    s->problem = problem;
    s->pass = pass;
    s->ranks = attn_comm_size(MPI_COMM_WORLD);
    count_values(s);
    return s;
}

attn_plan test_plan_draw(const attn_problem *problem, attn_pass pass, uint64_t seed)
{
    enum { TRIES = 100000 };
    search *s = start(problem, pass);
    attn_plan plan = {.ranks = 0};
    uint64_t index = 0;

    for (int n = 0; n < TRIES && plan.ranks == 0; n++) {
        int at[AXES];

        for (int axis = 0; axis < AXES; axis++)
            at[axis] = (int)attn_random_below(seed, ATTN_STREAM_CASE_ORDER, index++, s->count[axis]);
        make_candidate(s, at, 1 + n % 2, &plan);
    }
    CU_ASSERT_FATAL(plan.ranks > 0);
    free(s);
    return plan;
}

int test_plans(const attn_problem *problem, attn_pass pass, void (*visit)(const attn_plan *plan, void *context),
               void *context)
{
    const char *wish = getenv("ATTN_TEST_PLANS");
    const bool all = wish != NULL && strcmp(wish, "all") == 0, each = wish != NULL && strcmp(wish, "each") == 0;
    search *s = start(problem, pass);
    int visited = 0;

    list_candidates(s);
    expect_every_exchange(s);
    shuffle(s);
    /* Greedily: first the candidates with most new pairs, at the end those with a single one. */
    for (int least = AXES * (AXES - 1) / 2; least > 0; least--)
        for (size_t n = 0; n < s->candidates; n++)
            if (all ? least == 1 : new_pairs(s, &s->list[n], each, false) >= least) {
                new_pairs(s, &s->list[n], each, true);
                visit(&s->list[n].plan, context);
                visited++;
            }
    free(s->list);
    free(s);
    return visited;
}
